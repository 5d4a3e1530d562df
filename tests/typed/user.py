"""A user's programme, for ``mypy --strict``: every annotation in it is checked against the package.

Run by test_types.py, which also runs it as it is.
"""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gdregress import LinearRegression, LogisticRegression
from gdregress.callback import Checkpoint, TimeLimit
from gdregress.history import History, StopReason
from gdregress.solvers import Adam, Cosine, GradientDescent


def exact(X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The loss of a fit, with weights, of rows that may be a list or sparse."""
    model = LinearRegression(alpha=0.1, fit_intercept=True)
    assert_type(model, LinearRegression)
    assert_type(model.fit(X, y, sample_weight=np.ones(len(y))), LinearRegression)
    assert_type(model.loss_, float)
    assert_type(model.rank_, int | None)
    assert_type(model.dependent_columns_, NDArray[np.intp] | None)
    rows: list[list[float]] = X.tolist()
    model.fit(rows, y.tolist()).fit(sparse.csr_array(X), y)
    return model.loss_ + model.score(X, y)


def descend(X: NDArray[np.float64], y: NDArray[np.float64]) -> list[float]:
    """The loss curve of a descent with a rule and a schedule of its own."""
    model = LinearRegression(
        solver=Adam(beta1=0.8),
        learning_rate=0.01,
        schedule=Cosine(total_epochs=20),
        batch_size=8,
        max_iter=20,
        tol=0.0,
        random_state=0,
    )
    model.fit(X, y, X_val=X, y_val=y)
    history: History = model.history_
    assert_type(model.loss_curve_, NDArray[np.float64])
    losses: list[float] = history["loss"].tolist()
    reason: StopReason = model.stop_reason_
    return losses if reason is StopReason.MAX_ITER else []


def halved(t: float) -> float:
    """A schedule that is a function."""
    return 1.0 / (1.0 + t)


def classify(X: NDArray[np.float64], labels: list[str]) -> NDArray[np.floating]:
    """Probabilities, after a stream."""
    model = LogisticRegression(
        solver=GradientDescent(average=True), schedule=halved, class_weight={"no": 1.0, "yes": 2.0}
    )
    stream = model.partial_fit(X, labels, classes=["no", "yes"], coef_init=np.zeros((1, 2)))
    assert_type(stream, LogisticRegression)
    return stream.predict_proba(X)


def watched(path: str) -> tuple[TimeLimit, Checkpoint]:
    """Callbacks."""
    return TimeLimit(60), Checkpoint(path, every=10)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    y = X @ np.array([1.0, 2.0])
    assert exact(X, y) > 0.0
    assert len(descend(X, y)) == 21
    assert classify(X, ["yes" if value > 0 else "no" for value in y]).shape == (40, 2)
    assert watched("fit.npz")[1].every == 10
