"""Checkpoints: a fit that was killed goes on to the last bit, and nothing is ever lost."""

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from problems import descent_case
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression, __version__
from gdregress._saving import n_iter_of
from gdregress.callback import Checkpoint, load_checkpoint
from gdregress.solvers import Adam, Cosine, Momentum

STATE = ("coef_", "intercept_", "loss_curve_", "n_iter_", "loss_", "learning_rate_", "converged_")


class Stop:
    """Ends the process of the fit, as far as the fit can tell, after some iterations."""

    def __init__(self, after):
        self.after = after

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration" and n_iter_of(estimator) == self.after:
            raise MemoryError("as good as killed")


def cut_short(model, path, after, *data, **kwargs):
    """Fit with a checkpoint, and die after so many iterations."""
    model = clone(model).set_callbacks(Checkpoint(path), Stop(after))
    with pytest.raises(MemoryError):
        model.fit(*data, **kwargs)


def assert_same_fit(model, expected):
    for name in STATE:
        assert_array_equal(getattr(model, name), getattr(expected, name), err_msg=name)
    for column in ("iteration", "step", "gradient_norm", "update_norm", "validation_loss"):
        assert_array_equal(model.history_[column], expected.history_[column], err_msg=column)
    assert model.stop_reason_ == expected.stop_reason_
    assert model.get_params().keys() == expected.get_params().keys()
    assert repr(model) == repr(expected)


