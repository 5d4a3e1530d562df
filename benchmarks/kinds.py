"""Look-alikes of the tables that people fit: each function makes one kind, none is Gaussian noise.

What makes real tables slow is kept: levels with a handful of rows, columns that are nearly all
zeros, heavy tails, groups of correlated columns, many classes, more columns than rows. Shapes and
densities are those of well-known public tables; labels are drawn from a model, so that the optimum
exists and is neither trivial nor separable unless the kind is.
"""

import numpy as np
from scipy import sparse

from .problems import Problem, draw_labels, narrow, one_hot, standardised


def kinds(size, alphas=("1/m", "1e-3")):
    """Every kind in every form: (name, function that builds it); `size` scales the rows."""
    forms = [
        ("census, one-hot", lambda: census(size(32_561)), ("raw", "standardised", "sparse")),
        ("web pages", lambda: web_pages(size(49_749)), ("raw", "standardised", "sparse")),
        ("spam", lambda: spam(size(4_601)), ("raw", "standardised", "sparse")),
        ("credit, one-hot", lambda: credit(size(1_000)), ("raw", "standardised", "sparse")),
        ("forest cover, 7 classes", lambda: forest_cover(size(15_120)), ("raw", "standardised")),
        ("bag of words", lambda: bag_of_words(size(4_143)), ("sparse",)),
        ("newsgroups, 20 classes", lambda: newsgroups(size(5_000)), ("sparse",)),
        ("gene expression", lambda: gene_expression(72), ("raw", "standardised")),
        ("speech, 26 classes", lambda: speech(size(1_560)), ("raw", "standardised")),
    ]
    return [
        (
            f"{name}, {form}, alpha {alpha}",
            lambda build=build, form=form, alpha=alpha: in_form(*build(), form, alpha),
        )
        for name, build, every in forms
        for form in every
        for alpha in alphas
    ]


def in_form(name, X, y, form, alpha):
    """The problem as dense columns, standardised ones, or a CSR array."""
    strength = 1.0 / len(y) if alpha == "1/m" else float(alpha)
    if form == "sparse":
        X = narrow(sparse.csr_array(X))
    elif sparse.issparse(X):
        X = X.toarray()
    problem = Problem(f"{name}, raw", np.asarray(X) if form != "sparse" else X, y, alpha=strength)
    return standardised(problem) if form == "standardised" else problem


# Rows of every level in the census of 1994; of quantiles and yes-or-no their proportions. The
# last level of some is "unknown", which has no column.
_CENSUS = {
    "age": "1 1 1 1 1",
    "work": "22696 2541 2093 1298 1116 960 14 7 1836",
    "weight": "1 1 1 1 1",
    "education": "51 168 333 646 514 933 1175 433 10501 7291 1382 1067 5355 1723 576 413",
    "marital": "14976 10683 4443 1025 993 418 23",
    "occupation": "4140 4099 4066 3770 3650 3295 2002 1597 1370 994 928 649 149 9 1843",
    "relationship": "8305 5068 3446 981",
    "race": "27816 3124 1039 311 271",
    "sex": "2 1",
    "gain": "11 1",
    "loss": "20 1",
    "hours": "1 1 1 1 1",
    "country": (
        "29170 643 198 137 121 114 106 100 95 90 81 80 75 73 70 67 64 62 60 59 51 44 43 37 34 31 "
        "29 29 28 24 20 19 19 18 18 16 14 13 13 12 1 583"
    ),
}
_CENSUS = {name: np.array(counts.split(), dtype=int) for name, counts in _CENSUS.items()}
_WITH_UNKNOWN = {"work", "occupation", "country"}
_GRADES = np.repeat(np.arange(5), (8, 1, 1, 3, 3))  # of the levels of education


def census(n_samples, seed=0):
    """Fourteen factors of a census, one-hot, 123 columns; the rarest levels have a few rows.

    Factors hang together through three latent traits; schooling is there twice, as sixteen levels
    and as the five groups of them, and husbands are the married men: exact dependencies. A few
    levels say nearly everything about the class (effects are t-distributed), so that the
    curvature of the rarest vanishes on the way to the optimum.
    """
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n_samples, 3))
    levels = {}
    for name, counts in _CENSUS.items():
        ordered = counts.min() == counts.max() or name == "education"
        order = np.arange(len(counts)) if ordered else rng.permutation(len(counts))
        score = latent @ rng.standard_normal(3) + rng.standard_normal(n_samples)
        levels[name] = order[_levels(score, counts[order])]
    married = levels["marital"] == 0
    spouse = 4 + levels["sex"]
    levels["relationship"] = np.where(married, spouse, levels["relationship"])
    columns = [_indicators(level, name) for name, level in levels.items()]
    columns.append(_GRADES[levels["education"]][:, None] == np.arange(5))
    X = np.column_stack(columns).astype(float)
    y = _rare_class(X, 0.24, rng, degrees=3.0, spread=2.2)
    return f"census {n_samples:,} × {X.shape[1]}", X, y


