"""The data that is measured: generated, bundled with scikit-learn, or read from a folder."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn import datasets


@dataclass(frozen=True)
class Problem:
    """Rows, targets and the objective to minimise over them.

    Attributes
    ----------
    name : str
    X : ndarray or sparse array of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        Real for ``kind="squares"``, otherwise classes 0, ..., n_classes - 1.
    kind : {"squares", "logistic"}
    alpha : float
        ``L = mean(loss) + alpha / 2 * ||coef||^2``, the intercept free.
    fit_intercept : bool
    """

    name: str
    X: object
    y: np.ndarray
    kind: str = "logistic"
    alpha: float = 0.0
    fit_intercept: bool = True

    @property
    def n_samples(self):
        return self.X.shape[0]

    @property
    def n_features(self):
        return self.X.shape[1]

    @property
    def n_outputs(self):
        """Columns of the linear predictor: 1, or one per class from three classes on."""
        if self.kind == "squares":
            return 1
        n_classes = int(self.y.max()) + 1
        return 1 if n_classes == 2 else n_classes

    @property
    def shape_text(self):
        return f"{self.n_samples:,} × {self.n_features:,}"


def gaussian(n_samples, n_features, seed, block=50_000):
    """Standard normal rows, filled block by block so that nothing larger than X is ever held."""
    rng = np.random.default_rng(seed)
    X = np.empty((n_samples, n_features))
    for start in range(0, n_samples, block):
        rng.standard_normal(out=X[start : start + block])
    return X


def regression(n_samples, n_features, seed=0):
    """Gaussian design, true coefficients N(0, 1), intercept 1, noise of standard deviation 1."""
    X = gaussian(n_samples, n_features, seed)
    rng = np.random.default_rng(seed + 1)
    y = X @ rng.standard_normal(n_features) + 1.0 + rng.standard_normal(n_samples)
    name = f"least squares {n_samples:,} × {n_features:,}"
    return Problem(name, X, y, kind="squares")


def rotated(X, smallest, seed):
    """Scale the columns of X from 1 down to ``smallest`` and rotate: no rescaling undoes it."""
    n_features = X.shape[1]
    gauss = np.random.default_rng(seed).standard_normal((n_features, n_features))
    rotation = np.linalg.qr(gauss)[0]
    return X @ (np.geomspace(1.0, smallest, n_features)[:, None] * rotation)


def classification(n_samples, n_features, n_classes=2, smallest=None, seed=0):
    """Labels drawn from the model itself, with predictors of standard deviation 2.

    Parameters
    ----------
    smallest : float, optional
        Scale the columns from 1 to this and rotate them (`rotated`). The true coefficients are
        N(0, 1) in the columns as the solver sees them, whatever their scales.
    """
    X = gaussian(n_samples, n_features, seed)
    if smallest is not None:
        X = rotated(X, smallest, seed + 2)
    y = draw_labels(X, n_classes, seed + 1)
    kind = "logistic" if n_classes == 2 else f"softmax, {n_classes} classes,"
    scales = "" if smallest is None else f", scales 1 to {smallest:g} rotated"
    name = f"{kind} {n_samples:,} × {n_features:,}{scales}"
    return Problem(name, X, y, alpha=1.0 / n_samples)


def draw_labels(X, n_classes, seed, spread=2.0, offset=0.3):
    """Classes from a softmax (two classes: sigmoid) of a random linear predictor."""
    rng = np.random.default_rng(seed)
    n_outputs = 1 if n_classes == 2 else n_classes
    Z = X @ rng.standard_normal((X.shape[1], n_outputs))
    Z = Z * (spread / Z.std()) + offset * rng.standard_normal(n_outputs)
    if n_outputs == 1:
        return (rng.logistic(size=len(Z)) < Z[:, 0]).astype(np.int64)
    return np.argmax(Z + rng.gumbel(size=Z.shape), axis=1)


def one_hot(n_samples, levels, exponent, seed=0):
    """Dummy columns of ``len(levels)`` factors, level k with frequency ~ k^-exponent.

    Returns a CSR array in which every row has one 1 per factor: the usual table after
    one-hot encoding, its rarest levels with a handful of rows.
    """
    rng = np.random.default_rng(seed)
    columns = []
    for first, n_levels in zip(np.cumsum([0, *levels[:-1]]), levels):
        weight = np.arange(1, n_levels + 1.0) ** -exponent
        columns.append(first + rng.choice(n_levels, size=n_samples, p=weight / weight.sum()))
    indices = np.column_stack(columns).ravel()
    indptr = np.arange(n_samples + 1) * len(levels)
    shape = (n_samples, int(sum(levels)))
    return narrow(sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=shape))


def narrow(X):
    """32-bit indices: liblinear, sag and saga accept no others."""
    X.indices, X.indptr = X.indices.astype(np.int32), X.indptr.astype(np.int32)
    return X


def rare_levels(n_samples, alpha_text, seed=0):
    """Dense one-hot table with 120 columns: factors of 2 to 50 levels, the rarest ~ 5 rows."""
    X = one_hot(n_samples, (2, 3, 5, 10, 20, 30, 50), exponent=2.0, seed=seed).toarray()
    y = draw_labels(X, 2, seed + 1)
    name = f"one-hot with rare levels {n_samples:,} × 120, alpha {alpha_text}"
    return Problem(name, X, y, alpha=_alpha(alpha_text, n_samples))


def sparse_one_hot(n_samples, alpha_text, seed=0):
    """Sparse one-hot table: 12 factors of 25 levels, 300 columns, 4 % dense."""
    X = one_hot(n_samples, (25,) * 12, exponent=1.0, seed=seed)
    y = draw_labels(X, 2, seed + 1)
    name = f"sparse one-hot {n_samples:,} × 300, 4 % dense, alpha {alpha_text}"
    return Problem(name, X, y, alpha=_alpha(alpha_text, n_samples))


def wide_sparse(n_samples, n_features, density=0.001, fit_intercept=True, seed=0):
    """More columns than rows, normal values at uniformly random places."""
    rng = np.random.default_rng(seed)
    X = sparse.random_array(
        (n_samples, n_features),
        density=density,
        format="csr",
        rng=rng,
        data_sampler=rng.standard_normal,
    )
    X = narrow(X)
    intercept = "" if fit_intercept else ", no intercept"
    name = f"sparse logistic {n_samples:,} × {n_features:,}, {density:.1%} dense{intercept}"
    y = draw_labels(X, 2, seed + 1, offset=0.3 if fit_intercept else 0.0)
    return Problem(name, X, y, alpha=1.0 / n_samples, fit_intercept=fit_intercept)


def _alpha(text, n_samples):
    return 1.0 / n_samples if text == "1/m" else float(text)


def standardised(problem):
    """The same rows in columns of mean 0 and standard deviation 1 (constant columns become 0)."""
    centred = problem.X - problem.X.mean(axis=0)
    spread = centred.std(axis=0)
    name = problem.name.replace(", raw", "") + ", standardised"
    return replace(problem, X=centred / np.where(spread > 0, spread, 1.0), name=name)


def bundled_classification():
    """scikit-learn's classification sets, as they come; ``alpha`` = 1/m."""
    loaders = (
        datasets.load_breast_cancer,
        datasets.load_wine,
        datasets.load_iris,
        datasets.load_digits,
    )
    return [_bundled(load, kind="logistic") for load in loaders]


