"""The frame: both coordinates describe the same predictor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from gdregress.rows.blocks import RowBlocks
from gdregress.rows.columns import FrameChoice
from gdregress.rows.containers import design_of
from gdregress.rows.frame import Frame

RNG = np.random.default_rng(0)
THETA = RNG.standard_normal((4, 2, 3))
FRAMES = {
    "identity": Frame.identity(3),
    "shifted": Frame(np.array([4.0, -2.0, 0.0]), np.ones(3)),
    "scaled": Frame(np.zeros(3), np.array([0.25, 1.0, 64.0])),
    "both": Frame(np.array([4.0, -2.0, 0.5]), np.array([0.125, 8.0, 2.0])),
}
each_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


def predict(X, theta):
    return np.einsum("ij,jmk->imk", X, theta[:-1]) + theta[-1]


def framed(X, frame):
    """The rows of a block in the frame."""
    return frame.applied(design_of(X)).rows


@each_frame
def test_rows_are_shifted_and_scaled(frame):
    X = RNG.standard_normal((5, 3))
    assert_allclose(framed(X, frame), (X - frame.shift) / frame.scale, rtol=1e-15)


@each_frame
def test_predictions_are_equal(frame):
    X = RNG.standard_normal((5, 3))
    inside = predict((X - frame.shift) / frame.scale, frame.enter(THETA))
    assert_allclose(inside, predict(X, THETA), atol=1e-13)


@each_frame
def test_enter_and_leave_undo_each_other(frame):
    before = THETA.copy()
    assert_allclose(frame.leave(frame.enter(THETA)), THETA, atol=1e-14)
    assert_allclose(frame.enter(frame.leave(THETA)), THETA, atol=1e-14)
    assert_array_equal(THETA, before)


@each_frame
def test_gradients_follow_the_chain_rule(frame):
    """d/dt f(enter(theta + t u)) = <gradient_outside, u> for every direction u."""
    gradient = RNG.standard_normal(THETA.shape)  # of a linear f by theta of the frame
    outside, before = frame.gradient_outside(gradient), gradient.copy()
    for _ in range(5):
        u = RNG.standard_normal(THETA.shape)
        slope = np.vdot(gradient, frame.enter(THETA + u) - frame.enter(THETA))
        assert_allclose(np.vdot(outside, u), slope, rtol=1e-11)
    assert_array_equal(gradient, before)


@each_frame
def test_flags_say_what_is_to_be_done(frame):
    assert frame.is_shifted == bool(np.any(frame.shift != 0))
    assert frame.is_scaled == bool(np.any(frame.scale != 1))
    assert frame.is_identity == (not frame.is_shifted and not frame.is_scaled)


@given(exponents=st.lists(st.integers(-498, 498), min_size=3, max_size=3))
def test_scales_round_nothing(exponents):
    """10^150 is about 2^498: such columns and their coefficients keep every bit."""
    frame = Frame(np.zeros(3), np.ldexp(1.0, exponents))
    assert_array_equal(frame.leave(frame.enter(THETA)), THETA)
    X = RNG.standard_normal((5, 3))
    assert_array_equal(framed(X * frame.scale, frame), X)
    assert_array_equal(framed(sparse.csr_matrix(X * frame.scale), frame).toarray(), X)
    gradient = frame.gradient_outside(THETA)
    assert_array_equal(gradient[:-1] / frame.scale[:, None, None], THETA[:-1])


def test_sparse_rows_keep_their_pattern():
    X = sparse.random(20, 3, density=0.3, format="csr", random_state=0)
    rows = framed(X, FRAMES["scaled"])
    assert rows.format == "csr"
    assert rows.nnz == X.nnz
    assert_array_equal(rows.toarray(), X.toarray() / FRAMES["scaled"].scale)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("n_missing", [0, 1, 3])
@each_frame
def test_shifted_sparse_rows_are_the_dense_ones(frame, n_missing, kind):
    """Entries that are not stored become ``-shift``, and no others are filled in."""
    X = RNG.integers(1, 9, (6, 3)) / 2.0
    X[5 : 5 + n_missing, 0] = 0.0  # rows that a sample of every eleventh does not see
    X[1::2, 2] = 0.0
    before = kind(X)
    found = framed(before, frame)
    assert type(found) is kind
    assert_allclose(found.toarray(), (X - frame.shift) / frame.scale, rtol=1e-15)
    n_filled = np.count_nonzero((X == 0.0) & (frame.shift != 0.0))
    assert found.nnz <= before.nnz + n_filled
    assert_array_equal(before.toarray(), X)


# The choice of a frame


def from_columns(*columns, allow_shift=True):
    X = np.column_stack(columns)
    frame = Frame.from_columns(
        X.mean(axis=0), X.std(axis=0), np.abs(X).max(axis=0), allow_shift=allow_shift
    )
    return X, frame


def test_ordinary_columns_need_no_frame():
    _, frame = from_columns(*RNG.standard_normal((3, 50)), 1e9 * RNG.standard_normal(50))
    assert frame.is_identity


@pytest.mark.parametrize("size", [1e-250, 1e-150, 1e-80, 1e80, 1e150, 1e250])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_squares_of_extreme_columns_neither_overflow_nor_vanish(size, offset):
    x = np.linspace(-1, 1, 50) + offset
    mean, spread, largest = x.mean() * size, x.std() * size, np.abs(x).max() * size
    frame = Frame.from_columns(*np.array([[mean], [spread], [largest]]), allow_shift=True)
    rows = framed(x[:, None] * size, frame)
    assert 1e-3 < np.sum(rows**2) / 50 < 1e3
    assert np.frexp(frame.scale)[0] == 0.5  # a power of two


def test_a_column_far_from_zero_keeps_its_digits():
    """At 1e9 + N(0, 1) the second moment holds no digit of the variance; shifted it does."""
    x = 1e9 + np.round(RNG.standard_normal(1000), 6)
    X, frame = from_columns(x)
    rows = framed(X, frame)[:, 0]
    assert abs(rows.mean()) < 1e-3 * rows.std()
    assert_allclose(np.mean(rows**2) - rows.mean() ** 2, np.var(x - 1e9), rtol=1e-12)


def test_no_shift_where_it_is_not_allowed():
    _, frame = from_columns(1e9 + RNG.standard_normal(50), allow_shift=False)
    assert not frame.is_shifted


@pytest.mark.parametrize("value", [0.0, 3.0, -1e9, 1e200, 1e-200])
def test_constant_columns_give_a_finite_frame(value):
    frame = Frame.from_columns(
        np.array([value]), np.array([0.0]), np.array([abs(value)]), allow_shift=True
    )
    rows = framed(np.full((5, 1), value), frame)
    assert_array_equal(rows, 0.0)


@pytest.mark.parametrize("n_rows", [300, 3000])
@pytest.mark.parametrize("small", [1e-60, 1e-170, 1e-300])
def test_the_frame_of_dense_rows_knows_columns_whose_squares_vanish(small, n_rows):
    """Sums of squares tell what is far, and nothing of what they have lost."""
    X = np.random.default_rng(1).standard_normal((n_rows, 2)) + 40.0
    X[:, 1] = small * np.tile([1.0, -1.0, -1.0, 1.0], n_rows // 4)  # of mean zero
    frame = FrameChoice(RowBlocks(X), allow_shift=True).best()
    assert_allclose(frame.shift, [X[:, 0].mean(), 0.0], rtol=1e-14)
    assert np.square(framed(X, frame)).sum(axis=0).min() > 1e-121


@pytest.mark.parametrize("n_rows", [300, 3000])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array])
def test_columns_of_zeros_need_no_frame_and_no_statistics(container, n_rows):
    X = np.random.default_rng(3).standard_normal((n_rows, 3))
    X[:, 1] = 0.0
    choice = FrameChoice(RowBlocks(container(X)), allow_shift=True)
    assert choice.best().is_identity
    assert "_sampled_columns" not in vars(choice)


@pytest.mark.parametrize("n_missing", [0, 3])
@pytest.mark.parametrize("small", [0.0, 1e-60, 1e-170, 1e-300])
def test_the_frame_of_sparse_rows_with_few_entries_is_that_of_the_dense_ones(small, n_missing):
    """Columns of no entries need nothing; those whose squares vanish do."""
    rng, n_rows, n_columns = np.random.default_rng(2), 3000, 1500
    X = np.zeros((n_rows, n_columns))
    X[np.arange(n_rows), rng.integers(3, n_columns, n_rows)] = 1.0
    X[:, 0] = 40.0 + rng.standard_normal(n_rows)  # one that is far from zero
    X[5 : 5 + n_missing, 0] = 0.0  # rows that a sample of every eleventh does not see
    X[:, 1] = small * np.tile([1.0, -1.0], n_rows // 2)
    X[:, 2] = 0.0
    rows = design_of(sparse.csr_array(X))
    assert rows.n_stored <= 16 * n_columns
    found = FrameChoice(RowBlocks(sparse.csr_array(X)), allow_shift=True).best()
    expected = FrameChoice(RowBlocks(X), allow_shift=True).exact()
    assert_allclose(found.shift, expected.shift, rtol=1e-12)
    assert_array_equal(found.scale, expected.scale)
    moved = rows.in_frame(found).rows.toarray()
    assert_allclose(moved, framed(X, expected), rtol=1e-12, atol=1e-12)
