"""Losses against arbitrary precision, central differences and their definitions."""

import tracemalloc

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from plain import KINDS

from gdregress.problem.class_losses import LogLoss, SoftmaxLoss
from gdregress.rows.containers import design_of

each_kind = pytest.mark.parametrize("name", KINDS)
EPS = np.finfo(float).eps

SIZES = [0.0, 1e-300, 1e-20, 1e-8, 0.5, 1.0, 5.0, 18.0, 36.5, 38.0, 100.0, 709.0, 745.5, 1e3, 1e300]
EXTREMES = sorted({sign * size for size in SIZES for sign in (-1.0, 1.0)})


def finite(bound):
    return st.floats(-bound, bound, allow_subnormal=False)


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(700):  # enough to hold 1 + e^-1000
        yield


def draw(name, n_rows=6, n_models=4, scale=3.0, seed=0):
    kind, rng = KINDS[name], np.random.default_rng(seed)
    return (
        kind.loss,
        kind.draw(rng, n_rows),
        scale * rng.standard_normal((n_rows, n_models, kind.n_outputs)),
    )


# Values and gradients


@pytest.mark.parametrize("y", [0.0, 1.0])
@pytest.mark.parametrize("z", EXTREMES)
def test_log_loss_in_arbitrary_precision(y, z):
    value, gradient = LogLoss().value_and_gradient(np.array([[y]]), np.full((1, 1, 1), z))
    exact_z = mpmath.mpf(z)
    if abs(z) > 1e3:  # e^-1e300 is zero to any number of digits
        exact, slope = max(exact_z, 0) - y * exact_z, (1.0 if z > 0 else 0.0) - y
    else:
        exact = mpmath.log1p(mpmath.exp(exact_z)) - y * exact_z
        slope = 1 / (1 + mpmath.exp(-exact_z)) - y
    assert_allclose(value[0, 0], float(exact), rtol=4 * EPS, atol=4 * EPS * max(1.0, min(z, 1e3)))
    assert_allclose(gradient[0, 0, 0], float(slope), rtol=4 * EPS, atol=2 * EPS)
    assert_array_equal(LogLoss().value(np.array([[y]]), np.full((1, 1, 1), z)), value)


SOFTMAX_ROWS = [
    [0.0, 0.0, 0.0],
    [1.0, -2.0, 0.5],
    [1e-8, -1e-8, 0.0],
    [1e3, 1e3, 1e3],
    [-1e3, 1e3, 0.0],
    [740.0, 0.0, -740.0],
    [37.0, 0.0, 0.0],
    [1e300, -1e300, 0.0],
    [-1e300, -1e300, -1e300],
]


@pytest.mark.parametrize("own", [0, 1, 2])
@pytest.mark.parametrize("z", SOFTMAX_ROWS, ids=str)
def test_softmax_loss_in_arbitrary_precision(own, z):
    value, gradient = SoftmaxLoss().value_and_gradient(np.array([[own]]), np.array([[z]]))
    top = max(z)
    powers = [mpmath.exp(max(mpmath.mpf(k) - top, -5000)) for k in z]
    total = mpmath.fsum(powers)
    exact = mpmath.log(total) + (mpmath.mpf(top) - mpmath.mpf(z[own]))
    slope = [float(power / total) - (k == own) for k, power in enumerate(powers)]
    assert_allclose(value[0, 0], float(exact), rtol=4 * EPS, atol=4 * EPS)
    assert_allclose(gradient[0, 0], slope, rtol=4 * EPS, atol=2 * EPS)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_squared_loss_is_half_the_square_summed_over_the_targets(n_outputs):
    rng = np.random.default_rng(1)
    y, z = rng.standard_normal((5, n_outputs)), rng.standard_normal((5, 2, n_outputs))
    value, gradient = KINDS["squares"].loss.value_and_gradient(y, z)
    for i in range(5):
        for m in range(2):
            assert_allclose(value[i, m], sum((z[i, m] - y[i]) ** 2) / 2, rtol=1e-14)
            assert_allclose(gradient[i, m], z[i, m] - y[i], rtol=1e-14)


@each_kind
def test_gradient_is_the_slope_of_the_value(name):
    loss, y, z = draw(name)
    step = 1e-5
    _, gradient = loss.value_and_gradient(y, z)
    for k in range(z.shape[2]):
        up, down = z.copy(), z.copy()
        up[:, :, k] += step
        down[:, :, k] -= step
        slope = (loss.value(y, up) - loss.value(y, down)) / (2 * step)
        assert_allclose(gradient[:, :, k], slope, rtol=0, atol=1e-9)


