"""Every kernel, whatever the blocks, workers, layout, weights and frame, is its plain formula."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from plain import KINDS, Plain
from scipy import sparse

from gdregress.problem import kernels as of_loss
from gdregress.rows import kernels
from gdregress.rows.blocks import Block, PerRow, RowBlocks
from gdregress.rows.columns import ColumnStatistics
from gdregress.rows.containers import design_of
from gdregress.rows.frame import Frame

N_ROWS, N_FEATURES = 7, 4


def raw(values):
    """Rows of which every layout below holds the same numbers, some of them zero."""
    rng = np.random.default_rng(0)
    X = rng.integers(-4, 5, (N_ROWS, N_FEATURES)) * 0.25
    return {"eighths": X, "integers": 4 * X, "zero-one": (X > 0) + 0.0}[values]


def memory_map(X, tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def read_only(X, tmp_path):
    X.setflags(write=False)
    return X


def strided(X, tmp_path):
    wide = np.full((2 * len(X), 3 * X.shape[1]), np.nan)
    wide[::2, ::3] = X
    return wide[::2, ::3]


# name: (the values it holds, X as that layout)
LAYOUTS = {
    "C": ("eighths", lambda X, _: np.ascontiguousarray(X)),
    "F": ("eighths", lambda X, _: np.asfortranarray(X)),
    "strided": ("eighths", strided),
    "reversed": ("eighths", lambda X, _: X[::-1, ::-1].copy()[::-1, ::-1]),
    "read-only": ("eighths", read_only),
    "memory map": ("eighths", memory_map),
    "float32": ("eighths", lambda X, _: X.astype(np.float32)),
    "int8": ("integers", lambda X, _: X.astype(np.int8)),
    "bool": ("zero-one", lambda X, _: X.astype(bool)),
    "CSR": ("eighths", lambda X, _: sparse.csr_matrix(X)),
    "CSR array": ("eighths", lambda X, _: sparse.csr_array(X)),
    "CSR float32": ("eighths", lambda X, _: sparse.csr_matrix(X.astype(np.float32))),
    "CSR int8": ("integers", lambda X, _: sparse.csr_matrix(X.astype(np.int8))),
}
FRAMES = {
    "identity": Frame.identity(N_FEATURES),
    "scaled": Frame(np.zeros(N_FEATURES), np.array([2.0, 0.5, 1.0, 4.0])),
    "shifted and scaled": Frame(np.array([0.5, 0.0, -2.0, 1.0]), np.array([2.0, 0.5, 1.0, 4.0])),
}

each_layout = pytest.mark.parametrize("layout", LAYOUTS)
each_layout_and_frame = pytest.mark.parametrize(
    ("layout", "frame_name"),
    [
        (layout, frame_name)
        for layout in LAYOUTS
        for frame_name in FRAMES
        # All kinds of sparse rows are one once they are blocks.
        if "CSR" not in layout or layout in ("CSR", "CSR array") or frame_name == "identity"
    ],
)
each_weighting = pytest.mark.parametrize("weighted", [False, True])
each_kind = pytest.mark.parametrize("name", KINDS)


def laid_out(layout, tmp_path, frame_name="identity"):
    """X in the layout, the plain X, and the frame."""
    values, arrange = LAYOUTS[layout]
    X = raw(values)
    return arrange(X.copy(), tmp_path), X, FRAMES[frame_name]


def weights(weighted):
    """Weights, some of them zero."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 5, N_ROWS) * rng.uniform(0.1, 1.0, N_ROWS) if weighted else None


def reduced(kernel, X, y, sample_weight, *args, frame=None):
    """Reductions over blocks of one row, and of all; the same bits for 1 and 2 workers.

    Three runs of two or three blocks each: blocks are folded into runs, runs into the whole.
    """
    for block_rows in (1, N_ROWS):
        blocks = RowBlocks(X, y, sample_weight, block_rows=block_rows, n_runs=3)
        blocks = blocks if frame is None else blocks.in_frame(frame)
        found = blocks.reduce(kernel, *args)
        if block_rows < N_ROWS:
            blocks.workers = 2
            again = blocks.reduce(kernel, *args)
            for one, two in zip(as_tuple(found), as_tuple(again), strict=True):
                assert_array_equal(np.asarray(one).ravel(), np.asarray(two).ravel())
        yield found


def as_tuple(result):
    return result if isinstance(result, tuple | list) else (result,)