def diabetes():
    """442 × 10, in the columns scikit-learn ships (already centred and scaled)."""
    return replace(_bundled(datasets.load_diabetes, kind="squares"), name="diabetes")


def _bundled(load, kind):
    X, y = load(return_X_y=True)
    alpha = 1.0 / len(y) if kind == "logistic" else 0.0
    name = load.__name__.removeprefix("load_") + ", raw"
    return Problem(name, np.ascontiguousarray(X, dtype=float), y, kind=kind, alpha=alpha)


def real_classification(folders=()):
    """Bundled sets and the tables of the folders, raw and standardised."""
    raw = [*bundled_classification(), *(as_classes(p) for p in folder_tables(folders))]
    return [p for problem in raw for p in (problem, standardised(problem))]


def real_regression(folders=()):
    """Diabetes and the tables of the folders with a numeric target, raw and standardised."""
    raw = [replace(diabetes(), name="diabetes, raw")]
    raw += [p for p in folder_tables(folders) if p.kind == "squares"]
    return [p for problem in raw for p in (problem, standardised(problem))]


def as_classes(problem):
    """A table with a numeric target becomes "above its median"."""
    if problem.kind == "logistic":
        return problem
    y = (problem.y > np.median(problem.y)).astype(np.int64)
    name = problem.name.replace(", raw", " (above the median), raw")
    return replace(problem, name=name, y=y, kind="logistic", alpha=1.0 / len(y))