@each_kind
@pytest.mark.parametrize("scale", [1e-3, 3.0, 300.0])
def test_the_sum_of_the_values_and_the_gradient_in_one_go(name, scale):
    loss, y, z = draw(name, n_rows=1500, scale=scale)
    value, gradient = loss.value_and_gradient(y, z)
    weight = np.random.default_rng(6).uniform(0.0, 2.0, len(z))
    for sample_weight, expected in ((None, value.sum(axis=0)), (weight, weight @ value)):
        total, rows = loss.sum_and_gradient(y, z, sample_weight)
        assert_allclose(total, expected, rtol=1e-13)
        # Some exponentials have no subnormal values.
        assert_allclose(rows, gradient, rtol=1e-13, atol=1e-300)


@each_kind
@pytest.mark.parametrize("scale", [1e-3, 3.0, 300.0])
@pytest.mark.parametrize("n_models", [1, 2])
def test_the_curvature_comes_with_the_sum_and_the_gradient(name, scale, n_models):
    loss, y, z = draw(name, n_rows=1500, scale=scale)
    z = z[:, :n_models].copy()
    before = z.copy()
    weight = np.random.default_rng(6).uniform(0.0, 2.0, len(z))
    for sample_weight in (None, weight):
        found = loss.sum_gradient_and_curvature(y, z, sample_weight)
        expected = *loss.sum_and_gradient(y, z, sample_weight), loss.curvature(y, z)
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape
            assert_allclose(one, other, rtol=1e-12, atol=1e-300)
    assert_array_equal(z, before)


@pytest.mark.parametrize("y", [0.0, 1.0])
@pytest.mark.parametrize("z", [-1e300, -1e3, 1e3, 1e300])
def test_rows_do_not_bend_where_a_probability_is_one(y, z):
    loss, y, z = LogLoss(), np.array([[y]]), np.full((1, 1, 1), z)
    for sample_weight in (None, np.array([0.5])):
        assert loss.sum_gradient_and_curvature(y, z, sample_weight)[2] == 0.0
    assert loss.curvature(y, z) == 0.0


@each_kind
@pytest.mark.parametrize("scale", [1e-3, 3.0, 300.0])
def test_the_slope_along_a_direction_is_what_gradient_and_curvature_say(name, scale):
    """What is added to all classes alike, where that changes nothing, hides nothing."""
    loss, y, z = draw(name, n_rows=1500, scale=scale)
    z, dz = z[:, :1].copy(), 0.1 * z[:, 1:2]
    moved = dz + 1e4 * scale * loss.has_gauge
    before = z.copy(), moved.copy()
    weight = np.random.default_rng(6).uniform(0.0, 2.0, len(z))
    for sample_weight, s in ((None, np.ones(len(z))), (weight, weight)):
        _, gradient, rows = loss.sum_gradient_and_curvature(y, z, None)
        first, second = s @ (gradient * dz)[:, 0], s @ (loss.curve(rows, dz) * dz)[:, 0]
        size = (s @ np.abs(gradient * dz)[:, 0]).sum()
        found = loss.slope(y, z, moved, sample_weight)
        assert_allclose(found[0], first.sum(), rtol=0, atol=1e-10 * size)
        assert_allclose(found[1], second.sum(), rtol=1e-9)
    assert_array_equal(z, before[0])
    assert_array_equal(moved, before[1])


@each_kind
def test_many_models_equal_one_at_a_time(name):
    loss, y, z = draw(name)
    value, gradient = loss.value_and_gradient(y, z)
    assert value.shape == z.shape[:2]
    assert gradient.shape == z.shape
    for m in range(z.shape[1]):
        one_value, one_gradient = loss.value_and_gradient(y, z[:, m : m + 1].copy())
        assert_array_equal(value[:, m : m + 1], one_value)
        assert_array_equal(gradient[:, m : m + 1], one_gradient)


@each_kind
def test_arguments_are_left_alone(name):
    loss, y, z = draw(name)
    y_before, z_before = y.copy(), z.copy()
    loss.value_and_gradient(y, z)
    loss.sum_and_gradient(y, z, None)
    loss.sum_and_gradient(y, z, np.ones(len(z)))
    loss.curve(loss.curvature(y, z), z)
    assert_array_equal(y, y_before)
    assert_array_equal(z, z_before)


@given(z=st.lists(finite(1e3), min_size=3, max_size=3), shift=finite(1e3))
def test_softmax_gauge_a_constant_added_to_all_classes_changes_nothing(z, shift):
    z, codes = np.array([[z]]), np.array([[1]])
    value, gradient = SoftmaxLoss().value_and_gradient(codes, z)
    other_value, other_gradient = SoftmaxLoss().value_and_gradient(codes, z + shift)
    assert_allclose(other_value, value, rtol=1e-12, atol=1e-12)
    assert_allclose(other_gradient, gradient, rtol=0, atol=1e-12)
    assert_allclose(gradient.sum(), 0.0, atol=4 * EPS)