def assert_reduces_to(expected, kernel, X, y, sample_weight, *args, frame=None):
    kernel = pickle.loads(pickle.dumps(kernel))
    for found in reduced(kernel, X, y, sample_weight, *args, frame=frame):
        for part, exact in zip(as_tuple(found), as_tuple(expected), strict=True):
            assert part.shape == np.shape(exact)
            assert part.dtype == np.float64
            assert_allclose(part, exact, rtol=1e-12, atol=1e-12)


def draw_theta(kind, n_models, seed=2):
    return np.random.default_rng(seed).standard_normal((N_FEATURES + 1, n_models, kind.n_outputs))


# The kernels of a loss


@each_layout_and_frame
@each_weighting
@each_kind
@pytest.mark.parametrize("n_models", [1, 3])
def test_loss_and_gradient(layout, weighted, frame_name, name, n_models, tmp_path):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    kind, weight = KINDS[name], weights(weighted)
    y = kind.draw(np.random.default_rng(3), N_ROWS)
    theta = draw_theta(kind, n_models)
    plain = Plain(kind, (plain_X - frame.shift) / frame.scale, y, weight)
    total = N_ROWS if weight is None else weight.sum()
    value = np.array([total * plain.loss(theta[:, m]) for m in range(n_models)])
    gradient = np.stack([total * plain.gradient(theta[:, m]) for m in range(n_models)], axis=1)
    assert_reduces_to(value, of_loss.LossValue(kind.loss), X, y, weight, theta, frame=frame)
    kernel = of_loss.LossGradient(kind.loss)
    assert_reduces_to((value, gradient), kernel, X, y, weight, theta, frame=frame)


@pytest.mark.parametrize("layout", ["C", "CSR"])
@pytest.mark.parametrize("frame_name", ["identity", "scaled"])
@each_weighting
@each_kind
def test_at_zero(layout, weighted, frame_name, name, tmp_path):
    """Where every descent begins, and where shortcuts are taken."""
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    kind, weight = KINDS[name], weights(weighted)
    y = kind.draw(np.random.default_rng(3), N_ROWS)
    plain = Plain(kind, (plain_X - frame.shift) / frame.scale, y, weight)
    theta = np.zeros((N_FEATURES + 1, 1, kind.n_outputs))
    total = N_ROWS if weight is None else weight.sum()
    value = np.array([total * plain.loss(theta[:, 0])])
    gradient = total * plain.gradient(theta[:, 0])[:, None]
    hessian = total * plain.hessian(theta[:, 0])
    loss = kind.loss
    assert_reduces_to(
        (value, gradient), of_loss.LossGradient(loss), X, y, weight, theta, frame=frame
    )
    assert_reduces_to(hessian, of_loss.Hessian(loss), X, y, weight, theta, frame=frame)


@each_layout_and_frame
@each_weighting
@each_kind
def test_hessian_its_products_and_its_diagonal(layout, weighted, frame_name, name, tmp_path):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    kind, weight = KINDS[name], weights(weighted)
    y = kind.draw(np.random.default_rng(3), N_ROWS)
    theta, direction = draw_theta(kind, 1), draw_theta(kind, 3, seed=4)
    plain = Plain(kind, (plain_X - frame.shift) / frame.scale, y, weight)
    total = N_ROWS if weight is None else weight.sum()
    hessian = total * plain.hessian(theta[:, 0])
    product = np.stack(
        [(hessian @ direction[:, m].ravel()).reshape(direction[:, m].shape) for m in range(3)],
        axis=1,
    )
    loss = kind.loss
    assert_reduces_to(hessian, of_loss.Hessian(loss), X, y, weight, theta, frame=frame)

    for rows in reduced(of_loss.RowCurvature(loss), X, y, weight, theta, frame=frame):
        curvature = np.concatenate(rows)
        assert curvature.shape == (N_ROWS, 1, kind.n_outputs)
    curved = PerRow(curvature)
    assert_reduces_to(
        product, of_loss.CurvedProduct(loss), X, None, weight, curved, direction, frame=frame
    )
    diagonal = np.diag(hessian).reshape(theta.shape)
    assert_reduces_to(diagonal, of_loss.CurvedSquares(loss), X, None, weight, curved, frame=frame)
    k = kind.n_outputs
    grams = np.stack([hessian[i::k, i::k] for i in range(k)])
    assert_reduces_to(grams, of_loss.GramsAlongAxes(loss), X, None, weight, curved, frame=frame)
    value, gradient = total * plain.loss(theta[:, 0]), total * plain.gradient(theta[:, 0])
    expected = np.array([value]), gradient[:, None], hessian
    assert_reduces_to(expected, of_loss.Expansion(loss), X, y, weight, theta, frame=frame)
    for *found, rows in reduced(of_loss.CurvedExpansion(loss), X, y, weight, theta, frame=frame):
        for part, exact in zip(found, expected[:2], strict=True):
            assert_allclose(part, exact, rtol=1e-12, atol=1e-12)
        assert_allclose(np.concatenate(rows), curvature, rtol=1e-12, atol=1e-12)


