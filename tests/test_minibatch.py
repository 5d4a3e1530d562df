"""Mini-batches: any size, any layout, right weights, the same bits."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from problems import DESCENT_CASES, descent_case
from scipy import sparse
from threadpoolctl import threadpool_limits

from gdregress import LinearRegression, LogisticRegression
from gdregress.problem.class_losses import LogLoss, SoftmaxLoss
from gdregress.problem.losses import SquaredLoss
from gdregress.problem.objective import BlockObjective
from gdregress.problem.penalty import ElasticNet
from gdregress.rows.blocks import RowBlocks

each_case = pytest.mark.parametrize("name", DESCENT_CASES)


def fit(case, X, **params):
    defaults = {"solver": "gd", "learning_rate": 0.01, "max_iter": 2, "tol": 0, "random_state": 0}
    return case.estimator(**{**defaults, **params}).fit(X, case.y)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 441, 442, 10**6])
@pytest.mark.parametrize("block_bytes", [None, 1, 4000])
def test_an_epoch_holds_every_row_once(batch_size, block_bytes):
    rng = np.random.default_rng(0)
    X, y, weight = rng.random((442, 3)), rng.random((442, 1)), rng.random(442)
    blocks = RowBlocks(X, y, weight, block_bytes=block_bytes)
    seen = []
    for A, target, s in blocks.batches(np.random.default_rng(1), batch_size):
        assert 1 <= len(A) <= batch_size
        assert_array_equal(A[:, -1], 1)
        rows = [int(np.flatnonzero(X[:, 0] == value)[0]) for value in A[:, 0]]
        assert_array_equal(A[:, :-1], X[rows])
        assert_array_equal(target, y[rows])
        assert_array_equal(s, weight[rows])
        seen += rows
    assert_array_equal(seen, np.random.default_rng(1).permutation(442))


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_the_order_does_not_depend_on_the_size_of_blocks(batch_size):
    X = np.arange(500.0)[:, None]
    orders = []
    for block_bytes in (1, 1000, 2**20):
        batches = RowBlocks(X, block_bytes=block_bytes).batches(
            np.random.default_rng(2), batch_size
        )
        orders.append([A[:, 0].tolist() for A, _, _ in batches])
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        (SquaredLoss(), np.random.default_rng(0).standard_normal((60, 2))),
        (LogLoss(), np.random.default_rng(0).integers(0, 2, (60, 1)).astype(float)),
        (SoftmaxLoss(), np.random.default_rng(0).integers(0, 3, (60, 1))),
    ],
    ids=["squares", "sigmoid", "softmax"],
)
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_weights_are_right_in_expectation(loss, y, fit_intercept, weighted, make):
    """The mean of the gradients of batches of one size, over an epoch, is the full gradient."""
    rng = np.random.default_rng(1)
    n_outputs = {"SquaredLoss": 2, "LogLoss": 1, "SoftmaxLoss": 3}[type(loss).__name__]
    X = make(rng.standard_normal((60, 4)))
    weight = rng.uniform(0, 3, 60) if weighted else None
    objective = BlockObjective(
        RowBlocks(X, y, weight), loss, ElasticNet(0.3), n_outputs, fit_intercept=fit_intercept
    )
    theta = rng.standard_normal((5, 1, n_outputs))
    batches = objective.blocks.batches(np.random.default_rng(2), 6)
    mean = np.mean([objective.batch_gradient(block, theta) for block in batches], axis=0)
    assert_allclose(mean, objective.value_and_gradient(theta)[1], rtol=1e-12, atol=1e-13)


@each_case
@pytest.mark.parametrize("batch_size", [1, 32])
def test_layouts_and_types_of_the_rows(name, batch_size, tmp_path):
    case = descent_case(name)
    expected = fit(case, case.X, batch_size=batch_size)
    np.save(tmp_path / "X.npy", case.X)
    read_only = case.X.copy()
    read_only.flags.writeable = False
    wide = np.empty((len(case.X), 2 * case.X.shape[1]))
    wide[:, ::2] = case.X
    for X in (
        np.asfortranarray(case.X),
        read_only,
        wide[:, ::2],
        np.load(tmp_path / "X.npy", mmap_mode="r"),
    ):
        assert_array_equal(fit(case, X, batch_size=batch_size).coef_, expected.coef_)
    sparse_fit = fit(case, sparse.csr_array(case.X), batch_size=batch_size)
    assert_allclose(sparse_fit.coef_, expected.coef_, rtol=1e-9, atol=1e-12)
    assert fit(case, case.X.astype(np.float32), batch_size=batch_size).coef_.dtype == np.float32
    integers = np.round(10 * case.X).astype(np.int32)
    small = {"batch_size": batch_size, "learning_rate": 1e-5}
    assert_array_equal(
        fit(case, integers, **small).coef_, fit(case, integers.astype(float), **small).coef_
    )


@each_case
def test_the_same_seed_gives_the_same_bits_on_any_number_of_threads(name):
    case = descent_case(name)
    X, y = np.tile(case.X, (40, 3)), np.tile(case.y, (40,) + (1,) * (case.y.ndim - 1))
    case = case._replace(y=y)
    fits = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            fits.append(fit(case, X, batch_size=256, learning_rate="auto"))
    assert_array_equal(fits[0].coef_, fits[1].coef_)
    assert_array_equal(fits[0].loss_curve_, fits[1].loss_curve_)
    other = fit(case, X, batch_size=256, learning_rate="auto", random_state=1)
    assert not np.array_equal(other.coef_, fits[0].coef_)


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), np.uint32(2**32 - 1)])
def test_a_number_seeds_as_its_random_state_does(seed):
    """Whatever was drawn before, and in which thread."""
    case = descent_case("squares")
    expected = fit(case, case.X, batch_size=16, random_state=np.random.RandomState(seed)).coef_
    fit(case, case.X, batch_size=16, random_state=3)
    found = [fit(case, case.X, batch_size=16, random_state=seed).coef_ for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        seeds = [seed, 3] * 4
        fits = pool.map(lambda one: fit(case, case.X, batch_size=16, random_state=one), seeds)
        found += [model.coef_ for model in fits][::2]
    for coef in found:
        assert_array_equal(coef, expected)


@each_case
def test_a_batch_of_all_rows_is_the_full_batch(name):
    case = descent_case(name)
    expected = fit(case, case.X)
    assert_array_equal(fit(case, case.X, batch_size=len(case.X)).coef_, expected.coef_)


def test_a_batch_of_more_than_all_rows_says_so_once():
    case = descent_case("squares")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit(case, case.X, batch_size=1000, max_iter=5)
    assert len(caught) == 1
    assert "'batch_size'=1000" in str(caught[0].message)
    assert_array_equal(model.coef_, fit(case, case.X, max_iter=5).coef_)


def test_one_iteration_is_one_epoch():
    case = descent_case("sigmoid")
    history = fit(case, case.X, batch_size=100, max_iter=4).history_
    assert_array_equal(history["iteration"], np.arange(5))
    assert_array_equal(history["step"], 6 * np.arange(5))
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(history["gradient_norm"]).all()


@each_case
def test_losses_are_those_after_the_epoch_penalty_included(name):
    case = descent_case(name)
    model = fit(case, case.X, batch_size=50, alpha=0.2, store_path=True)
    textbook = case.textbook(alpha=0.2)
    for coef, intercept, loss in zip(
        model.history_.coef_path, model.history_.intercept_path, model.loss_curve_
    ):
        theta = np.vstack([np.atleast_2d(coef).T, np.atleast_1d(intercept)[None]])
        assert_allclose(loss, textbook.loss(theta), rtol=1e-10)


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0, ValueError),
        (-5, ValueError),
        (2.5, ValueError),
        (1.0, ValueError),
        (np.nan, ValueError),
        (True, ValueError),
        ("all", TypeError),
        ([32], TypeError),
    ],
    ids=str,
)
def test_bad_batch_sizes(estimator, value, kind):
    case = descent_case("sigmoid")
    model = estimator(alpha=0.1).fit(case.X, case.y)
    before = dict(vars(model))
    with pytest.raises(kind, match=r"'batch_size' of .* must be None or an integer >= 1; got"):
        model.set_params(batch_size=value).fit(case.X, case.y)
    assert {**vars(model), "batch_size": None} == before
