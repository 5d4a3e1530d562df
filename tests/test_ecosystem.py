"""At home elsewhere: scikit-learn's own classes, ONNX, notebooks, arrays of other libraries."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn.linear_model
from numpy.testing import assert_allclose, assert_array_equal
from problems import descent_case
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from gdregress import LinearRegression, LogisticRegression

each_case = pytest.mark.parametrize("name", ["squares", "three targets", "sigmoid", "softmax"])


def fitted(name, dtype=np.float64, **params):
    case = descent_case(name)
    X = case.X.astype(dtype)
    return case.estimator(alpha=0.01, **params).fit(X, case.y), X, case.y


# scikit-learn's own classes


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("intercept", [True, False])
@each_case
def test_the_model_as_scikit_learns(name, intercept, dtype):
    model, X, y = fitted(name, dtype, fit_intercept=intercept)
    twin = model.to_sklearn()
    assert type(twin) is getattr(sklearn.linear_model, type(model).__name__)
    assert twin.fit_intercept == intercept
    assert twin.coef_.shape == model.coef_.shape
    assert twin.coef_.dtype == dtype
    tolerance = {"rtol": 1e-12} if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-6}
    if isinstance(model, LinearRegression):
        scale = np.abs(y).max()
        assert_allclose(twin.predict(X) / scale, model.predict(X) / scale, **tolerance)
        assert twin.predict(X).dtype == model.predict(X).dtype
    else:
        assert_array_equal(twin.predict(X), model.predict(X))
        assert_allclose(twin.predict_proba(X), model.predict_proba(X), **tolerance)
        assert_allclose(twin.decision_function(X), model.decision_function(X), **tolerance)
        assert_array_equal(twin.classes_, model.classes_)
    assert twin.score(X, y) == pytest.approx(model.score(X, y))
    assert_allclose(twin.predict(sparse.csr_array(X)), model.predict(X), rtol=1e-3, atol=1e-3)


def test_names_and_labels_go_along():
    case = descent_case("sigmoid")
    X = pd.DataFrame(case.X, columns=[f"x{k}" for k in range(case.X.shape[1])])
    model = LogisticRegression(alpha=0.1).fit(X, np.array(["no", "yes"])[case.y])
    twin = model.to_sklearn()
    assert_array_equal(twin.feature_names_in_, X.columns)
    assert twin.n_features_in_ == X.shape[1]
    assert set(twin.predict(X)) == {"no", "yes"}
    with pytest.raises(ValueError, match="feature names"):
        twin.predict(X.rename(columns={"x0": "other"}))


def test_the_twin_is_nobodys_shadow():
    model, X, _ = fitted("squares")
    expected = model.predict(X)
    twin = model.to_sklearn()
    twin.coef_[:] = 0.0
    assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("estimator", [LinearRegression(), LogisticRegression()], ids=repr)
def test_only_a_fitted_model_has_a_twin(estimator):
    with pytest.raises(NotFittedError):
        estimator.to_sklearn()


class Rates(LinearRegression):
    def predict(self, X):
        return np.exp(super().predict(X))


class Cautious(LogisticRegression):
    def predict_proba(self, X):
        return 0.9 * super().predict_proba(X) + 0.05


@pytest.mark.parametrize("kind", [Rates, Cautious])
def test_who_predicts_in_a_way_of_his_own_has_no_twin(kind):
    X, y = np.arange(6.0)[:, None], np.array([0, 1, 0, 1, 1, 0])
    with pytest.raises(TypeError, match=rf"to_sklearn\(\) of {kind.__name__} .* of its own; use"):
        kind(alpha=0.1).fit(X, y).to_sklearn()
    same = type("Same", (kind.__base__,), {})(alpha=0.1).fit(X, y)
    assert_allclose(same.to_sklearn().predict(X), same.predict(X))


def test_a_twin_without_a_penalty_can_be_fitted_again():
    model, X, y = fitted("sigmoid")
    model = clone(model).set_params(alpha=0.0).fit(X, y)
    twin = clone(model.to_sklearn()).set_params(tol=1e-10, max_iter=10_000).fit(X, y)
    assert_allclose(twin.coef_, model.coef_, rtol=1e-4)


@each_case
def test_skops_has_nothing_to_trust(name):
    skops = pytest.importorskip("skops.io")
    model, X, _ = fitted(name)
    twin = skops.loads(skops.dumps(model.to_sklearn()))  # of scikit-learn's classes, none
    assert_array_equal(twin.predict(X), model.to_sklearn().predict(X))


# ONNX


def run_onnx(model, X, dtype=np.float32, **kwargs):
    skl2onnx = pytest.importorskip("skl2onnx")
    runtime = pytest.importorskip("onnxruntime")
    from gdregress.onnx import register

    register()
    X = X.astype(dtype)
    converted = skl2onnx.to_onnx(model, X[:1], **kwargs)
    session = runtime.InferenceSession(
        converted.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: X})


@pytest.mark.filterwarnings("ignore")  # those of packages that are not ours
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case
def test_onnx_predicts_the_same(name, dtype):
    model, X, _ = fitted(name)
    X = X.astype(dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-7}
    if isinstance(model, LinearRegression):
        (predicted,) = run_onnx(model, X, dtype)
        expected = model.predict(X.astype(np.float64))
        scale = np.abs(expected).max()
        assert_allclose(predicted.reshape(expected.shape) / scale, expected / scale, **tolerance)
        return
    labels, proba = run_onnx(model, X, dtype, options={id(model): {"zipmap": False}})
    sure = np.sort(model.predict_proba(X), axis=1)
    sure = sure[:, -1] - sure[:, -2] > 1e-4
    assert_array_equal(labels[sure], model.predict(X)[sure])
    assert_allclose(proba, model.predict_proba(X), **tolerance)
    if name == "sigmoid":  # a sigmoid from its formula, which a softmax of (-z, z) is not
        z = X.astype(np.float64) @ model.coef_[0] + model.intercept_[0]
        assert_allclose(proba[:, 1], expit(z), rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b", "c"], [-1, 1], [3, 5, 9]])
def test_onnx_knows_the_labels(labels):
    case = descent_case("sigmoid" if len(labels) == 2 else "softmax")
    model = LogisticRegression(alpha=0.1).fit(case.X, np.array(labels)[case.y])
    found, rows = run_onnx(model, case.X)
    assert np.mean(np.asarray(found) == model.predict(case.X)) > 0.99
    assert set(rows[0]) == set(labels)  # zipmap, skl2onnx's default


@pytest.mark.filterwarnings("ignore")
def test_onnx_of_a_pipeline_and_its_options():
    case = descent_case("sigmoid")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(alpha=0.1))
    pipeline.fit(case.X, case.y)
    options = {LogisticRegression: {"zipmap": False, "raw_scores": True}}
    _, scores = run_onnx(pipeline, case.X, options=options)
    expected = pipeline.decision_function(case.X)
    assert_allclose(scores[:, -1], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


# Notebooks


def test_the_diagram_links_to_the_class_and_explains_its_parameters(monkeypatch):
    monkeypatch.delenv("GDREGRESS_DOCS_URL", raising=False)
    shown = LinearRegression()._repr_html_()
    (link,) = set(re.findall(r'sk-estimator-doc-link [^>]*href="([^"]*)"', shown))
    assert link.startswith("file://")
    assert Path(link.removeprefix("file://")).read_text().startswith('"""Linear regression')
    for parameter in LinearRegression().get_params():
        assert f"--doc-link-{parameter};" in shown, f"{parameter} has no tooltip"
    assert "Tolerance of the" in shown