@given(z=finite(700.0), y=st.sampled_from([0, 1]))
def test_softmax_of_two_classes_is_the_sigmoid_of_their_difference(z, y):
    pair = SoftmaxLoss().value(np.array([[y]]), np.array([[[0.0, z]]]))
    assert_allclose(pair, LogLoss().value(np.array([[float(y)]]), np.array([[[z]]])), atol=1e-12)


# Curvature


def second_derivative(loss, y, z, step=1e-5):
    """Central differences of the gradient at z (n, K): (n, K, K)."""
    columns = []
    for k in range(z.shape[1]):
        shift = step * (np.arange(z.shape[1]) == k)
        up = loss.value_and_gradient(y, (z + shift)[:, None])[1]
        down = loss.value_and_gradient(y, (z - shift)[:, None])[1]
        columns.append((up - down)[:, 0] / (2 * step))
    return np.stack(columns, axis=2)


@each_kind
def test_curvature_is_the_slope_of_the_gradient(name):
    """Of every model, along directions of its own, or of one along many."""
    loss, y, z = draw(name, n_rows=8)
    rows = loss.curvature(y, z)
    full = np.stack([second_derivative(loss, y, z[:, m]) for m in range(z.shape[1])], axis=1)
    dz = np.random.default_rng(3).standard_normal(z.shape)
    assert_allclose(loss.curve(rows, dz), np.einsum("nmkl,nml->nmk", full, dz), atol=1e-9)
    first = np.einsum("nkl,nml->nmk", full[:, 0], dz)
    assert_allclose(loss.curve(rows[:, :1], dz), first, atol=1e-9)
    assert_allclose(loss.curvature_diagonal(rows), np.einsum("nmkk->nmk", full), atol=1e-9)
    assert loss.curvature_diagonal(rows).shape == z.shape


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_a_curvature_shrinks_by_no_more_than_what_a_row_moves(name, scale):
    """Self-concordance: ``A(z + d) >= e^-move A(z)``, and the bound is not idle."""
    loss, y, z = draw(name, n_rows=2000)
    d = scale * np.random.default_rng(4).standard_normal(z.shape)
    moves = np.abs(d[:, :, 0]) if name == "sigmoid" else d.max(axis=2) - d.min(axis=2)
    assert_allclose(loss.moves(d), moves, rtol=1e-15)
    assert loss.self_concordance == 1.0
    direction = np.random.default_rng(5).standard_normal(z.shape)

    def bent(at):
        return np.einsum("nmk,nmk->nm", direction, loss.curve(loss.curvature(y, at), direction))

    rounding = 8 * EPS * np.einsum("nmk,nmk->nm", direction, direction)
    assert np.all(bent(z + d) >= np.exp(-moves) * bent(z) * (1 - 1e-12) - rounding)
    assert np.any(bent(z + d) < bent(z))


@given(z=st.lists(finite(1e3), min_size=2, max_size=5))
def test_softmax_curvature_is_diag_p_minus_p_p_transposed(z):
    loss, z = SoftmaxLoss(), np.array([[z]])
    powers = [mpmath.exp(mpmath.mpf(k) - z.max()) for k in z[0, 0]]
    p = np.array([float(power / mpmath.fsum(powers)) for power in powers])
    rows = loss.curvature(np.array([[0]]), z)
    full = np.hstack([loss.curve(rows, e[None, None, :])[0].T for e in np.eye(len(p))])
    assert_allclose(full, np.diag(p) - np.outer(p, p), rtol=0, atol=8 * EPS)
    assert_allclose(loss.curvature_diagonal(rows)[0, 0], p * (1 - p), rtol=1e-9, atol=2 * EPS)


@pytest.mark.parametrize("z", [z for z in EXTREMES if abs(z) < 700])
def test_sigmoid_curvature_keeps_its_digits_far_out(z):
    exact = mpmath.exp(-abs(mpmath.mpf(z))) / (1 + mpmath.exp(-abs(mpmath.mpf(z)))) ** 2
    found = LogLoss().curvature(np.array([[1.0]]), np.array([[[z]]]))
    assert_allclose(found[0, 0, 0], float(exact), rtol=8 * EPS)
    for y in (0.0, 1.0):
        args = np.array([[y]]), np.array([[[z]]]), None
        total, gradient, curvature = LogLoss().sum_gradient_and_curvature(*args)
        assert_allclose(curvature[0, 0, 0], float(exact), rtol=8 * EPS)
        slope = (1 - 2 * y) / (1 + mpmath.exp(-(1 - 2 * y) * mpmath.mpf(z)))
        assert_allclose(gradient[0, 0, 0], float(slope), rtol=8 * EPS)
        value = mpmath.log1p(mpmath.exp(mpmath.mpf(z))) - y * mpmath.mpf(z)
        assert_allclose(total, [float(value)], rtol=4 * EPS, atol=4 * EPS)