MODELS = {
    "squares, gd": ("squares", {"solver": "gd"}),
    "three targets, nesterov": ("three targets", {"solver": "nesterov"}),
    "three targets, batches": ("three targets", {"batch_size": 50, "solver": "momentum"}),
    "sigmoid, gd": ("sigmoid", {"solver": "gd"}),
    "sigmoid, line search": ("sigmoid", {"learning_rate": "line_search"}),
    "sigmoid, FISTA": ("sigmoid", {"solver": "nesterov", "l1_ratio": 0.5}),
    "sigmoid, adam in batches": ("sigmoid", {"solver": Adam(beta1=0.8), "batch_size": 64}),
    "sigmoid, early stopping": (
        "sigmoid",
        {"batch_size": 64, "early_stopping": True, "n_iter_no_change": 30},
    ),
    "softmax, average": (
        "softmax",
        {"solver": Momentum(beta=0.5, average=True), "batch_size": 16, "store_path": True},
    ),
    "softmax, schedule": (
        "softmax",
        {"batch_size": 16, "schedule": Cosine(total_epochs=30, warmup=3), "learning_rate": 0.5},
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("random_state", [0, None, "instance"])
def test_a_fit_cut_short_continues_to_the_last_bit(name, random_state, tmp_path):
    case_name, params = MODELS[name]
    case = descent_case(case_name)
    if random_state is None:  # the seed drawn has to be in the checkpoint: nobody knows it
        random_state = 0 if "batch_size" not in params else np.random.RandomState(3)
    elif random_state == "instance":
        random_state = np.random.RandomState(5)
    model = case.estimator(**{"alpha": 0.01, **params}, max_iter=30, tol=0)
    draws = pickle.dumps(random_state)
    expected = clone(model).set_params(random_state=pickle.loads(draws)).fit(case.X, case.y)

    path = tmp_path / "fit.npz"
    model.set_params(random_state=pickle.loads(draws))
    cut_short(model, path, 13, case.X, case.y)
    loaded = load_checkpoint(path)
    assert loaded.n_iter_ == 13
    assert len(loaded.loss_curve_) == 14
    assert np.isfinite(loaded.predict(case.X[:3]).astype(float)).all()
    continued = loaded.fit(case.X, case.y)
    for attribute in STATE:
        assert_array_equal(getattr(continued, attribute), getattr(expected, attribute))
    if params.get("store_path"):
        assert_array_equal(continued.history_.coef_path, expected.history_.coef_path)


def test_a_drawn_seed_continues_too(tmp_path):
    """random_state=None: the batches to come are those of the generator in the checkpoint."""
    case = descent_case("sigmoid")
    path, snapshots = tmp_path / "fit.npz", []

    class Keep(Stop):
        def on_fit_task_end(self, estimator, context):
            if context.task_name == "iteration" and n_iter_of(estimator) == 5:
                snapshots.append(path.read_bytes())

    model = case.estimator(batch_size=32, max_iter=10, tol=0, alpha=0.1, early_stopping=True)
    model.set_callbacks(Checkpoint(path), Keep(0)).fit(case.X, case.y)
    path.write_bytes(snapshots[0])
    assert_same_fit(load_checkpoint(path).fit(case.X, case.y), model)


def test_every_so_many_iterations_and_at_the_end(tmp_path):
    case = descent_case("squares")
    path, seen = tmp_path / "fit.npz", []

    class Look(Stop):
        def on_fit_task_end(self, estimator, context):
            seen.append(load_checkpoint(path).n_iter_ if path.exists() else 0)

    model = case.estimator(solver="gd", max_iter=11, tol=0)
    model.set_callbacks(Checkpoint(path, every=4), Look(0)).fit(case.X, case.y)
    assert seen == [0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 11]
    assert os.listdir(tmp_path) == ["fit.npz"]  # no temporary file is left


def test_a_fit_that_had_ended_has_nothing_left_to_do(tmp_path):
    case = descent_case("squares")
    model = case.estimator(solver="gd", tol=1e-3)
    model.set_callbacks(Checkpoint(tmp_path / "fit.npz")).fit(case.X, case.y)
    assert model.converged_
    loaded = load_checkpoint(tmp_path / "fit.npz")
    assert_same_fit(loaded.fit(case.X, case.y), model)


def test_raising_max_iter_goes_further(tmp_path):
    case = descent_case("softmax")
    params = {"batch_size": 16, "tol": 0, "random_state": 0, "alpha": 0.1}
    model = case.estimator(max_iter=10, **params).set_callbacks(Checkpoint(tmp_path / "a.npz"))
    model.fit(case.X, case.y)
    further = load_checkpoint(tmp_path / "a.npz").set_params(max_iter=25).fit(case.X, case.y)
    assert_same_fit(further, case.estimator(max_iter=25, **params).fit(case.X, case.y))


def test_after_it_has_ended_a_loaded_estimator_fits_like_any_other(tmp_path):
    case = descent_case("sigmoid")
    model = case.estimator(solver="gd", max_iter=10, tol=0)
    cut_short(model, tmp_path / "a.npz", 5, case.X, case.y)
    loaded = load_checkpoint(tmp_path / "a.npz").fit(case.X, case.y)
    assert_same_fit(loaded.fit(case.X[:100], case.y[:100]), model.fit(case.X[:100], case.y[:100]))
    warm = loaded.set_params(warm_start=True).fit(case.X[:100], case.y[:100])
    assert warm.n_iter_ == 20


def test_within_warm_starts(tmp_path):
    case = descent_case("sigmoid")
    params = {"solver": "adam", "max_iter": 10, "tol": 0, "alpha": 0.1, "warm_start": True}
    expected = case.estimator(**params).fit(case.X, case.y).fit(case.X, case.y)
    model = case.estimator(**params).fit(case.X, case.y)
    model.set_callbacks(Checkpoint(tmp_path / "a.npz"), Stop(15))
    with pytest.raises(MemoryError):
        model.fit(case.X, case.y)
    assert model.n_iter_ == 10  # as it was
    assert_same_fit(load_checkpoint(tmp_path / "a.npz").fit(case.X, case.y), expected)


def test_validation_rows_and_weights_are_given_again(tmp_path):
    case = descent_case("sigmoid")
    weight = np.random.default_rng(0).uniform(0.5, 2, 400)
    data = (case.X[:400], case.y[:400])
    more = {"sample_weight": weight, "X_val": case.X[400:], "y_val": case.y[400:]}
    model = case.estimator(early_stopping=True, max_iter=40, tol=0, learning_rate=2.0)
    cut_short(model, tmp_path / "a.npz", 7, *data, **more)
    continued = load_checkpoint(tmp_path / "a.npz").fit(*data, **more)
    assert_same_fit(continued, clone(model).fit(*data, **more))


def test_a_start_begins_anew_under_auto(tmp_path):
    """A start had made "auto" a descent; the checkpoint goes on with that, not exactly."""
    case = descent_case("squares")
    start = {"coef_init": np.ones(10)}
    model = case.estimator(max_iter=20, tol=0)
    cut_short(model, tmp_path / "a.npz", 8, case.X, case.y, **start)
    continued = load_checkpoint(tmp_path / "a.npz").fit(case.X, case.y)
    assert_same_fit(continued, clone(model).fit(case.X, case.y, **start))


@pytest.mark.parametrize(
    "labels",
    [["no", "yes"], [False, True], [3, 7], [1.0, 2.0], np.array(["a", "b"], dtype=object)],
    ids=str,
)
def test_labels_of_any_kind(labels, tmp_path):
    case = descent_case("sigmoid")
    y = np.asarray(labels)[case.y]
    weights = dict.fromkeys(np.unique(y).tolist(), 2.0)
    model = LogisticRegression(solver="gd", max_iter=10, tol=0, class_weight=weights)
    cut_short(model, tmp_path / "a.npz", 4, case.X, y)
    loaded = load_checkpoint(tmp_path / "a.npz")
    expected = clone(model).fit(case.X, y)
    assert_array_equal(loaded.classes_, expected.classes_)
    assert loaded.classes_.dtype == expected.classes_.dtype
    assert_same_fit(loaded.fit(case.X, y), expected)


def test_in_a_pipeline_with_names(tmp_path):
    pd = pytest.importorskip("pandas")
    case = descent_case("squares")
    frame = pd.DataFrame(case.X.astype(np.float32)).add_prefix("x")
    model = LinearRegression(solver="gd", max_iter=6, tol=0)
    model.set_callbacks(Checkpoint(tmp_path / "a.npz"))
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), model)
    pipeline.fit(frame, case.y)
    loaded = load_checkpoint(tmp_path / "a.npz")
    assert_array_equal(loaded.feature_names_in_, frame.columns)
    assert_array_equal(loaded.coef_, pipeline[-1].coef_)
    assert loaded.coef_.dtype == np.float32