def test_the_address_of_the_documentation_can_be_set(monkeypatch):
    monkeypatch.setenv("GDREGRESS_DOCS_URL", "https://host/{module}.{name}.html")
    shown = estimator_html_repr(make_pipeline(StandardScaler(), LogisticRegression()))
    assert 'href="https://host/gdregress.logistic.LogisticRegression.html"' in shown
    monkeypatch.setenv("GDREGRESS_DOCS_URL", "")
    assert "file://" not in LinearRegression()._repr_html_()


@each_case
def test_a_fitted_model_shows_how_it_ended(name):
    model, _, _ = fitted(name)
    shown = model._repr_html_()
    assert str(model.stop_reason_) in shown
    assert f"<td style='text-align:left'>{model.n_iter_}</td>" in shown
    assert f"{model.loss_:.6g}" in shown
    assert model.history_._repr_html_() in shown
    assert "gdregress-fit" not in clone(model)._repr_html_()
    assert model._repr_mimebundle_()["text/html"].count("gdregress-fit") == 1


def test_attributes_of_a_fit_have_tooltips():
    shown = fitted("sigmoid")[0]._repr_html_()
    for attribute in ("coef_", "intercept_", "n_iter_", "loss_", "solver_", "converged_"):
        assert f"--doc-link-{attribute};" in shown or f">{attribute}</a>" in shown


# Arrays of other libraries


def run_python(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


ARRAYS = """
import warnings
warnings.simplefilter("ignore")
import numpy as np, array_api_strict as xp
from sklearn import config_context
from gdregress import LinearRegression, LogisticRegression
rng = np.random.default_rng(0)
X = rng.normal(size=(50, 3)); y = X[:, 0] + rng.normal(size=50); labels = (y > 0).astype(int)
models = [(LinearRegression(), y), (LinearRegression(learning_rate=0.1), y),
          (LogisticRegression(alpha=0.1), labels)]
"""


def test_arrays_of_other_libraries_are_converted():
    pytest.importorskip("array_api_strict")
    code = """
    for model, t in models:
        expected = model.fit(X, t).predict(X)
        found = model.fit(xp.asarray(X), xp.asarray(t), sample_weight=xp.ones(50))
        found = found.predict(xp.asarray(X))
        print(type(found) is np.ndarray and np.allclose(found, expected))
    """
    assert run_python(ARRAYS + textwrap.dedent(code)).split() == ["True"] * 3


def test_with_dispatch_they_are_refused_and_the_way_out_works():
    pytest.importorskip("array_api_strict")
    code = """
    def refusal(call, *args, **kwargs):
        try:
            call(*args, **kwargs)
        except TypeError as error:
            return str(error)
    with config_context(array_api_dispatch=True):
        for model, t in models:
            name = type(model).__name__
            for args, what in [
                ((xp.asarray(X), t), "'X'"), ((X, xp.asarray(t)), "'y'"),
                ((X, t, xp.ones(50)), "'sample_weight'"),
            ]:
                text = refusal(model.fit, *args)
                assert text.startswith(f"{name} computes with NumPy"), text
                assert what in text and "numpy.asarray" in text and "array_api_strict" in text, text
            text = refusal(model.fit, X, t, X_val=xp.asarray(X), y_val=t)
            assert "'X_val'" in text, text
            model.fit(X, t)  # NumPy's own arrays are no matter of dispatch
            assert "'X'" in refusal(model.predict, xp.asarray(X))
            model.fit(np.asarray(xp.asarray(X)), t)
            with config_context(array_api_dispatch=False):
                model.fit(xp.asarray(X), xp.asarray(t))
            print(model.score(X, t) > 0.4)
    """
    shown = run_python(ARRAYS + textwrap.dedent(code), SCIPY_ARRAY_API="1")
    assert shown.split() == ["True"] * 3
