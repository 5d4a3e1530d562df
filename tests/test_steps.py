"""store_path="step": every single step of mini-batches, with the loss of its batch."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case
from recording import Recorder
from scipy.special import expit, log_softmax

from gdregress import LinearRegression, LogisticRegression
from gdregress.callback import Checkpoint, load_checkpoint

ALPHA = 0.1


def row_losses(name, X, y, weight, coef, intercept):
    """``m s_i / S loss_i`` of every row and its derivative in z, from their formulas."""
    z = X @ np.atleast_2d(coef).T + intercept
    if name == "squares":
        loss, slope = 0.5 * (z[:, 0] - y) ** 2, z - y[:, None]
    elif name == "sigmoid":
        loss, slope = np.logaddexp(0.0, z[:, 0]) - y * z[:, 0], expit(z) - y[:, None]
    else:
        hot = np.eye(z.shape[1])[y]
        loss, slope = -(hot * log_softmax(z, axis=1)).sum(axis=1), np.exp(log_softmax(z, 1)) - hot
    share = len(y) * weight / weight.sum()
    return share * loss, share[:, None] * slope


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["squares", "sigmoid", "softmax"])
def test_every_step_is_that_of_one_row_and_every_row_has_one(name, weighted):
    case = descent_case(name)
    X, y = case.X[:40], case.y[:40] if name == "squares" else np.arange(40) % len(set(case.y))
    weight = np.random.default_rng(1).uniform(0.5, 2.0, 40) if weighted else np.ones(40)
    rate, params = 1e-3, {"alpha": ALPHA, "tol": 0, "max_iter": 3, "random_state": 0}
    model = case.estimator(learning_rate=rate, batch_size=1, store_path="step", **params)
    model.fit(X, y, sample_weight=weight)
    steps = model.history_.steps
    assert_array_equal(steps["step"], np.arange(121))
    assert_array_equal(steps["iteration"], np.repeat([0, 1, 2, 3], [1, 40, 40, 40]))
    assert_array_equal(steps["learning_rate"][1:], np.full(120, rate))
    assert steps["loss"][0] == model.loss_curve_[0]
    coefs, intercepts = steps.coef_path, steps.intercept_path
    assert_array_equal(coefs[::40], model.history_.coef_path)
    assert_array_equal(intercepts[::40], model.history_.intercept_path)
    taken = []
    for k in range(1, 121):
        coef, intercept = coefs[k - 1], intercepts[k - 1]
        loss, slope = row_losses(name, X, y, weight, coef, intercept)
        loss = loss + 0.5 * ALPHA * np.sum(coef**2)
        moved = coefs[k] - coef
        gradients = slope[:, :, None] * X[:, None] + ALPHA * np.atleast_2d(coef)
        errors = np.abs(np.atleast_2d(moved) + rate * gradients).max(axis=(1, 2))
        row = int(np.argmin(errors))  # the row whose gradient explains the step
        gradient = gradients[row].reshape(coef.shape)
        taken.append(row)
        assert_allclose(steps["loss"][k], loss[row], rtol=1e-10)
        assert_allclose(moved, -rate * gradient, rtol=1e-6, atol=1e-12 * np.abs(coefs[k]).max())
        whole = np.hypot(np.linalg.norm(gradient), np.linalg.norm(slope[row]))
        assert_allclose(steps["gradient_norm"][k], whole, rtol=1e-9)
        assert_allclose(steps["update_norm"][k], rate * whole, rtol=1e-6)
    for epoch in np.reshape(taken, (3, 40)):
        assert_array_equal(np.sort(epoch), np.arange(40))


def test_larger_batches_and_sparse_rows():
    from scipy import sparse

    case = descent_case("sigmoid")
    params = {"batch_size": 64, "max_iter": 4, "tol": 0, "random_state": 0, "alpha": ALPHA}
    plain = LogisticRegression(store_path=True, **params).fit(case.X, case.y)
    model = LogisticRegression(store_path="step", **params).fit(case.X, case.y)
    assert_array_equal(model.coef_, plain.coef_)  # watching changes nothing
    assert_array_equal(model.history_.coef_path, plain.history_.coef_path)
    per_epoch = -(-len(case.y) // 64)
    assert len(model.history_.steps) == 4 * per_epoch + 1
    assert not hasattr(plain.history_, "steps")
    other = LogisticRegression(store_path="step", **params).fit(sparse.csr_array(case.X), case.y)
    assert_allclose(other.history_.steps["loss"], model.history_.steps["loss"], rtol=1e-9)
    # Batches of a whole epoch tell the loss of all rows, on average over the epoch.
    slow = LogisticRegression(learning_rate=1e-9, store_path="step", **params).fit(case.X, case.y)
    full = len(case.y) // 64 * 64
    shares = np.full(per_epoch, 64.0)
    shares[-1] = len(case.y) - full or 64
    mean = np.average(slow.history_.steps["loss"][1 : per_epoch + 1], weights=shares)
    assert_allclose(mean, slow.loss_curve_[0], rtol=1e-7)


def test_full_batches_have_no_smaller_steps():
    case = descent_case("squares")
    model = LinearRegression(store_path="step", max_iter=3, tol=0).fit(case.X, case.y)
    assert model.history_.coef_path.shape == (4, 10)
    with pytest.raises(AttributeError, match=r"store_path='step' and a batch_size"):
        model.history_.steps  # noqa: B018


def stepwise(**params):
    case = descent_case("sigmoid")
    own = {"store_path": "step", "batch_size": 50, "tol": 0, "random_state": 0, "max_iter": 6}
    return case, LogisticRegression(**{**own, **params})


def assert_same_steps(history, expected):
    for name in ("iteration", "step", "loss", "gradient_norm", "update_norm", "learning_rate"):
        assert_array_equal(history.steps[name], expected.steps[name])
    assert_array_equal(history.steps.coef_path, expected.steps.coef_path)


def test_steps_go_on_with_the_fit(tmp_path):
    case, model = stepwise()
    whole = model.fit(case.X, case.y).history_
    _, half = stepwise(max_iter=3, warm_start=True)
    first = half.fit(case.X, case.y).history_
    n_first = len(first.steps)
    assert_same_steps(half.fit(case.X, case.y).history_, whole)
    assert len(first.steps) == n_first  # what was handed out stays
    again = pickle.loads(pickle.dumps(half))
    assert again.history_ == half.history_
    _, cut = stepwise(max_iter=3)
    cut.set_callbacks(Checkpoint(tmp_path / "fit.npz")).fit(case.X, case.y)
    loaded = load_checkpoint(tmp_path / "fit.npz").set_params(max_iter=6)
    assert_same_steps(loaded.fit(case.X, case.y).history_, whole)


def test_an_interruption_takes_the_steps_of_its_epoch_back():
    case, model = stepwise()
    expected = model.fit(case.X, case.y).history_

    class InTheMiddle:
        """Interrupts within the fourth epoch, as Ctrl-C may."""

        calls = 0

        def __call__(self, t):
            self.calls += 1
            if self.calls == 40:
                raise KeyboardInterrupt
            return 1.0

    _, cut = stepwise(schedule=InTheMiddle())
    with pytest.raises(KeyboardInterrupt):
        cut.fit(case.X, case.y)
    n_rows = len(cut.history_)
    n_steps = cut.history_["step"][-1]
    assert 1 < n_rows < 7
    assert len(cut.history_.steps) == n_steps + 1
    assert_array_equal(cut.history_.steps["loss"], expected.steps["loss"][: n_steps + 1])


def test_a_stream_tells_its_steps():
    case, model = stepwise(batch_size=10)
    for part in range(3):
        rows = slice(100 * part, 100 * part + 100)
        model.partial_fit(case.X[rows], case.y[rows], classes=[0, 1])
    assert_array_equal(model.history_.steps["step"], np.arange(31))
    model.history_.keep_last(2)
    assert_array_equal(model.history_.steps["step"], np.arange(20, 31))


def test_hooks_see_the_steps_so_far():
    case, model = stepwise()
    recorder = Recorder()
    model.set_callbacks(recorder).fit(case.X, case.y)
    per_epoch = -(-len(case.y) // 50)
    for number, estimator in enumerate(recorder.estimators[2:-1:2], start=1):
        assert len(estimator.history_.steps) == number * per_epoch + 1


@pytest.mark.parametrize(
    ("value", "kind"), [("steps", ValueError), (1, TypeError), (None, TypeError)]
)
def test_other_values(value, kind):
    with pytest.raises(
        kind, match=r"'store_path' of LinearRegression must be True, False or 'step'"
    ):
        LinearRegression(store_path=value).fit([[0.0], [1.0]], [0.0, 1.0])