@each_kind
@given(data=st.data())
def test_curvature_bound_is_never_exceeded(name, data):
    kind = KINDS[name]
    draw_row = st.lists(finite(50.0), min_size=kind.n_outputs, max_size=kind.n_outputs)
    z, dz = np.array([[data.draw(draw_row)]]), np.array([[data.draw(draw_row)]])
    curved = kind.loss.curve(kind.loss.curvature(np.zeros((1, 1), dtype=int), z), dz)
    energy, square = np.sum(dz * curved), np.sum(dz**2)
    assert -1e-12 * square <= energy <= kind.loss.curvature_bound * square * (1 + 1e-12)


@pytest.mark.parametrize(
    ("name", "z", "dz"),
    [
        ("squares", [0.3, 0.1], [1.0, 2.0]),
        ("sigmoid", [0.0], [1.0]),
        ("softmax", [0.0, 0.0, -800.0], [1.0, -1.0, 0.0]),
    ],
)
def test_curvature_bound_is_reached(name, z, dz):
    loss, dz = KINDS[name].loss, np.array([[dz]])
    curved = loss.curve(loss.curvature(np.zeros((1, 1), dtype=int), np.array([[z]])), dz)
    assert_allclose(np.sum(dz * curved), loss.curvature_bound * np.sum(dz**2), rtol=1e-14)


# Probabilities


@pytest.mark.parametrize("z", [z for z in EXTREMES if abs(z) <= 1e3])
def test_sigmoid_probabilities_and_their_logarithms(z):
    up, down = (1 / (1 + mpmath.exp(s * mpmath.mpf(z))) for s in (-1, 1))
    column = np.array([[z]])
    tiny = np.finfo(float).tiny
    exact = [[float(down), float(up)]]
    assert_allclose(LogLoss.probabilities(column), exact, rtol=8 * EPS, atol=tiny)
    logs = [[float(mpmath.log(down)), float(mpmath.log(up))]]
    assert_allclose(LogLoss.log_probabilities(column), logs, rtol=8 * EPS)


@pytest.mark.parametrize("z", [row for row in SOFTMAX_ROWS if max(map(abs, row)) <= 1e3], ids=str)
def test_softmax_probabilities_and_their_logarithms(z):
    powers = [mpmath.exp(mpmath.mpf(k)) for k in z]
    exact = [power / mpmath.fsum(powers) for power in powers]
    row, tiny = np.array([z]), np.finfo(float).tiny
    assert_allclose(
        SoftmaxLoss.probabilities(row)[0], [float(p) for p in exact], rtol=8 * EPS, atol=tiny
    )
    logs = [float(mpmath.log(p)) for p in exact]
    bound = 8 * EPS * max(1.0, np.abs(row).max())
    assert_allclose(SoftmaxLoss.log_probabilities(row)[0], logs, rtol=8 * EPS, atol=bound)


@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 0.5])])
@pytest.mark.parametrize("z", [[0.3, -2.0, 5.0], [800.0, -800.0, -40.0], [-800.0, 800.0, 3.0]])
def test_the_losses_of_a_batch_also_far_on_the_wrong_side(z, weight):
    y, z = np.array([[0.0], [1.0], [1.0]]), np.array(z)[:, None]
    with np.errstate(divide="ignore"):  # as in a descent
        least, residual, sum_of = LogLoss().of_batch(y, z.copy(), weight)
        total = sum_of()
    rows = [mpmath.log1p(mpmath.exp(t)) for t in ((1.0 - 2.0 * y) * z)[:, 0]]
    shares = np.ones(3) if weight is None else weight
    assert_allclose(total, float(mpmath.fdot(rows, shares)), rtol=1e-12)
    assert 0.0 < least <= total
    exact = [[float(1 / (1 + mpmath.exp(-one)))] for one in z[:, 0]]
    assert_allclose(residual, exact - y, atol=4 * EPS)


def test_the_hessian_of_many_classes_takes_little_memory_beside_itself():
    """A row has a number for each pair of classes: 45,000 of 300."""
    rng = np.random.default_rng(0)
    X, p = rng.standard_normal((2000, 2)), rng.dirichlet(np.ones(300), 2000)
    tracemalloc.start()
    try:
        hessian = SoftmaxLoss.hessian(design_of(X), p[:, None], None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * hessian.nbytes + 2**25
    A = np.column_stack([X, np.ones(2000)])
    own = np.einsum("i,ij,il->jl", p[:, 7] * (1.0 - p[:, 7]), A, A)
    assert_allclose(hessian.reshape(3, 300, 3, 300)[:, 7, :, 7], own, rtol=1e-9)
