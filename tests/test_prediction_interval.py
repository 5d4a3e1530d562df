"""Prediction intervals against statsmodels, and what they cover."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import sparse
from sklearn.datasets import load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from gdregress import LinearRegression, LogisticRegression
from gdregress.inspection import prediction_interval
from gdregress.rows import blocks

X, Y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
NEW = X.iloc[::40] * 1.3


def assert_equal(found, frame, kind):
    names = {
        "mean": ("mean_ci_lower", "mean_ci_upper"),
        "observation": ("obs_ci_lower", "obs_ci_upper"),
    }
    lower, upper = names[kind]
    np.testing.assert_allclose(found.prediction, frame["mean"], rtol=1e-8)
    np.testing.assert_allclose(found.lower, frame[lower], rtol=1e-8)
    np.testing.assert_allclose(found.upper, frame[upper], rtol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["mean", "observation"])
def test_intervals_are_those_of_statsmodels(kind, weighted):
    weight = np.linspace(0.5, 2.0, len(Y)) if weighted else np.ones(len(Y))
    model = LinearRegression().fit(X, Y, weight)
    result = sm.WLS(Y, sm.add_constant(X), weight).fit()
    for confidence in (0.95, 0.5):
        found = prediction_interval(
            model, X, Y, NEW, sample_weight=weight, kind=kind, confidence=confidence
        )
        frame = result.get_prediction(sm.add_constant(NEW, has_constant="add")).summary_frame(
            1 - confidence
        )
        assert_equal(found, frame, kind)
    data = sm.datasets.longley.load_pandas()
    found = prediction_interval(
        LinearRegression().fit(data.exog, data.endog), data.exog, data.endog, data.exog, kind=kind
    )
    result = sm.OLS(data.endog, sm.add_constant(data.exog)).fit()
    assert_equal(found, result.get_prediction().summary_frame(), kind)


def test_without_an_intercept_and_of_several_targets():
    bare = LinearRegression(fit_intercept=False).fit(X, Y)
    frame = sm.OLS(Y, X).fit().get_prediction(NEW).summary_frame()
    assert_equal(prediction_interval(bare, X, Y, NEW), frame, "observation")
    targets = np.column_stack([Y, np.log(Y)])
    several = prediction_interval(LinearRegression().fit(X, targets), X, targets, NEW)
    for k, target in enumerate(targets.T):
        one = prediction_interval(LinearRegression().fit(X, target), X, target, NEW)
        np.testing.assert_allclose(several.lower[:, k], one.lower, rtol=1e-8)
        np.testing.assert_allclose(several.std_error[:, k], one.std_error, rtol=1e-8)
    assert list(several.to_frame().loc[1]["prediction"]) == list(several.prediction[:, 1])


def test_pipelines_sparse_rows_and_small_blocks(monkeypatch):
    pipe = make_pipeline(PolynomialFeatures(2, include_bias=False), LinearRegression())
    columns = ["bmi", "bp"]
    pipe.fit(X[columns], Y)
    found = prediction_interval(pipe, X[columns], Y, NEW[columns])
    design = sm.add_constant(pipe[:-1].transform(X[columns]))
    new = sm.add_constant(pipe[:-1].transform(NEW[columns]), has_constant="add")
    frame = sm.OLS(Y.to_numpy(), design).fit().get_prediction(new).summary_frame()
    assert_equal(found, frame, "observation")
    model = LinearRegression().fit(X.to_numpy(), Y)
    whole = prediction_interval(model, X.to_numpy(), Y, NEW.to_numpy())
    monkeypatch.setattr(blocks, "SIZE", blocks.BlockSize(n_bytes=1, least_rows=7))
    S = sparse.csr_array(X.to_numpy())
    again = prediction_interval(model, S, Y, sparse.csr_array(NEW.to_numpy()))
    np.testing.assert_allclose(again.lower, whole.lower, rtol=1e-9)


def test_they_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    design, point = rng.standard_normal((12, 2)), np.array([[1.0, -2.0]])
    hits = {"mean": 0, "observation": 0}
    for _ in range(400):
        y = 1.0 + design @ [2.0, 3.0] + rng.standard_normal(12)
        model = LinearRegression().fit(design, y)
        for kind, truth in [("mean", -3.0), ("observation", -3.0 + rng.standard_normal())]:
            found = prediction_interval(model, design, y, point, kind=kind, confidence=0.8)
            hits[kind] += bool(found.lower[0] <= truth <= found.upper[0])
    for count in hits.values():  # four standard deviations of a binomial of 400
        assert abs(count - 320) < 4 * np.sqrt(400 * 0.8 * 0.2)


def test_what_has_no_interval_is_refused():
    model = LinearRegression().fit(X, Y)
    with pytest.raises(ValueError, match="predict_proba"):
        prediction_interval(LogisticRegression().fit(X, Y > 140), X, Y > 140, NEW)
    with pytest.raises(ValueError, match=r"prediction_interval of LinearRegression.*alpha=1\.0"):
        prediction_interval(LinearRegression(alpha=1.0).fit(X, Y), X, Y, NEW)
    with pytest.raises(ValueError, match=r"'kind'.*'both'"):
        prediction_interval(model, X, Y, NEW, kind="both")
    with pytest.raises(ValueError, match=r"'confidence'.*95"):
        prediction_interval(model, X, Y, NEW, confidence=95)
    with pytest.raises(ValueError, match="feature names"):
        prediction_interval(model, X, Y, NEW[["bmi"]])


def test_text():
    found = prediction_interval(LinearRegression().fit(X, Y), X, Y, X)
    assert "and 432 more rows" in repr(found)
    assert "intervals of a new observation" in found._repr_html_()
