"""The elastic net against its definition and numerical minimisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar

from gdregress.problem.penalty import ElasticNet
from gdregress.rows.frame import Frame

MIXES = [(0.0, 0.0), (0.7, 0.0), (0.7, 0.4), (0.7, 1.0)]
each_mix = pytest.mark.parametrize(("alpha", "l1_ratio"), MIXES)

THETA = np.random.default_rng(0).standard_normal((4, 2, 3))
FRAMES = {
    "identity": Frame.identity(3),
    "scaled": Frame(np.zeros(3), np.array([0.25, 1.0, 64.0])),
    "shifted and scaled": Frame(np.array([10.0, -3.0, 0.5]), np.array([2.0, 0.5, 1024.0])),
    "extreme": Frame(np.zeros(3), np.ldexp(1.0, [-500, 0, 500])),
}
each_frame = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)


@each_mix
def test_value_is_the_definition_for_each_model(alpha, l1_ratio):
    penalty = ElasticNet(alpha, l1_ratio)
    value, rough_value = penalty.value(THETA), penalty.rough_value(THETA)
    assert value.shape == rough_value.shape == (2,)
    for m in range(2):
        W = THETA[:-1, m]
        l1 = alpha * l1_ratio * np.abs(W).sum()
        assert_allclose(rough_value[m], l1, rtol=1e-14)
        assert_allclose(value[m], l1 + alpha * (1 - l1_ratio) / 2 * np.sum(W**2), rtol=1e-14)


@each_mix
def test_the_intercept_is_spared(alpha, l1_ratio):
    penalty, moved = ElasticNet(alpha, l1_ratio), THETA.copy()
    moved[-1] += 100.0
    assert_array_equal(penalty.value(moved), penalty.value(THETA))
    assert_array_equal(penalty.add_gradient(moved, np.ones_like(moved))[-1], 1.0)
    assert_array_equal(penalty.proximal(moved, 10.0)[-1], moved[-1])
    assert_array_equal(penalty.curvature((4, 3))[-1], 0.0)


@each_mix
@each_frame
def test_gradient_is_the_slope_of_the_smooth_part(alpha, l1_ratio, frame):
    penalty = ElasticNet(alpha, l1_ratio).in_frame(frame)
    theta = frame.enter(THETA)
    gradient = penalty.add_gradient(theta, np.zeros_like(theta))
    step = 1e-4
    for j in range(3):
        up, down = theta.copy(), theta.copy()
        up[j] += step * frame.scale[j]
        down[j] -= step * frame.scale[j]
        smooth = [penalty.value(t) - penalty.rough_value(t) for t in (up, down)]
        slope = (smooth[0] - smooth[1]) / (2 * step)
        assert_allclose((gradient[j] * frame.scale[j]).sum(axis=1), slope, rtol=1e-8, atol=1e-10)


@each_mix
def test_gradient_is_added_in_place(alpha, l1_ratio):
    penalty, total = ElasticNet(alpha, l1_ratio), np.full_like(THETA, 0.5)
    alone = penalty.add_gradient(THETA, np.zeros_like(THETA))
    assert penalty.add_gradient(THETA, total) is total
    assert_allclose(total, 0.5 + alone, rtol=1e-15)


@each_mix
@each_frame
def test_curvature_is_the_change_of_the_gradient(alpha, l1_ratio, frame):
    penalty = ElasticNet(alpha, l1_ratio).in_frame(frame)
    curvature = penalty.curvature((4, 3))
    for j in range(4):
        unit = np.zeros((4, 1, 3))
        unit[j] = 1.0
        change = penalty.add_gradient(unit, np.zeros_like(unit))[j, 0]
        if frame is FRAMES["extreme"]:  # clipped, so that sums of squares stay finite
            change = np.where(change == 0.0, 0.0, np.clip(change, 1e-300, 1e300))
        assert_allclose(curvature[j], change, rtol=1e-14)


@each_mix
@each_frame
def test_in_a_frame_it_is_the_penalty_of_the_original_coefficients(alpha, l1_ratio, frame):
    penalty = ElasticNet(alpha, l1_ratio)
    framed, inside = penalty.in_frame(frame), frame.enter(THETA)
    assert_allclose(framed.value(inside), penalty.value(THETA), rtol=1e-14)
    assert_allclose(framed.rough_value(inside), penalty.rough_value(THETA), rtol=1e-14)
    # The chain rule: dP/dw = d dP/dw~; the shift does not touch the coefficients.
    gradient = penalty.add_gradient(THETA, np.zeros_like(THETA))
    inner = framed.add_gradient(inside, np.zeros_like(THETA))
    assert_allclose(inner[:-1] * frame.scale[:, None, None], gradient[:-1], rtol=1e-14)


@each_frame
@pytest.mark.parametrize("step", [0.05, 1.0])
def test_proximal_step_minimises_its_definition(frame, step):
    penalty = ElasticNet(0.9, 0.6).in_frame(frame)
    theta = np.random.default_rng(1).uniform(-2, 2, (4, 2, 3))
    found = penalty.proximal(theta, step)

    for j in range(3):
        if not 1e-3 < frame.scale[j] < 1e3:
            continue
        for target, prox in zip(theta[j].ravel(), found[j].ravel(), strict=True):

            def distance(u, target=target, j=j):
                return 0.5 * (u - target) ** 2 + step * 0.9 * 0.6 * abs(u) / frame.scale[j]

            best = minimize_scalar(distance, bounds=(-3, 3), options={"xatol": 1e-10}).x
            assert distance(prox) <= distance(best) + 1e-14
            assert_allclose(prox, best, atol=1e-6)


@given(
    theta=st.floats(-10, 10), other=st.floats(-10, 10), step=st.floats(0, 10), alpha=st.floats(0, 2)
)
def test_proximal_step_is_optimal_and_does_not_expand(theta, other, step, alpha):
    penalty = ElasticNet(alpha, 1.0)
    column = np.array([theta, 0.0]).reshape(2, 1, 1)
    u = penalty.proximal(column, step)[0, 0, 0]
    # 0 in u - theta + step alpha d|u|
    subgradient = theta - u
    if u != 0.0:
        assert_allclose(subgradient, np.sign(u) * step * alpha, atol=1e-12)
    else:
        assert abs(subgradient) <= step * alpha
    v = penalty.proximal(np.array([other, 0.0]).reshape(2, 1, 1), step)[0, 0, 0]
    assert abs(u - v) <= abs(theta - other) + 1e-12


def test_proximal_step_takes_one_step_size_per_model():
    penalty = ElasticNet(1.0, 1.0)
    steps = np.array([0.1, 2.0]).reshape(1, 2, 1)
    together = penalty.proximal(THETA, steps)
    for m in range(2):
        one = penalty.proximal(THETA[:, m : m + 1], steps[0, m, 0])
        assert_array_equal(together[:, m : m + 1], one)


def test_without_an_l1_part_the_proximal_step_is_theta_itself():
    assert ElasticNet(1.0, 0.0).proximal(THETA, 1.0) is THETA