def _levels(score, counts):
    """The level of every row: as many rows of each as its share of `counts`, by rank of score."""
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(len(score)) + 0.5
    return np.searchsorted(np.cumsum(counts) / np.sum(counts), rank / len(score))


def _indicators(level, name):
    n_levels = 6 if name == "relationship" else len(_CENSUS[name])
    return level[:, None] == np.arange(n_levels - (name in _WITH_UNKNOWN))


def _rare_class(X, share, rng, *, degrees, spread):
    """Labels from a logistic model with t-distributed effects; `share` of them are 1."""
    z = X @ rng.standard_t(degrees, X.shape[1])
    z = z * (spread / z.std()) + rng.logistic(size=len(z))
    return (z > np.quantile(z, 1.0 - share)).astype(np.int64)


def web_pages(n_samples, seed=0):
    """300 binary keywords, 3 % ones, frequencies by a power law, topics that share them.

    Forty keywords come with another on nine of ten of its pages and hardly ever without it. Three
    pages of a hundred are of the class, and a few keywords nearly decide which.
    """
    rng = np.random.default_rng(seed)
    n_features, n_topics, n_followers = 300, 20, 40
    frequency = np.arange(1, n_features + 1.0) ** -1.2
    frequency *= 11.6 / frequency.sum()  # keywords on a page
    affinity = rng.lognormal(0.0, 1.2, (n_topics, n_features))
    affinity /= affinity.mean(axis=0)
    topic = rng.integers(0, n_topics, n_samples)
    chance = np.minimum(frequency * affinity[topic], 0.95)
    X = (rng.random((n_samples, n_features)) < chance).astype(float)
    followers = rng.choice(np.arange(20, n_features), n_followers, replace=False)
    for follower, leader in zip(followers, rng.integers(0, n_features, n_followers)):
        leader = min(leader, follower - 1)
        draw = rng.random(n_samples)
        X[:, follower] = np.where(X[:, leader] > 0, draw < 0.9, X[:, follower] * (draw < 0.1))
    X = X[:, rng.permutation(n_features)]
    y = _rare_class(X, 0.03, rng, degrees=2.0, spread=3.0)
    return f"web pages {n_samples:,} × {n_features}", narrow(sparse.csr_array(X)), y


def spam(n_samples, seed=0):
    """54 word frequencies, mostly zero and else log-normal, and three run lengths with tails
    over four decades."""
    rng = np.random.default_rng(seed)
    present = rng.random((n_samples, 54)) < rng.beta(0.8, 3.0, 54)
    words = np.where(present, rng.lognormal(-0.7, 1.1, (n_samples, 54)), 0.0)
    covariance = [[0.7, 0.8, 0.8], [0.8, 1.4, 1.4], [0.8, 1.4, 2.2]]
    runs = np.exp(rng.multivariate_normal([1.0, 2.5, 4.5], covariance, n_samples))
    X = np.column_stack([words, np.round(runs, 3)])
    y = draw_labels(np.log1p(X), 2, seed + 1, spread=2.5)
    return f"spam {n_samples:,} × 57", X, y


def credit(n_samples, seed=0):
    """Seven numbers in their own units and thirteen factors, one-hot: 61 columns."""
    rng = np.random.default_rng(seed)
    numbers = np.column_stack(
        [
            rng.integers(4, 73, n_samples),
            np.round(rng.lognormal(7.8, 0.8, n_samples)),
            rng.integers(1, 5, n_samples),
            rng.integers(1, 5, n_samples),
            rng.integers(19, 76, n_samples),
            rng.integers(1, 5, n_samples),
            rng.integers(1, 3, n_samples),
        ]
    )
    factors = one_hot(n_samples, (4, 5, 10, 5, 5, 4, 3, 4, 3, 3, 4, 2, 2), exponent=1.2, seed=seed)
    X = np.column_stack([numbers, factors.toarray()])
    scaled = np.column_stack([(numbers - numbers.mean(0)) / numbers.std(0), factors.toarray()])
    return f"credit {n_samples:,} × {X.shape[1]}", X, draw_labels(scaled, 2, seed + 1, spread=1.3)


