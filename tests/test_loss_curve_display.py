"""LossCurveDisplay draws what history_ recorded, and keeps several fits legible together."""

import builtins
import warnings

import numpy as np
import pytest
import sklearn.linear_model
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.history import StopReason
from gdregress.inspection import LossCurve, LossCurveDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture
def plt():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    return X, X @ [3.0, -1.0, 0.5] + 2.0 + 0.1 * rng.normal(size=60)


def descent(**parameters):
    return LinearRegression(solver="gd", max_iter=30, tol=0, **parameters)


def diverged(X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LinearRegression(learning_rate=5.0, max_iter=100).fit(X, y)


def test_the_line_is_the_loss_curve(plt, data):
    model = descent(learning_rate=0.1).fit(*data)
    display = LossCurveDisplay.from_estimator(model)
    (line,) = display.lines_
    assert_array_equal(line.get_xdata(), np.arange(31))
    assert_array_equal(line.get_ydata(), model.loss_curve_)
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_xlabel() == "Iteration"
    assert "½ mean squared error" in display.ax_.get_ylabel()
    assert line.get_label() == (
        "LinearRegression(gd, learning_rate=0.1) (reached max_iter, 30 iterations)"
    )
    assert display.curves[0].stop_reason == str(model.stop_reason_)
    assert display.validation_lines_ == [None]


def test_linear_scale_and_seconds(plt, data):
    model = descent(learning_rate=0.1).fit(*data)
    display = LossCurveDisplay.from_estimator(model, x_axis="seconds", log_scale=False)
    assert_array_equal(display.lines_[0].get_xdata(), model.history_["seconds"])
    assert display.ax_.get_yscale() == "linear"
    assert display.ax_.get_xlabel().endswith("(s)")


@pytest.mark.parametrize("as_number", [True, False])
def test_the_optimum_is_subtracted(plt, data, as_number):
    exact = LinearRegression().fit(*data)
    model = descent(learning_rate=0.1).fit(*data)
    display = LossCurveDisplay.from_estimator(
        model, relative_to=exact.loss_ if as_number else exact
    )
    assert_allclose(display.lines_[0].get_ydata(), model.loss_curve_ - exact.loss_, rtol=1e-12)
    assert "above the optimum" in display.ax_.get_ylabel()


def test_a_reference_that_is_no_optimum_is_refused(plt, data):
    model = descent(learning_rate=0.1).fit(*data)
    with pytest.raises(ValueError, match=r"relative_to is .*'mine'.*same loss and penalty"):
        LossCurveDisplay.from_estimator(model, name="mine", relative_to=model.loss_curve_[3])


def test_several_estimators_by_name(plt, data):
    fits = {f"rate {rate}": descent(learning_rate=rate).fit(*data) for rate in (0.01, 0.1)}
    display = LossCurveDisplay.from_estimators(fits)
    assert [line.get_label().split(" (")[0] for line in display.lines_] == list(fits)
    assert len({line.get_color() for line in display.lines_}) == 2
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    # Long entries are broken into two lines.
    assert [" ".join(text.split()) for text in legend] == [
        line.get_label() for line in display.lines_
    ]


def test_a_second_display_joins_the_axes_of_the_first(plt, data):
    first = LossCurveDisplay.from_estimator(descent(learning_rate=0.01).fit(*data))
    second = LossCurveDisplay.from_estimator(
        descent(learning_rate=0.1).fit(*data), ax=first.ax_, curve_kwargs={"linestyle": ":"}
    )
    assert second.ax_ is first.ax_
    assert len(first.ax_.get_lines()) == 2
    assert len(first.ax_.get_legend().get_texts()) == 2
    assert second.lines_[0].get_linestyle() == ":"


def test_a_diverging_fit_leaves_the_others_legible(plt, data):
    good = descent(learning_rate=0.1).fit(*data)
    bad = diverged(*data)
    highest = np.nanmax(bad.loss_curve_)
    assert highest > 100 * good.loss_curve_[0], "the fit of this test must diverge visibly"
    for order in ([good, bad], [bad, good]):
        first = LossCurveDisplay.from_estimator(order[0])
        ax = LossCurveDisplay.from_estimator(order[1], ax=first.ax_).ax_
        assert good.loss_curve_[0] < ax.get_ylim()[1] < 20 * good.loss_curve_[0]
        assert 0.1 * good.loss_curve_.min() < ax.get_ylim()[0] < good.loss_curve_.min()
        (arrow,) = [line for line in ax.get_lines() if line.get_gid() == "leaves-the-axes"]
        exit_at = np.flatnonzero(bad.loss_curve_ <= ax.get_ylim()[1])[-1] + 1
        assert_array_equal(arrow.get_xdata(), [exit_at])
        assert len(ax.get_legend().get_texts()) == 2


def test_a_spike_that_comes_back_is_no_exit(plt):
    curve = LossCurve(
        "a", *[np.arange(4.0)] * 2, np.array([1.0, 1e9, 0.5, 0.4]), None, "", True, ""
    )
    ax = LossCurveDisplay([curve]).plot(log_scale=False).ax_
    assert ax.get_ylim()[1] < 2
    assert len(ax.get_lines()) == 1


def test_unfitted_with_data_fits_a_clone(plt, data):
    model = descent(learning_rate=0.1)
    display = LossCurveDisplay.from_estimator(model, *data)
    assert_array_equal(
        display.lines_[0].get_ydata(), descent(learning_rate=0.1).fit(*data).loss_curve_
    )
    assert not hasattr(model, "history_")


def test_the_estimator_is_found_in_pipelines_and_searches(plt, data):
    X, y = data
    pipeline = make_pipeline(StandardScaler(), descent(learning_rate=0.1)).fit(X, y)
    search = GridSearchCV(pipeline, {"linearregression__alpha": [0.0, 0.1]}, cv=3).fit(X, y)
    target = TransformedTargetRegressor(pipeline, transformer=StandardScaler()).fit(X, y)
    for estimator, model in [
        (pipeline, pipeline[-1]),
        (search, search.best_estimator_[-1]),
        (target, target.regressor_[-1]),
    ]:
        display = LossCurveDisplay.from_estimator(estimator)
        assert_array_equal(display.lines_[0].get_ydata(), model.loss_curve_)


def test_the_unit_of_a_classifier(plt):
    X = [[0.0], [1.0], [2.0], [3.0]]
    model = LogisticRegression(alpha=0.1).fit(X, [0, 1, 0, 1])
    display = LossCurveDisplay.from_estimator(model)
    assert "nats" in display.ax_.get_ylabel()
    assert "penalty" in display.ax_.get_ylabel()


def test_validation_losses_are_dashed(plt):
    curve = LossCurve(
        name="a",
        iteration=np.arange(3.0),
        seconds=np.arange(3.0),
        loss=np.array([3.0, 2.0, 1.0]),
        validation_loss=np.array([4.0, 3.0, 3.5]),
        stop_reason="stopped",
        converged=True,
        quantity="nats",
    )
    display = LossCurveDisplay([curve]).plot()
    (dashed,) = display.validation_lines_
    assert_array_equal(dashed.get_ydata(), curve.validation_loss)
    assert dashed.get_linestyle() == "--"
    assert dashed.get_color() == display.lines_[0].get_color()
    assert LossCurveDisplay([curve]).plot(show_validation=False).validation_lines_ == [None]
    # The optimum of the training loss is not that of the validation loss.
    assert LossCurveDisplay([curve]).plot(relative_to=0.5).validation_lines_ == [None]


def test_what_is_not_finite_is_a_gap(plt):
    curve = LossCurve(
        name="a",
        iteration=np.arange(4.0),
        seconds=np.arange(4.0),
        loss=np.array([1.0, np.inf, np.nan, 0.0]),
        validation_loss=None,
        stop_reason="stopped",
        converged=False,
        quantity="nats",
    )
    # Zero has no logarithm: it stands at rounding level, or the curve would end in mid-air.
    assert_array_equal(
        LossCurveDisplay([curve]).plot().lines_[0].get_ydata(),
        [1.0, np.nan, np.nan, np.finfo(float).eps],
    )
    on_linear = LossCurveDisplay([curve]).plot(log_scale=False)
    assert_array_equal(on_linear.lines_[0].get_ydata(), [1.0, np.nan, np.nan, 0.0])


def test_every_stop_reason_has_words_for_the_legend():
    for reason in StopReason:
        curve = LossCurve("a", *[np.arange(2.0)] * 3, None, reason, True, "")
        assert 0 < len(curve.outcome) < 30, reason


def test_unfitted_and_foreign_estimators_are_refused(data):
    with pytest.raises(NotFittedError, match="LinearRegression instance is not fitted"):
        LossCurveDisplay.from_estimator(LinearRegression())
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(make_pipeline(StandardScaler(), LinearRegression()))
    foreign = sklearn.linear_model.Ridge().fit(*data)
    with pytest.raises(TypeError, match="Ridge has none"):
        LossCurveDisplay.from_estimator(foreign)


def test_bad_arguments(data):
    model = descent().fit(*data)
    with pytest.raises(ValueError, match=r"x_axis must be one of .*'epochs'"):
        LossCurveDisplay.from_estimator(model, x_axis="epochs")
    with pytest.raises(ValueError, match="estimators is empty"):
        LossCurveDisplay.from_estimators({})


def test_without_matplotlib_the_error_names_the_remedy(data, monkeypatch):
    model = descent().fit(*data)
    real_import = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(ImportError, match=r"gdregress\[plot\]"):
        LossCurveDisplay.from_estimator(model)
