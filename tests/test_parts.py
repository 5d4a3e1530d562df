"""Designs in two parts: the products of a dense table whose columns are sparse around a value."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain import KINDS, Plain
from threadpoolctl import threadpool_limits

from gdregress import LogisticRegression
from gdregress.rows.blocks import RowBlocks
from gdregress.rows.frame import Frame
from gdregress.rows.parts import PartsDesign, in_parts

N_ROWS = 300


def table(n_rows=N_ROWS, seed=0):
    """Three numbers, twenty columns of zeros and ones, and ten that are nearly always -0.7."""
    rng = np.random.default_rng(seed)
    numbers = rng.standard_normal((n_rows, 3))
    ones = (rng.random((n_rows, 20)) < 0.06) + 0.0
    others = np.where(rng.random((n_rows, 10)) < 0.1, rng.standard_normal((n_rows, 10)), -0.7)
    return np.hstack([others[:, :4], numbers, ones, others[:, 4:]])


def parts_of(X, **params):
    blocks = in_parts(RowBlocks(X, **params), least_numbers=0)
    assert isinstance(blocks.design, PartsDesign)
    return blocks


FRAMES = {
    "none": (np.zeros(33), np.ones(33)),
    "shifted": (np.linspace(-2.0, 3.0, 33) * (np.arange(33) % 3 == 0), np.ones(33)),
    "scaled": (np.zeros(33), 2.0 ** np.arange(-16, 17)),
    "both": (np.linspace(-2.0, 3.0, 33), 2.0 ** np.arange(-16, 17)),
}
LAYOUTS = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "float32": lambda X: X.astype(np.float32),
    "integers": lambda X: np.round(2.0 * X).astype(np.int8),
    "booleans": lambda X: X > 0.0,
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_products_are_those_of_the_rows(layout, frame, shape, weighted):
    X = LAYOUTS[layout](table())
    shift, scale = FRAMES[frame]
    rows = np.column_stack([(X.astype(float) - shift) / scale, np.ones(N_ROWS)])
    size = np.abs(rows).max(axis=0)  # of a column, for what cancels
    design = Frame(shift, scale).applied(parts_of(X).design.part(0, N_ROWS))
    rng = np.random.default_rng(1)
    s = rng.random(N_ROWS) if weighted else None
    weight = np.ones(N_ROWS) if s is None else s

    theta = rng.standard_normal((34, *shape)) / size[:, None, None]
    expected = np.tensordot(rows, theta, axes=1)
    assert_allclose(design.times(theta), expected, atol=1e-13)
    assert_array_equal(design.times(np.zeros_like(theta)), np.zeros_like(expected))

    r = rng.standard_normal((N_ROWS, *shape))
    pulled = np.tensordot(rows.T * weight, r, axes=1) / size[:, None, None]
    assert_allclose(design.pull(r, s) / size[:, None, None], pulled, atol=1e-11)
    squares = np.tensordot((rows**2).T * weight, r, axes=1) / size[:, None, None] ** 2
    assert_allclose(design.pull_squares(r, s) / size[:, None, None] ** 2, squares, atol=1e-11)

    gram = (rows.T * weight) @ rows / size / size[:, None]
    assert_allclose(design.gram(s) / size / size[:, None], gram, atol=1e-11)
    assert_allclose(design.dense(), rows[:, :-1])


@pytest.mark.parametrize("is_dense", [False, True])
def test_both_ways_to_a_gram_matrix(is_dense, monkeypatch):
    monkeypatch.setattr(PartsDesign, "_gram_is_dense", is_dense)
    X, s = table(), np.random.default_rng(2).random(N_ROWS)
    rows = np.column_stack([X, np.ones(N_ROWS)])
    assert_allclose(parts_of(X).design.part(0, N_ROWS).gram(s), (rows.T * s) @ rows, atol=1e-11)


@pytest.mark.parametrize("frame", FRAMES)
def test_some_rows_of_a_framed_design_stay_in_its_frame(frame):
    X, (shift, scale) = table(), FRAMES[frame]
    framed = Frame(shift, scale).applied(parts_of(X).design.part(0, N_ROWS))
    rows = (X - shift) / scale
    assert_allclose(framed.part(40, 90).dense(), rows[40:90])
    theta = np.random.default_rng(8).standard_normal((34, 1, 1))
    theta[:-1, 0, 0] /= np.abs(rows).max(axis=0)
    expected = rows[40:90] @ theta[:-1, 0, 0] + theta[-1, 0, 0]
    assert_allclose(framed.part(40, 90).times(theta)[:, 0, 0], expected, atol=1e-12)


def test_what_the_sample_did_not_see_is_not_lost():
    X = np.zeros((1000, 12))
    X[501:504, 5], X[777, 6], X[998, 7] = [3.0, 2.0, -1.0], np.pi, 1e-300
    blocks = parts_of(X)
    assert_array_equal(blocks.design.part(0, 1000).times(np.eye(13)[:, :, None])[:, :12, 0], X)


def test_rows_that_are_not_like_the_sample_are_left_as_they_are():
    X = np.zeros((2000, 12))
    X[1::2] = np.random.default_rng(3).standard_normal((1000, 12))  # every other row
    blocks = RowBlocks(X)
    assert in_parts(blocks, least_numbers=0) is blocks


@pytest.mark.parametrize("share", [0.4, 1.0])
def test_columns_of_many_values_are_left_as_they_are(share):
    rng = np.random.default_rng(4)
    X = np.where(rng.random((500, 20)) < share, rng.standard_normal((500, 20)), 0.0)
    blocks = RowBlocks(X)
    assert in_parts(blocks, least_numbers=0) is blocks


def test_no_large_copy():
    X = np.zeros((450_000, 60), dtype=np.float32)  # 108 MB; its parts would be 72 MB
    X[:, :20] = np.random.default_rng(5).standard_normal((1000, 20)).repeat(450, axis=0)
    blocks = RowBlocks(X)
    assert in_parts(blocks) is blocks
    fewer = RowBlocks(X[:200_000])
    assert in_parts(fewer) is not fewer


def test_some_of_the_rows():
    X = table()
    blocks = parts_of(X)
    some = np.array([3, 299, 17])
    copied = blocks.subset(some, None).design
    assert isinstance(copied, PartsDesign)
    theta = np.random.default_rng(6).standard_normal((34, 1, 1))
    expected = X[some] @ theta[:-1, 0] + theta[-1, 0]
    assert_allclose(copied.part(0, 3).times(theta)[:, 0], expected, rtol=1e-12)
    assert_allclose(blocks.design.take(some).times(theta)[:, 0], expected, rtol=1e-12)
    assert_allclose(copied.copied(np.array([1, 2])).take([1]).times(theta)[:, 0], expected[2:])
    assert_array_equal(copied.X, X[some])
    assert_array_equal(copied.part(1, 3).dense(), X[some[1:]])


@pytest.mark.parametrize("weighted", [False, True])
def test_statistics_are_those_of_the_rows(weighted):
    X = table()
    X[:, 7] = 1e6 + (X[:, 7] > 0.0)
    share = np.random.default_rng(9).random(N_ROWS) if weighted else np.ones(N_ROWS)
    share /= share.sum()
    low, high, mean, spread = parts_of(X).design.statistics(share if weighted else None)
    assert_allclose([low, high], [X.min(axis=0), X.max(axis=0)])
    assert_allclose(mean, share @ X, atol=1e-14)
    assert_allclose(spread, np.sqrt(share @ (X - share @ X) ** 2), rtol=1e-12)


def test_unusual_entries_of_both_parts():
    X = table()
    design = parts_of(X).design
    columns = np.array([8, 0, 30])
    for usual in (design.usual(), np.zeros(33)):  # what the entries are beside, and another value
        rows, places = design.unusual(columns, usual)
        found = np.zeros((N_ROWS, 3), dtype=bool)
        found[rows, places] = True
        assert_array_equal(found, X[:, columns] != usual[columns])
        assert (np.diff(rows) >= 0).all()


def test_blocks_of_parts_are_large_but_not_where_rows_are_made_dense():
    X = np.zeros((40_000, 200))
    X[::50, 3] = 1.0
    blocks = parts_of(X)
    assert blocks.block_rows >= len(X) > RowBlocks(X).block_rows
    assert blocks.for_dense_rows().block_rows == RowBlocks(X).block_rows
    assert blocks.subset(slice(None, None, 2), None).n_blocks == 1


def one_hot(n_rows=9000, seed=7):
    """Seven factors of ten levels, the rarest of a few rows, and labels."""
    rng = np.random.default_rng(seed)
    chance = np.arange(1.0, 11.0) ** -2.0
    levels = rng.choice(10, size=(n_rows, 7), p=chance / chance.sum())
    X = np.zeros((n_rows, 70))
    X[np.arange(n_rows)[:, None], 10 * np.arange(7) + levels] = 1.0
    z = X @ rng.standard_normal(70)
    return X, (z - z.mean() > rng.logistic(size=n_rows)).astype(int)


FORMS = {
    "raw": lambda X: X,
    "standardised": lambda X: (X - X.mean(axis=0)) / X.std(axis=0),
    "float32": lambda X: X.astype(np.float32),
    "integers": lambda X: X.astype(np.int8),
    "Fortran": np.asfortranarray,
    "far": lambda X: X + 1e6,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_fit_ends_at_the_optimum(form, fit_intercept):
    X, y = one_hot()
    X = FORMS[form](X)
    assert isinstance(in_parts(RowBlocks(X)).design, PartsDesign)
    model = LogisticRegression(alpha=1e-3, fit_intercept=fit_intercept).fit(X, y)
    coef, shift = model.coef_[0].astype(float), 1e6 * (form == "far" and fit_intercept)
    theta = np.append(coef, model.intercept_ + shift * coef.sum())
    problem = Plain(
        KINDS["sigmoid"], X - shift, y[:, None], alpha=1e-3, fit_intercept=fit_intercept
    )
    assert model.converged_
    assert problem.decrement(theta[:, None]) <= (1e-9 if form == "float32" else 1e-12)


def test_units_of_columns_without_a_penalty():
    X, y = one_hot()
    X = np.delete(X, np.s_[9::10], axis=1)[:, ::2]  # no level depends on the others
    unit = 10.0 ** np.linspace(-100, 100, X.shape[1])
    assert isinstance(in_parts(RowBlocks(X * unit), least_numbers=0).design, PartsDesign)
    X = np.vstack([X, X[::-1]])
    y = np.append(y, y)
    expected = LogisticRegression().fit(X, y)
    model = LogisticRegression().fit(X * unit, y)
    assert isinstance(in_parts(RowBlocks(X)).design, PartsDesign)
    assert_allclose(model.coef_[0] * unit, expected.coef_[0], rtol=1e-8, atol=1e-10)


def test_the_bits_do_not_depend_on_the_threads():
    X, y = one_hot(70_000)
    assert in_parts(RowBlocks(X)).block_rows < len(X)
    fits = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            fits.append(LogisticRegression(alpha=1e-3).fit(FORMS["standardised"](X), y).coef_)
    assert_array_equal(fits[0], fits[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_in_scikit_learns_words(bad):
    X, y = one_hot()
    X[4321, 12] = bad
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        LogisticRegression(alpha=1e-3).fit(X, y)


def test_entries_are_counted_beside_any_value():
    X = table()
    design = parts_of(X).design.take(np.arange(0, N_ROWS, 2))
    for usual in (design.usual(), np.zeros(33)):
        assert_array_equal(design.n_unusual(usual), (X[::2] != usual).sum(axis=0))