def forest_cover(n_samples, seed=0):
    """Ten numbers of terrain, correlated and in metres and degrees, 4 areas and 40 soils, the
    rarest of a few rows; seven classes."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n_samples, 4))
    loading = rng.standard_normal((4, 10))
    scores = latent @ loading + 0.6 * rng.standard_normal((n_samples, 10))
    scores /= scores.std(axis=0)
    centre = np.array([2750, 157, 16.5, 227, 51, 1714, 213, 219, 135, 1511.0])
    spread = np.array([418, 110, 8.5, 210, 61, 1325, 31, 23, 46, 1100.0])
    numbers = np.round(centre + spread * scores)
    soils = one_hot(n_samples, (4, 40), exponent=1.6, seed=seed).toarray()
    X = np.column_stack([numbers, soils])
    y = draw_labels(np.column_stack([scores, soils]), 7, seed + 1, spread=2.5)
    return f"forest cover {n_samples:,} × 54", X, y


def bag_of_words(n_samples, n_words=54_877, seed=0):
    """Which words are in a document, 0 or 1: words by Zipf's law, some 180 in a document.

    Four of ten words come from the other topic: no word gives a class away, but all together, as
    there are more words than documents. The commonest words are in nearly all of them, the rarest
    in none: products with the Hessian converge slowly.
    """
    rng = np.random.default_rng(seed)
    zipf = 1.0 / np.arange(1, n_words + 1.0)
    tilt = rng.normal(0.0, 0.5, n_words)
    y = (rng.random(n_samples) < 0.53).astype(np.int64)
    chances = [np.cumsum(zipf * np.exp(sign * tilt)) for sign in (-1.0, 1.0)]
    lengths = np.maximum(8, rng.lognormal(5.3, 0.7, n_samples)).astype(int)
    rows, columns = [], []
    for row, (label, length) in enumerate(zip(y, lengths)):
        topics = np.where(rng.random(length) < 0.4, 1 - label, label)
        for topic in (0, 1):
            n_drawn = int((topics == topic).sum())
            chance = chances[topic]
            columns.append(np.searchsorted(chance, rng.random(n_drawn) * chance[-1]))
            rows.append(np.full(n_drawn, row))
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    X = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_samples, n_words))
    X.sum_duplicates()
    X.data[:] = 1.0
    return f"bag of words {n_samples:,} × {n_words:,}", X, y


def newsgroups(n_samples, n_words=15_000, n_classes=20, seed=0):
    """Postings to news groups as tf-idf rows of length 1: words by Zipf's law, some 90 in each.

    Three of ten words come from the group, the others from all of them; a group is told by a few
    hundred words that it has five times as often as others.
    """
    rng = np.random.default_rng(seed)
    zipf = 1.0 / np.arange(3.0, n_words + 3.0)
    tilt = np.where(rng.random((n_classes, n_words)) < 0.03, 5.0, 1.0)
    common = np.cumsum(zipf)
    chances = np.cumsum(zipf * tilt, axis=1)
    y = rng.permutation(np.arange(n_samples) % n_classes)
    lengths = np.maximum(8, rng.lognormal(4.8, 0.8, n_samples)).astype(int)
    rows = np.repeat(np.arange(n_samples), lengths)
    own = rng.random(len(rows)) < 0.3
    draw = rng.random(len(rows))
    columns = np.searchsorted(common, draw * common[-1])
    for group, chance in enumerate(chances):
        of_it = own & (y[rows] == group)
        columns[of_it] = np.searchsorted(chance, draw[of_it] * chance[-1])
    X = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_samples, n_words))
    X.sum_duplicates()
    documents = np.bincount(X.indices, minlength=n_words)
    weight = 1.0 + np.log((1.0 + n_samples) / (1.0 + documents))
    X.data = (1.0 + np.log(X.data)) * weight[X.indices]
    X.data /= np.repeat(np.sqrt(np.asarray(X.power(2).sum(axis=1)).ravel()), np.diff(X.indptr))
    return f"newsgroups {n_samples:,} × {n_words:,}", X, y


def gene_expression(n_samples, n_genes=7_129, seed=0):
    """Log intensities of genes that move in pathways; p is a hundred times m."""
    rng = np.random.default_rng(seed)
    pathways = rng.standard_normal((n_samples, 12))
    loading = rng.standard_normal((12, n_genes)) * (rng.random((12, n_genes)) < 0.15)
    X = rng.normal(7.0, 1.5, n_genes) + pathways @ loading
    X += 0.5 * rng.standard_normal((n_samples, n_genes))
    y = (pathways[:, 0] + 0.3 * rng.standard_normal(n_samples) > 0.3).astype(np.int64)
    return f"gene expression {n_samples} × {n_genes:,}", X, y


def speech(n_samples, n_classes=26, seed=0):
    """Spectra of spoken letters: 617 smooth, bounded features around a mean for each class."""
    rng = np.random.default_rng(seed)
    n_features = 617
    bumps = np.exp(-0.5 * ((np.arange(n_features) - np.linspace(0, 616, 60)[:, None]) / 12.0) ** 2)
    y = rng.permutation(np.arange(n_samples) % n_classes)
    means = rng.standard_normal((n_classes, 60)) @ bumps
    noise = rng.standard_normal((n_samples, 60)) @ bumps
    X = np.tanh(0.35 * means[y] + 0.45 * noise + 0.1 * rng.standard_normal((n_samples, n_features)))
    return f"speech {n_samples:,} × {n_features}", X, y
