"""Paths, surfaces and rates: the numbers under the pictures are those of the textbook."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import brier_score_loss, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale

from gdregress import LinearRegression, LogisticRegression
from gdregress.inspection import (
    CoefficientPathDisplay,
    DescentPathDisplay,
    LearningRateDisplay,
    LossCurveDisplay,
    LossSurfaceDisplay,
    RegressionDisplay,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pytest.importorskip("matplotlib.pyplot").close("all")


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X)[:, :3], y


def path(solver="gd", **parameters):
    return LinearRegression(solver=solver, store_path=True, max_iter=40, tol=0, **parameters)


def test_the_contours_are_the_loss_at_two_coefficients(diabetes):
    X, y = diabetes
    display = DescentPathDisplay.from_estimator(path().fit(X, y), X, y, features=(2, "intercept"))
    exact = LinearRegression().fit(X, y)
    i, j = 11, 70
    coef = exact.coef_.copy()
    coef[2] = display.a[j]
    expected = 0.5 * np.mean((X @ coef + display.b[i] - y) ** 2) - exact.loss_
    assert_allclose(display.losses[i, j], expected, rtol=1e-10)
    assert_allclose(display.optimum, [exact.coef_[2], exact.intercept_], rtol=1e-10)
    assert display.losses.min() >= -1e-8 * exact.loss_
    assert display.ax_.get_ylabel() == "intercept"


def test_the_path_in_two_coefficients_is_that_of_the_history(diabetes):
    X, y = diabetes
    model = path().fit(X, y)
    display = DescentPathDisplay.from_estimator(model, X, y, features=(2, 8))
    (line,) = display.lines_
    assert_allclose(line.get_xdata(), model.history_.coef_path[:, 2], atol=1e-10)
    assert_allclose(line.get_ydata(), model.history_.coef_path[:, 8], atol=1e-10)


def test_in_the_principal_directions_descent_contracts_each_coordinate(diabetes):
    X, y = diabetes
    rate = 0.3
    model = path(learning_rate=rate).fit(X, y)
    display = DescentPathDisplay.from_estimator(model, X, y)
    A = np.column_stack([X, np.ones(len(X))])
    eigenvalues = np.linalg.eigvalsh(A.T @ A / len(X))
    (points,) = [each.points for each in display.paths]
    steps = np.arange(len(points))
    for coordinate, eigenvalue in enumerate([eigenvalues[-1], eigenvalues[0]]):
        expected = points[0, coordinate] * (1.0 - rate * eigenvalue) ** steps
        assert_allclose(points[:, coordinate], expected, atol=1e-8 * abs(points[0]).max())


def test_paths_of_several_classes_and_of_pipelines():
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = LogisticRegression(solver="gd", alpha=0.01, store_path=True, max_iter=20, tol=0)
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), model).fit(X, y)
    features = (("petal length (cm)", 0), ("petal length (cm)", 2))
    display = DescentPathDisplay.from_estimators({"gd": pipeline}, X, y, features=features)
    assert display.ax_.get_xlabel() == "coefficient of petal length (cm), output 0"
    assert_allclose(
        display.lines_[0].get_ydata(), pipeline[-1].history_.coef_path[:, 2, 2], atol=1e-12
    )


def test_what_cannot_be_drawn_is_said(diabetes):
    X, y = diabetes
    with pytest.raises(ValueError, match="store_path=True"):
        DescentPathDisplay.from_estimator(LinearRegression(solver="nesterov").fit(X, y), X, y)
    model = path().fit(X, y)
    for features, message in [
        ((1, 1), "two different coefficients"),
        ((1, "bmi"), "'bmi', which is none of"),
        ((1, 10), "column 10; there are 10"),
        ((1, (2, 1)), "output 1; there are 1"),
        ("flattest", "must be 'principal' or a pair"),
    ]:
        with pytest.raises(ValueError, match=message):
            DescentPathDisplay.from_estimator(model, X, y, features=features)


def test_clones_are_fitted_with_their_path_on_request(diabetes):
    X, y = diabetes
    model = LinearRegression(learning_rate=0.1, max_iter=5, tol=0)
    display = DescentPathDisplay.from_estimators([model], X, y, fit=True, max_points=4)
    assert not hasattr(model, "coef_")
    assert len(display.lines_[0].get_xdata()) == 4


def test_every_step_of_mini_batches(diabetes):
    X, y = diabetes
    model = path(learning_rate=0.05, batch_size=100).set_params(max_iter=3, store_path="step")
    steps = model.fit(X, y).history_.steps
    display = DescentPathDisplay.from_estimator(model, X, y, features=(2, 8))
    (line,) = display.lines_
    assert_allclose(line.get_xdata(), steps.coef_path[:, 2], atol=1e-10)
    assert len(line.get_xdata()) == 3 * 5 + 1
    coefficients = CoefficientPathDisplay.from_estimator(model)
    assert coefficients.ax_.get_xlabel() == "Step"
    curve = LossCurveDisplay.from_estimator(model, x_axis="step")
    noise = curve.ax_.get_lines()[-1]
    assert_array_equal(noise.get_xdata(), steps["step"])
    assert_array_equal(noise.get_ydata(), steps["loss"])


def test_an_animation_is_one_file_that_needs_nothing_else(diabetes, tmp_path):
    X, y = diabetes
    display = DescentPathDisplay.from_estimator(path().fit(X, y), X, y)
    file = display.animate(tmp_path / "descent.html", frames=3)
    text = file.read_text(encoding="utf-8")
    assert len(re.findall(r"frames\[\d+\] = \"data:image/png;base64", text)) == 3
    assert_array_equal(display.lines_[0].get_xdata(), display.paths[0].points[:, 0])


def test_coefficients_and_the_exact_ones(diabetes):
    X, y = diabetes
    model = path("nesterov").fit(X, y)
    display = CoefficientPathDisplay.from_estimator(model, X, y)
    exact = LinearRegression().fit(X, y)
    for j, line in enumerate(display.lines_):
        assert_array_equal(line.get_ydata(), model.history_.coef_path[:, j])
    marks = sorted(float(np.ravel(mark.get_ydata())[0]) for mark in display.marks_)
    assert_allclose(marks, np.sort(exact.coef_), rtol=1e-10)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == [f"x{j}" for j in np.argsort(-exact.coef_)]
    with_intercept = CoefficientPathDisplay.from_estimator(model, exact=exact, intercept=True)
    assert with_intercept.names[-1] == "intercept"
    assert_array_equal(with_intercept.lines_[-1].get_ydata(), model.history_.intercept_path)
    assert CoefficientPathDisplay.from_estimator(model).marks_ == []


def test_many_coefficients_name_the_largest(cancer):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 20))
    y = X @ np.arange(20.0)
    display = CoefficientPathDisplay.from_estimator(path().fit(X, y), X, y)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == [f"x{j}" for j in range(19, 7, -1)]


def test_rates_below_and_above_the_limit(diabetes):
    X, y = diabetes
    display = LearningRateDisplay.from_estimator(LinearRegression(max_iter=60), X, y)
    A = np.column_stack([X, np.ones(len(X))])
    curvature = np.linalg.eigvalsh(A.T @ A / len(X))[-1]
    assert_allclose(display.curvature, curvature, rtol=1e-10)
    for trial in display.trials:
        assert trial.diverged == (trial.rate > 2.0 / curvature)
    # the gap by the plain loop
    exact = LinearRegression().fit(X, y).loss_
    trial = display.trials[4]
    theta = np.zeros(11)
    for _ in range(60):
        theta -= trial.rate * A.T @ (A @ theta - y) / len(y)
    start = 0.5 * np.mean(y**2)
    loss = 0.5 * np.mean((A @ theta - y) ** 2)
    assert_allclose(trial.gap, (loss - exact) / (start - exact), rtol=1e-8)
    chosen = display.scenarios()
    assert list(chosen) == ["too small", "good", "too large", "diverging"]
    assert chosen["too small"].rate < chosen["good"].rate < chosen["too large"].rate
    assert chosen["too large"].rate < chosen["diverging"].rate
    assert set(display.panels_) == set(chosen)


def test_rates_of_ones_own_into_axes_of_ones_own(cancer):
    X, y = cancer
    _, ax = matplotlib.pyplot.subplots()
    model = LogisticRegression(alpha=0.01, max_iter=10)
    display = LearningRateDisplay.from_estimator(model, X, y, rates=[1.0, 0.1], ax=ax)
    assert [trial.rate for trial in display.trials] == [0.1, 1.0]
    assert display.ax_ is ax
    assert display.panels_ == {}


def test_the_two_surfaces_are_those_of_scikit_learn(cancer):
    X, y = cancer
    model = LogisticRegression().fit(X, y)
    display = LossSurfaceDisplay.from_estimator(model, X, y, features=("intercept", 1))
    i, j = 30, 50
    coef = model.coef_[0].copy()
    coef[1] = display.b[i]
    p = 1.0 / (1.0 + np.exp(-(X @ coef + display.a[j])))
    assert_allclose(display.losses["cross_entropy"][i, j], log_loss(y, p), rtol=1e-6)
    assert_allclose(display.losses["squared_error"][i, j], 0.5 * brier_score_loss(y, p), rtol=1e-10)


@pytest.mark.parametrize("name", ["cross_entropy", "squared_error"])
def test_where_a_surface_bends_down(cancer, name):
    X, y = cancer
    model = LogisticRegression().fit(X, y)
    display = LossSurfaceDisplay.from_estimator(model, X, y)

    def value(a, b):
        z = X[:, 1:] @ model.coef_[0, 1:] + X[:, 0] * b + a
        p = 1.0 / (1.0 + np.exp(-z))
        if name == "squared_error":
            return 0.5 * np.mean((p - y) ** 2)
        return np.mean(np.logaddexp(0, z) - y * z)

    for i, j in [(40, 40), (20, 60), (70, 10), (5, 5)]:
        a, b, h = display.a[j], display.b[i], 1e-3
        aa = (value(a + h, b) - 2 * value(a, b) + value(a - h, b)) / h**2
        bb = (value(a, b + h) - 2 * value(a, b) + value(a, b - h)) / h**2
        ab = (
            value(a + h, b + h) - value(a + h, b - h) - value(a - h, b + h) + value(a - h, b - h)
        ) / (4 * h**2)
        expected = np.linalg.eigvalsh([[aa, ab], [ab, bb]])[0]
        assert_allclose(display.smallest_curvature[name][i, j], expected, rtol=1e-2, atol=1e-6)
    bends_down = (display.smallest_curvature[name] < 0).any()
    assert bends_down == (name == "squared_error")


def test_a_surface_needs_two_classes(diabetes):
    model = LinearRegression().fit(*diabetes)
    with pytest.raises(TypeError, match="two classes; got LinearRegression"):
        LossSurfaceDisplay.from_estimator(model, *diabetes)


def test_a_line_and_its_bands_are_those_of_statsmodels(diabetes):
    statsmodels = pytest.importorskip("statsmodels.api")
    X, y = diabetes
    model = LinearRegression().fit(X, y)
    display = RegressionDisplay.from_estimator(model, X, y, feature=2, confidence=0.9)
    rows = np.zeros((len(display.x), 10))
    rows[:, 2] = display.x
    theirs = statsmodels.OLS(y, statsmodels.add_constant(X)).fit()
    frame = theirs.get_prediction(np.column_stack([np.ones(len(rows)), rows])).summary_frame(0.1)
    assert_allclose(display.curves["fit"], frame["mean"], rtol=1e-9)
    for name, low, high in (
        ("mean", "mean_ci_lower", "mean_ci_upper"),
        ("observation", "obs_ci_lower", "obs_ci_upper"),
    ):
        assert_allclose(display.bands[name][0], frame[low], rtol=1e-8)
        assert_allclose(display.bands[name][1], frame[high], rtol=1e-8)


def test_an_s_curve_and_its_band(cancer):
    statsmodels = pytest.importorskip("statsmodels.api")
    X, y = cancer[0][:, :1], cancer[1]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-9)).fit(X, y)
    display = RegressionDisplay.from_estimator(pipeline, X, y)
    theirs = statsmodels.Logit(y, statsmodels.add_constant(X)).fit(disp=0)
    rows = np.column_stack([np.ones(len(display.x)), display.x])
    z = rows @ theirs.params
    reach = 1.959963984540054 * np.sqrt(np.einsum("ij,jk,ik->i", rows, theirs.cov_params(), rows))
    lower, upper = display.bands["mean"]
    assert_allclose(display.curves["P(1)"], 1 / (1 + np.exp(-z)), rtol=1e-6)
    assert_allclose(lower, 1 / (1 + np.exp(-z + reach)), rtol=1e-5)
    assert_allclose(upper, 1 / (1 + np.exp(-z - reach)), rtol=1e-5)
    assert_array_equal(display.data[1], y)


def test_frames_keep_their_other_columns_at_mean_and_mode():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"kind": rng.choice(["a", "b", "b"], 90), "size": rng.normal(5, 2, 90)}
    )
    frame["weight"] = rng.normal(1, 1, 90)
    y = frame["size"] + (frame["kind"] == "b") * 3.0 + 2 * frame["weight"]
    columns = make_column_transformer(
        (OneHotEncoder(drop="first"), ["kind"]), ("passthrough", ["size", "weight"])
    )
    pipeline = make_pipeline(columns, LinearRegression()).fit(frame, y)
    display = RegressionDisplay.from_estimator(pipeline, frame, y, feature="size")
    expected = display.x + 3.0 + 2 * frame["weight"].mean()
    assert_allclose(display.curves["fit"], expected, rtol=1e-10)
    with pytest.raises(ValueError, match="'length', which is none of"):
        RegressionDisplay.from_estimator(pipeline, frame, y, feature="length")


def test_where_there_is_no_interval_the_picture_says_why(diabetes):
    X, y = diabetes
    model = LinearRegression(alpha=0.1).fit(X, y)
    display = RegressionDisplay.from_estimator(model, X, y)
    assert display.bands == {}
    assert "needs a fit without a penalty" in display.ax_.get_title(loc="left")
    X, y = load_iris(return_X_y=True)
    classes = RegressionDisplay.from_estimator(LogisticRegression(alpha=0.01).fit(X, y), X, y)
    assert [line.get_label() for line in classes.lines_] == ["P(0)", "P(1)", "P(2)"]
    targets = LinearRegression().fit(X, X[:, :2] @ [[1.0, 2.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="one target; this fit has 2"):
        RegressionDisplay.from_estimator(targets, X, y)