def folder_tables(folders):
    """Every ``*.csv`` and ``*.data`` table of some folders; what cannot be used is named."""
    tables = []
    for path in (path for folder in folders for path in sorted(Path(folder).iterdir())):
        if path.name in MIXED or path.suffix not in {".csv", ".data"}:
            continue
        try:
            tables.append(read_table(path))
        except ValueError as error:
            print(f"{path.name} left out: {error}")
    return tables


def read_table(path):
    """Numeric features, the target in the last column; comma or blank separated.

    A first row in which no cell is a number is a header. A target of words, or of at most 50
    distinct whole numbers, is a class.
    """
    lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    separator = "," if "," in lines[0] else None
    rows = [[cell.strip() for cell in line.split(separator)] for line in lines]
    if not any(_is_number(cell) for cell in rows[0]):
        rows = rows[1:]
    cells = np.array(rows)
    X, target = cells[:, :-1].astype(float), cells[:, -1]
    levels, codes = np.unique(target, return_inverse=True)
    name = f"{Path(path).stem}, raw"
    if len(levels) <= 50:
        return Problem(name, X, codes, alpha=1.0 / len(codes))
    return Problem(name, X, target.astype(float), kind="squares")


def letters(folders, alphas=("1/m", "1e-3")):
    """The letters of a folder that has them (26 classes), raw and standardised, or nothing."""
    found = [p for p in folder_tables(folders) if p.name.startswith("letter-recognition")]
    made = []
    for problem in found:
        for form in ("raw", "standardised"):
            for alpha in alphas:
                strength = _alpha(alpha, problem.n_samples)
                name = f"letters, 26 classes, {form}, alpha {alpha}"
                given = standardised(problem) if form == "standardised" else problem
                made.append(replace(given, name=name, alpha=strength))
    return made


# Tables with words in them: the target, and columns that tell it or name the row.
MIXED = {
    "Heart.csv": ("AHD", ("",)),
    "penguins.csv": ("species", ()),
    "Auto.csv": ("mpg", ("name",)),
    "Hitters.csv": ("Salary", ("",)),
    "tips.csv": ("tip", ()),
}


def mixed_tables(folders, most_rows):
    """The tables of :data:`MIXED` that the folders have, made numeric; at most `most_rows` rows."""
    paths = [path for folder in folders for path in sorted(Path(folder).iterdir())]
    made = [read_mixed_table(path, *MIXED[path.name]) for path in paths if path.name in MIXED]
    return [problem for problem in made if problem.n_samples <= most_rows]


def read_mixed_table(path, target, left_out=()):
    """Numbers as they are, gaps at the mean of their column, words as dummy columns.

    Rows without a target are left out; a target of numbers becomes "above its median".
    """
    with Path(path).open(newline="") as lines:
        header, *rows = csv.reader(lines)
    goal = header.index(target)
    rows = [row for row in rows if row[goal] not in _GAPS]
    columns = [
        _numbers_or_dummies([row[j] for row in rows])
        for j, name in enumerate(header)
        if j != goal and name not in left_out
    ]
    X, words = np.column_stack(columns), np.array([row[goal] for row in rows])
    if all(map(_is_number, words)):
        values = words.astype(float)
        y = (values > np.median(values)).astype(np.int64)
    else:
        y = np.unique(words, return_inverse=True)[1]
    return Problem(f"{Path(path).stem}, raw", X, y, alpha=1.0 / len(y))


_GAPS = {"", "NA", "?"}


def _numbers_or_dummies(cells):
    known = [cell for cell in cells if cell not in _GAPS]
    if all(map(_is_number, known)):
        mean = np.mean([float(cell) for cell in known])
        return np.array([mean if cell in _GAPS else float(cell) for cell in cells])
    return (np.array(cells)[:, None] == np.unique(known)).astype(float)


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True
