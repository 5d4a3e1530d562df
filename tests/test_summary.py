"""The page about a fit: what it holds, and what it says where there are no standard errors."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gdregress import LinearRegression, LogisticRegression
from gdregress.inspection import coefficient_table, optimality_gap, summary

X, Y = load_diabetes(return_X_y=True, as_frame=True)


def test_it_holds_the_table_the_loss_and_the_gap():
    model = LinearRegression().fit(X, Y)
    page = summary(model, X, Y, cov_type="HC3", confidence=0.9)
    table = coefficient_table(model, X, Y, cov_type="HC3", confidence=0.9)
    assert page.table is not None
    assert page.table.text() == table.text()
    assert page.text().endswith(table.text())
    assert page.loss == pytest.approx(model.loss_)
    assert page.gap == optimality_gap(model, X, Y)
    assert page.refusal is None
    assert "rank 10, condition number 21.7" in repr(page)
    assert table._repr_html_() in page._repr_html_()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (LinearRegression(alpha=0.1), "alpha=0.1 shrinks"),
        (LogisticRegression(alpha=0.1), "alpha=0.1 shrinks"),
        (LinearRegression(solver="gd", max_iter=5, tol=0), "standard errors away"),
        (LogisticRegression(class_weight="balanced"), "class_weight='balanced'"),
    ],
)
def test_it_never_refuses(model, said):
    y = Y if isinstance(model, LinearRegression) else np.digitize(Y, [100, 200])
    page = summary(model.fit(X, y), X, y)
    assert page.table is None
    assert said in page.refusal
    text = page.text()
    assert max(map(len, text.splitlines())) <= 80
    assert "No standard errors" in text
    assert f"{model.coef_.ravel()[2]:#.5g}" in text
    assert "No standard errors" in page._repr_html_()


def test_separated_classes_have_a_page_too():
    y = X["bmi"] > 0
    with pytest.warns(ConvergenceWarning):
        model = LogisticRegression().fit(X, y)
    text = summary(model, X, y).text()
    assert "how far above the optimum is not known" in text
    assert "classes that overlap" in text


def test_a_pipeline_and_bad_data():
    pipe = make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y)
    assert summary(pipe, X, Y).table.names == ("intercept", *X.columns)
    with pytest.raises(ValueError, match="NaN"):
        summary(pipe[-1], np.full((3, 10), np.nan), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="'cov_type'"):
        summary(pipe, X, Y, cov_type="HC9")