# The kernels of the design


@each_layout_and_frame
@each_weighting
def test_moments(layout, weighted, frame_name, tmp_path):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    weight, y_shift = weights(weighted), np.array([0.5, -1.0])
    y = np.random.default_rng(3).standard_normal((N_ROWS, 2))
    A = np.column_stack([(plain_X - frame.shift) / frame.scale, np.ones(N_ROWS)])
    s = np.ones(N_ROWS) if weight is None else weight
    gram, cross = A.T @ (s[:, None] * A), A.T @ (s[:, None] * (y - y_shift))
    square = s @ (y - y_shift) ** 2
    assert_reduces_to((gram, cross, square), kernels.Moments(y_shift), X, y, weight, frame=frame)
    assert_reduces_to(gram, kernels.Moments(), X, None, weight, frame=frame)


@each_layout_and_frame
@each_weighting
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_r_factor_has_the_moments_as_its_square(
    layout, weighted, frame_name, fit_intercept, tmp_path
):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    weight, y_shift = weights(weighted), np.array([0.5, -1.0])
    y = np.random.default_rng(3).standard_normal((N_ROWS, 2))
    ones = [np.ones((N_ROWS, 1))] if fit_intercept else []
    rows = np.hstack([*ones, (plain_X - frame.shift) / frame.scale, y - y_shift])
    s = np.ones(N_ROWS) if weight is None else weight
    kernel = kernels.RFactor(y_shift, fit_intercept)
    for found in reduced(kernel, X, y, weight, frame=frame):
        assert_array_equal(found, np.triu(found))
        assert_allclose(found.T @ found, rows.T @ (s[:, None] * rows), rtol=1e-12, atol=1e-12)


def test_r_factor_combines_in_any_grouping():
    rng = np.random.default_rng(5)
    kernel = kernels.RFactor(np.zeros(1))
    factors = [
        kernel(Block(design_of(rng.standard_normal((9, 4))), rng.standard_normal((9, 1)), None))
        for _ in range(3)
    ]
    a, b, c = (factor.copy() for factor in factors)
    left = kernel.combine(kernel.combine(a, b), c)
    a, b, c = factors
    right = kernel.combine(a, kernel.combine(b, c))
    assert_allclose(abs(left), abs(right), rtol=1e-12, atol=1e-13)  # rows have no sign