SCRIPT = """
import os, signal, sys
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from gdregress import LogisticRegression
from gdregress.callback import Checkpoint

class Slow:
    def setup(self, estimator, context): pass
    def teardown(self, estimator, context): pass
    def on_fit_task_begin(self, estimator, context): pass
    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration" and context.task_id + 1 == 50:
            print("fifty", flush=True)
            sys.stdin.read()  # waits to be killed

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)
model = LogisticRegression(solver="nesterov", batch_size=32, max_iter=100, tol=0, alpha=0.01)
model.set_params(random_state=0).set_callbacks(Checkpoint(sys.argv[1], every=10), Slow())
model.fit(X, y)
"""


def test_fifty_and_fifty_epochs_are_a_hundred_after_a_kill(tmp_path):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    path = tmp_path / "killed.npz"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout.readline() == b"fifty\n"
    finally:
        child.kill()  # SIGKILL: no handler, no finally
        child.wait()
        child.stdin.close()
        child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    loaded = load_checkpoint(path)
    assert loaded.n_iter_ == 50
    expected = LogisticRegression(
        solver="nesterov", batch_size=32, max_iter=100, tol=0, alpha=0.01, random_state=0
    ).fit(X, y)
    assert_same_fit(loaded.fit(X, y), expected)


# What is refused


@pytest.fixture
def stored(tmp_path):
    """A checkpoint in the middle of a fit of 80 rows of three classes."""
    case = descent_case("softmax")
    X, y = case.X[20:140], case.y[20:140]
    cut_short(LogisticRegression(solver="gd", max_iter=9, tol=0), tmp_path / "a.npz", 4, X, y)
    return tmp_path / "a.npz", X, y


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file(stored, share):
    path, *_ = stored
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="no whole checkpoint") as caught:
        load_checkpoint(path)
    assert "a.npz" in str(caught.value)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere.npz")
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    (tmp_path / "text.npz").write_text("theta = 1")
    np.save(tmp_path / "array.npz", np.ones(3))
    for name in ("other.npz", "text.npz", "array.npz.npy"):
        with pytest.raises(ValueError, match="no whole checkpoint"):
            load_checkpoint(tmp_path / name)


