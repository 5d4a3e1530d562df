"""Separation, as the inspection tells it: the kind, the direction, the columns and the rows."""

import numpy as np
import pandas as pd
import pytest
from problems import overlapping_classes
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_iris

from gdregress import LogisticRegression
from gdregress.inspection import objective, separation


def margins(found, X, y):
    """The margins of every row over every other class along the direction, and of which rows."""
    z = X @ found.coef.T + found.intercept
    if z.shape[1] == 1:
        return np.where(y == found.classes[1], z[:, 0], -z[:, 0])[:, None]
    own = np.searchsorted(found.classes, y)
    return np.delete(
        (z[np.arange(len(z)), own][:, None] - z).ravel(),
        np.arange(len(z)) * z.shape[1] + own,
    ).reshape(len(z), -1)


def quasi():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    y = (X[:, 0] + rng.logistic(size=80) > 0).astype(int)
    X[:, 2] = (y == 1) & (X[:, 1] > 0.3)
    return X, y


def one_of_three():
    X, y = quasi()
    X[:, 2] = np.random.default_rng(1).standard_normal(80)
    return X, np.where(X[:, 2] > 1.0, 2, y)


CASES = {
    "quasi-complete": (quasi, "quasi-complete", {"x2"}),
    "one class of three": (one_of_three, "quasi-complete", {"x2"}),
    "complete": (
        lambda: (quasi()[0], (quasi()[0][:, 0] > 0.1).astype(int)),
        "complete",
        {"x0"},
    ),
    "iris": (lambda: load_iris(return_X_y=True), "quasi-complete", {"x2"}),
    "breast cancer": (lambda: load_breast_cancer(return_X_y=True), "complete", set()),
    "none": (lambda: overlapping_classes(2), "none", set()),
    "none of three": (lambda: overlapping_classes(3), "none", set()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_direction_separates_what_it_says(name):
    make, kind, columns = CASES[name]
    X, y = make()
    found = separation(X, y)
    assert found.kind == kind
    assert found.is_separated == (kind != "none")
    assert columns <= set(found.columns)
    along = margins(found, X, y)
    if kind == "none":
        assert not along.any()
        assert found.n_separated == 0
        return
    assert np.abs(X @ found.coef.T + found.intercept).max() <= 1.0 + 1e-9 or len(found.coef) > 1
    assert along.min() >= -1e-9
    assert along.max() > 1e-3
    assert found.n_separated == np.count_nonzero((along > 1e-6).any(axis=1))
    assert (kind == "complete") == bool((along > 0).all())
    # the loss falls along it for ever
    L = objective(LogisticRegression(), X, y)
    losses = [L((t * found.coef, t * found.intercept)) for t in (0.0, 1.0, 10.0, 100.0)]
    assert (np.diff(losses) < 0).all()


def test_weights_sparse_rows_labels_and_names():
    X, y = quasi()
    frame = pd.DataFrame(X, columns=["dose", "age", "treated"])
    labels = np.where(y == 1, "well", "ill")
    found = separation(frame, labels)
    assert found.columns == ("treated",)
    assert found.classes == ("ill", "well")
    assert found.n_separated == np.count_nonzero(X[:, 2])
    np.testing.assert_allclose(found.coef[0] / found.coef[0, 2], [0, 0, 1], atol=1e-9)
    assert separation(sparse.csr_array(X), labels).columns == ("x2",)
    # without the rows that are separated the others overlap
    weight = np.where(X[:, 2] > 0, 0.0, 2.0)
    left = separation(frame, labels, sample_weight=weight)
    assert (left.kind, left.n_samples) == ("none", np.count_nonzero(weight))
    assert found.to_frame().loc["treated", "well"] == found.coef[0, 2]


def test_an_intercept_may_be_what_separates():
    X, y = np.arange(1.0, 7.0)[:, None], np.arange(6) > 2
    assert separation(X, y).kind == "complete"
    assert separation(X, y, fit_intercept=False).kind == "none"


def test_text():
    text = repr(separation(*quasi()))
    assert "quasi-complete: a part of the rows is separated" in text
    assert "x2" in text
    assert "the classes overlap" in separation(*overlapping_classes(2)).text()
    assert max(map(len, separation(*load_iris(return_X_y=True)).text().splitlines())) <= 80
    assert "<table>" in separation(*quasi())._repr_html_()


def test_bad_data_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        separation([[np.nan], [1.0]], [0, 1])
    with pytest.raises(ValueError, match="2 classes"):
        separation([[0.0], [1.0]], [1, 1])