def test_r_factor_of_badly_scaled_rows_keeps_the_small_columns():
    """Squared, 1e-8 beside 1 would leave no digit of what the columns differ in."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal(N_ROWS)
    X = np.column_stack([x, x + 1e-9 * rng.standard_normal(N_ROWS)])
    kernel = kernels.RFactor(np.zeros(1), fit_intercept=False)
    smallest = np.linalg.svd(X, compute_uv=False)[-1]
    for found in reduced(kernel, X, x[:, None], None):
        assert_allclose(np.linalg.svd(found[:2, :2], compute_uv=False)[-1], smallest, rtol=1e-5)


@each_layout
@each_weighting
def test_squares_and_ranges_of_columns_and_the_largest_row(layout, weighted, tmp_path):
    X, plain_X, _ = laid_out(layout, tmp_path)
    weight = weights(weighted)
    s = np.ones(N_ROWS) if weight is None else weight
    squares = np.append(s @ plain_X**2, s.sum())
    assert_reduces_to(squares, kernels.ColumnSquares(), X, None, weight)
    limits = np.vstack([plain_X.min(axis=0), plain_X.max(axis=0)])
    assert_reduces_to(limits, kernels.ColumnRange(), X, None, weight)
    for fit_intercept in (True, False):
        largest = np.max(s * (np.sum(plain_X**2, axis=1) + fit_intercept), keepdims=True)
        assert_reduces_to(largest, kernels.LargestRow(fit_intercept), X, None, weight)


@each_layout
@each_weighting
def test_statistics_of_columns(layout, weighted, tmp_path):
    X, plain_X, _ = laid_out(layout, tmp_path)
    weight = weights(weighted)
    s = np.ones(N_ROWS) if weight is None else weight
    mean = np.average(plain_X, axis=0, weights=s)
    spread = np.sqrt(np.average((plain_X - mean) ** 2, axis=0, weights=s))
    weighing = plain_X[s > 0]
    expected = s.sum(), mean, spread, weighing.min(axis=0), weighing.max(axis=0)
    for found in reduced(ColumnStatistics(), X, None, weight):
        for part, exact in zip(found, expected, strict=True):
            assert_allclose(part, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", ["C", "CSR"])
def test_statistics_of_columns_lose_no_digits_and_leave_no_range(layout):
    """The spread is 1e-9 of the mean, or as large as float64 goes, or nothing; rows of weight
    zero do not count."""
    t = np.array([-1.0, 1.0, 3.0, -3.0])
    X = np.column_stack([2.0**30 + t, 2.0**1020 * t, 2.0**-1000 * t, np.full(4, 0.1), t])
    X = np.vstack([X, np.zeros(5), [0.0, 0.0, 0.0, 0.1, 5.0]])
    weight = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    root = np.sqrt(5.0)
    rows = sparse.csr_matrix(X) if layout == "CSR" else X
    for found in reduced(ColumnStatistics(), rows, None, weight):
        spread = np.ldexp([root, root, root, 0, root], [0, 1020, -1000, 0, 0])
        assert_allclose(found.spread, spread, rtol=1e-15)
        assert (abs(found.mean - [2.0**30, 0, 0, 0.1, 0]) <= 1e-15 * spread).all()
        assert_array_equal(found.low, np.append(X[3, :3], [0.1, -3.0]))


@pytest.mark.parametrize("layout", ["CSR", "CSR float32", "CSR int8"])
def test_column_ranges_of_sparse_columns_count_the_zeros(layout, tmp_path):
    X = sparse.csr_matrix(np.array([[3.0, -3.0, 0.0], [0.0, -1.0, 0.0], [2.0, -2.0, 0.0]]))
    found = RowBlocks(X.astype(LAYOUTS[layout][1](np.eye(2), tmp_path).dtype)).reduce(
        kernels.ColumnRange()
    )
    assert_array_equal(found, [[0.0, -3.0, 0.0], [3.0, -1.0, 0.0]])


@each_layout_and_frame
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_largest_move(layout, frame_name, name, tmp_path):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    kind = KINDS[name]
    y, direction = kind.draw(np.random.default_rng(3), N_ROWS), draw_theta(kind, 1)
    dz = Plain(kind, (plain_X - frame.shift) / frame.scale, y).A @ direction[:, 0]
    moves = [max(abs(row)) if name == "sigmoid" else max(row) - min(row) for row in dz]
    assert_reduces_to(
        np.array([max(moves)]),
        kernels.LargestMove(kind.loss.moves),
        X,
        y,
        None,
        direction,
        frame=frame,
    )


@each_layout_and_frame
@each_weighting
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_movers(layout, weighted, frame_name, name, tmp_path):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    kind, weight = KINDS[name], weights(weighted)
    y, direction = kind.draw(np.random.default_rng(3), N_ROWS), draw_theta(kind, 1)
    gradient = np.random.default_rng(5).standard_normal(direction.shape)
    rows = (plain_X - frame.shift) / frame.scale
    dz = Plain(kind, rows, y).A @ direction[:, 0]
    moves = np.array([max(abs(row)) if name == "sigmoid" else max(row) - min(row) for row in dz])
    least = np.sort(moves)[3:5].mean()
    far = [i for i in range(N_ROWS) if moves[i] > least and rows[i].any()]
    along = sum(np.square(rows[i] @ gradient[:-1, 0]).sum() / (rows[i] @ rows[i]) for i in far)
    others = np.where(moves > least, 0.0, np.ones(N_ROWS) if weight is None else weight)
    kernel = kernels.Movers(kind.loss.moves, least)
    expected = np.array([along])
    assert_reduces_to(expected, kernel, X, y, weight, gradient, direction, frame=frame)
    kernel = kernels.MomentsBesideMovers(kind.loss.moves, least)
    expected = np.array([others.sum()]), np.array([others @ rows, others @ rows**2])
    assert_reduces_to(expected, kernel, X, y, weight, direction, frame=frame)
    none = kernels.Movers(kind.loss.moves, moves.max() + 1.0)
    assert_reduces_to(np.zeros(1), none, X, y, weight, gradient, direction, frame=frame)


@each_layout_and_frame
@each_weighting
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_the_rows_that_a_step_hardly_moves(layout, weighted, frame_name, name, tmp_path):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    kind, weight = KINDS[name], weights(weighted)
    y, step = kind.draw(np.random.default_rng(3), N_ROWS), draw_theta(kind, 1)
    theta, direction = draw_theta(kind, 1, seed=8), draw_theta(kind, 1, seed=9)
    A = Plain(kind, (plain_X - frame.shift) / frame.scale, y).A

    def moves(d):
        return np.array([kind.loss.moves(row[None, None])[0, 0] for row in A @ d[:, 0]])

    most = np.unique(moves(step).round(9))[N_ROWS // 2 :][:2].mean()  # between two of them
    still = (moves(step) <= most) + 0.0
    expected = np.array([max(moves(direction) * still)])
    kernel = kernels.LargestMoveBeside(kind.loss.moves, most)
    assert_reduces_to(expected, kernel, X, y, weight, direction, step, frame=frame)
    kept = still if weight is None else still * weight
    kernel = of_loss.ExpansionBeside(kind.loss, most)
    for found in reduced(kernel, X, y, weight, theta, step, frame=frame):
        for wanted in reduced(of_loss.Expansion(kind.loss), X, y, kept, theta, frame=frame):
            for one, other in zip(found, wanted):
                assert_allclose(one, other, rtol=1e-11, atol=1e-12)


@each_layout_and_frame
@each_weighting
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_margin(layout, weighted, frame_name, name, tmp_path):
    X, plain_X, frame = laid_out(layout, tmp_path, frame_name)
    kind, weight = KINDS[name], weights(weighted)
    y, theta = kind.draw(np.random.default_rng(3), N_ROWS), draw_theta(kind, 1)
    codes = y.astype(int)
    z = Plain(kind, (plain_X - frame.shift) / frame.scale, y).A @ theta[:, 0]
    scores = np.hstack([np.zeros_like(z), z]) if name == "sigmoid" else z
    margins = []
    for i in range(N_ROWS):
        if weight is None or weight[i] > 0:
            own = scores[i, codes[i, 0]]
            margins.append(own - max(np.delete(scores[i], codes[i, 0])))
    kernel = of_loss.Margin(kind.loss)
    kept_y = y.copy()
    for found in reduced(kernel, X, y, weight, theta, frame=frame):
        assert_allclose(found, [min(margins), max(margins)], rtol=1e-12)
    assert_array_equal(y, kept_y)


@each_kind
def test_weight_two_is_the_row_twice(name):
    kind, rng = KINDS[name], np.random.default_rng(7)
    X, weight = raw("eighths"), rng.integers(0, 4, N_ROWS)
    y, theta = kind.draw(rng, N_ROWS), draw_theta(kind, 1)
    repeated = RowBlocks(np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0))
    for kernel, args in [
        (of_loss.LossGradient(kind.loss), (theta,)),
        (of_loss.Hessian(kind.loss), (theta,)),
        (kernels.Moments(np.zeros(y.shape[1])), ()),
    ]:
        expected = repeated.reduce(kernel, *args)
        for found in reduced(kernel, X, y, weight.astype(float), *args):
            for part, exact in zip(as_tuple(found), as_tuple(expected), strict=True):
                assert_allclose(part, exact, rtol=1e-12, atol=1e-12)


def test_arguments_are_left_alone():
    """Kernels may write into their results, never into X, y, the weights or theta."""
    kind, frame = KINDS["softmax"], FRAMES["shifted and scaled"]
    X, weight, theta = raw("eighths"), weights(True), draw_theta(kind, 1)
    y = kind.draw(np.random.default_rng(3), N_ROWS)
    for array in (X, y, weight, theta):
        array.setflags(write=False)
    rows = of_loss.RowCurvature(kind.loss)
    curvature = PerRow(np.abs(weight[:, None, None] + np.zeros(3)))
    for kernel, target, args in [
        (of_loss.LossValue(kind.loss), y, (theta,)),
        (of_loss.LossGradient(kind.loss), y, (theta,)),
        (of_loss.Hessian(kind.loss), y, (theta,)),
        (of_loss.CurvedExpansion(kind.loss), y, (theta,)),
        (of_loss.Margin(kind.loss), y, (theta,)),
        (rows, y, (theta,)),
        (of_loss.CurvedProduct(kind.loss), y, (curvature, theta)),
        (kernels.Moments(np.zeros(1)), y, ()),
        (kernels.RFactor(np.zeros(1)), y, ()),
        (kernels.ColumnSquares(), y, ()),
        (kernels.ColumnRange(), y, ()),
        (kernels.LargestRow(True), y, ()),
    ]:
        list(reduced(kernel, X, target, weight, *args, frame=frame))