class Boom:
    """What a pickle could do: run code when it is read."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_pickle_is_never_read(stored):
    path, *_ = stored
    np.savez(path, text=np.array([Boom()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="no whole checkpoint"):
        load_checkpoint(path)


def rewrite(path, change):
    """The same checkpoint with its text changed."""
    with np.load(path) as archive:
        arrays = dict(archive)
    text = json.loads(str(arrays.pop("text")))
    change(text, arrays)
    np.savez(path, text=np.array(json.dumps(text)), **arrays)


def test_another_version(stored):
    path, *_ = stored
    rewrite(path, lambda text, _: text.update(version="0.0.7"))
    with pytest.raises(ValueError, match=r"0\.0\.7") as caught:
        load_checkpoint(path)
    assert __version__ in str(caught.value)


def test_the_layout_of_an_earlier_build(stored):
    path, *_ = stored
    rewrite(path, lambda text, _: text.pop("layout"))
    with pytest.raises(ValueError, match=r"layout 1, .* reads 2: fit anew"):
        load_checkpoint(path)


def test_another_class(stored):
    path, *_ = stored
    rewrite(path, lambda text, _: text.update(estimator="SGDClassifier"))
    with pytest.raises(ValueError, match=r"SGDClassifier.*LinearRegression"):
        load_checkpoint(path)


def test_a_checkpoint_that_contradicts_itself(stored):
    path, *_ = stored

    def other_shape(text, arrays):
        attributes = dict(text["state"]["pairs"])["attributes"]["pairs"]
        attributes[:] = [
            [name, 7 if name == "n_features_in_" else value] for name, value in attributes
        ]

    rewrite(path, other_shape)
    with pytest.raises(ValueError, match="contradicts itself"):
        load_checkpoint(path)


def test_data_of_another_shape_or_with_other_classes_lose_nothing(stored):
    path, X, y = stored
    loaded = load_checkpoint(path)
    before = path.read_bytes()
    for bad_X, bad_y, match in [
        (X[:, :3], y, "3 features.*4 features"),
        (X[:-1], y[:-1], "120.*119"),
        (X, y % 2, r"\[0, 1, 2\].*\[0, 1\]"),
    ]:
        with pytest.raises(ValueError, match=match):
            loaded.fit(bad_X, bad_y)
    with pytest.raises(ValueError, match=r"GradientDescent\(\).*Adam\(\)"):
        loaded.set_params(solver="adam").fit(X, y)
    assert path.read_bytes() == before
    loaded.set_params(solver="gd").fit(X, y)  # still able to go on
    expected = LogisticRegression(solver="gd", max_iter=9, tol=0).fit(X, y)
    assert_same_fit(loaded, expected)


def test_what_cannot_be_stored_is_refused_before_the_first_iteration(tmp_path):
    case = descent_case("sigmoid")
    checkpoint = Checkpoint(tmp_path / "a.npz")
    gd = LogisticRegression(solver="gd")

    def schedule(t):
        return 1.0

    class Mine(LogisticRegression):
        pass

    for model, kind, match in [
        (LogisticRegression(), ValueError, "newton|exact"),
        (LinearRegression(), ValueError, "exact"),
        (clone(gd).set_params(schedule=schedule), TypeError, "'schedule'"),
        (Mine(solver="gd"), TypeError, "Mine"),
        (make_pipeline(StandardScaler(), gd), TypeError, "Pipeline"),
    ]:
        with pytest.raises(kind, match=match):
            model.set_callbacks(checkpoint).fit(case.X, case.y)
    y = np.array([frozenset({1}), frozenset()], dtype=object)[case.y]
    with pytest.raises((TypeError, ValueError)):
        clone(gd).set_callbacks(checkpoint).fit(case.X, y)
    with pytest.raises(ValueError, match="existing folder"):
        clone(gd).set_callbacks(Checkpoint(tmp_path / "no" / "a.npz")).fit(case.X, case.y)
    assert os.listdir(tmp_path) == []


def test_a_search_would_overwrite_its_own_file(tmp_path):
    case = descent_case("sigmoid")
    model = LogisticRegression(max_iter=3, tol=0).set_callbacks(Checkpoint(tmp_path / "a.npz"))
    search = GridSearchCV(model, {"learning_rate": [0.1, 1.0]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="GridSearchCV"):
        search.fit(case.X, case.y)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"path": 3}, TypeError),
        ({"path": "a.npz", "every": 0}, ValueError),
        ({"path": "a.npz", "every": 1.5}, ValueError),
        ({"path": "a.npz", "every": True}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments(arguments, kind):
    with pytest.raises(kind, match=r"path|every"):
        Checkpoint(**arguments)


def test_a_failing_write_leaves_the_last_checkpoint(stored, monkeypatch):
    path, X, y = stored
    before = path.read_bytes()

    def full_disk(*args, **kwargs):
        args[0].write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    model = LogisticRegression(solver="gd", max_iter=9).set_callbacks(Checkpoint(path))
    with pytest.raises(OSError, match="No space"):
        model.fit(X, y)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    assert not hasattr(model, "coef_")


def test_the_archive_holds_no_pickle(stored):
    path, *_ = stored
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            with archive.open(name) as file:
                version = np.lib.format.read_magic(file)
                assert version == (1, 0)
                assert not np.lib.format.read_array_header_1_0(file)[2].hasobject


def test_a_diverged_fit_is_stored_as_such(tmp_path):
    case = descent_case("squares")
    model = case.estimator(learning_rate=1e6).set_callbacks(Checkpoint(tmp_path / "a.npz"))
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(case.X, case.y)
    loaded = load_checkpoint(tmp_path / "a.npz")
    assert_array_equal(loaded.coef_, model.coef_)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        loaded.fit(case.X, case.y)
    assert_same_fit(loaded, model)
