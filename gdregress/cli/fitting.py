"""The fits of the main job: exact, by descent, and a search over learning rates."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, d2_log_loss_score, make_scorer, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    train_test_split,
)
from sklearn.pipeline import Pipeline

from .. import LinearRegression, LogisticRegression
from ..history import StopReason
from ..problem.class_losses import SoftmaxLoss
from ..problem.losses import SquaredLoss
from .errors import InputError, Interrupted

__all__ = ["Fit", "Rate", "Search", "Study"]

# Learning rates to try, as multiples of 1/λ, λ the largest eigenvalue of the Hessian bound: that is
# what learning_rate="auto" takes. Least squares converge below 2/λ and diverge above. The curvature
# of the logistic losses falls below its bound as the fit moves, so that far larger rates may work.
MULTIPLES = {
    "regression": (0.01, 0.1, 1.0, 1.995, 2.2),
    "classification": (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),
}
# Enough for the descents with the automatic rate to stop by themselves on the bundled sets; of more
# cells fewer passes, so that nobody waits for minutes.
LONG, CELLS = 20_000, 2e10
# With fewer rows nothing is held out, and with still fewer nothing is cross-validated.
FEWEST_TO_SPLIT, FEWEST_TO_SEARCH = 20, 10
# A rate is good that gains as much on rows not fitted as the best of them, but for this share of
# all that can be gained.
CLOSE = 0.01


@dataclass(frozen=True)
class Fit:
    """A fitted pipeline, the time it took, and the warnings it gave."""

    pipeline: Pipeline
    seconds: float
    warnings: list[str]

    @property
    def model(self) -> Any:
        """The regression at the end of the pipeline."""
        return self.pipeline[-1]


@dataclass(frozen=True)
class Rate:
    """One candidate learning rate: what it gained in cross-validation and on the rows fitted."""

    multiple: float
    rate: float
    gain: float
    left: float
    verdict: str
    fit: Fit


@dataclass(frozen=True)
class Search:
    """The search over learning rates: the best one refitted, and each candidate judged."""

    best: Fit
    rates: list[Rate]
    chosen: Rate
    folds: int


class Study:
    """A prepared table, split and ready to be fitted in several ways.

    Parameters
    ----------
    X : DataFrame
        The rows as they were read.
    y : ndarray
    steps : list
        The steps before the regression, unfitted.
    task : {"regression", "classification"}
    alpha : float or None
        Penalty; None: 1/m where a plane separates the classes or there are as many columns as rows,
        else 0.
    iterations : int
        Iterations that each candidate learning rate may take.
    weights, groups : ndarray or None
    seed : int
        For what is held out.
    """

    def __init__(
        self,
        X: Any,
        y: np.ndarray,
        steps: list[Any],
        task: str,
        *,
        alpha: float | None,
        iterations: int,
        weights: np.ndarray | None,
        groups: np.ndarray | None,
        seed: int,
    ) -> None:
        self.X, self.y, self.steps, self.task = X, y, steps, task
        self.iterations, self.weights, self.groups, self.seed = iterations, weights, groups, seed
        self.is_classification = task == "classification"
        self.train, self.test = self._split()
        m = len(self.train)
        start = self._fit_steps(self.train)
        self.n_columns = start.shape[1]
        self.is_wide = self.n_columns + 1 >= m
        self.alpha_is_chosen = alpha is None
        self.alpha = alpha or 0.0
        self.is_separable = self.is_classification and alpha is None and self._separates()
        if alpha is None and (self.is_separable or self.is_wide):
            self.alpha = 1 / m
        self.long = int(np.clip(CELLS / max(1, start.size), self.iterations, LONG))

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(len(self.y))
        if len(rows) < FEWEST_TO_SPLIT:
            return rows, rows[:0]
        if self.groups is not None:
            splitter = GroupShuffleSplit(n_splits=1, test_size=0.25, random_state=self.seed)
            train, test = next(splitter.split(rows, groups=self.groups))
            if self.is_classification and set(self.y[train]) != set(self.y):
                raise InputError(
                    "--groups: a class stands in one group only, and that group is held out;"
                    " another --seed holds out others"
                )
            return train, test
        stratify = self.y if self.is_classification else None
        if self.is_classification and len(np.unique(self.y)) > len(rows) // 4:
            stratify = None
        train, test = train_test_split(
            rows, test_size=0.25, random_state=self.seed, stratify=stratify
        )
        return np.sort(train), np.sort(test)

    def _fit_steps(self, rows: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            steps = Pipeline([(name, sklearn.clone(step)) for name, step in self.steps])
            return np.asarray(steps.fit_transform(self.X.iloc[rows]))

    def pipeline(self, **parameters: Any) -> Pipeline:
        """An unfitted pipeline: the preparation, then the regression."""
        regression = LogisticRegression if self.is_classification else LinearRegression
        model = regression(**{"alpha": self.alpha, **parameters})
        steps = [(name, sklearn.clone(step)) for name, step in self.steps]
        if self.weights is not None:
            model.set_fit_request(sample_weight=True)
            steps[-1][1].set_fit_request(sample_weight=True)
        return Pipeline([*steps, ("model", model)])

    def _separates(self) -> bool:
        """Whether a plane separates the classes: without a penalty there is no solution then."""
        model = self.fit().model
        return model.stop_reason_ == StopReason.SEPARABLE or not model.converged_

    def _given(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {} if self.weights is None else {"sample_weight": self.weights[rows]}

    def fit(self, *, on_all: bool = False, **parameters: Any) -> Fit:
        """Fit a pipeline with these parameters of the regression; its warnings are kept."""
        rows = np.arange(len(self.y)) if on_all else self.train
        with (
            sklearn.config_context(enable_metadata_routing=self.weights is not None),
            warnings.catch_warnings(record=True) as caught,
        ):
            warnings.simplefilter("always")
            pipeline = self.pipeline(**parameters)
            start = time.perf_counter()
            pipeline.fit(self.X.iloc[rows], self.y[rows], **self._given(rows))
            seconds = time.perf_counter() - start
        if pipeline[-1].stop_reason_ == StopReason.INTERRUPTED:
            raise Interrupted
        texts = [str(w.message) for w in caught if "unknown categories" not in str(w.message)]
        return Fit(pipeline, seconds, list(dict.fromkeys(texts)))

    def score(self, fit: Fit) -> float:
        """R² or accuracy on the rows held out; on the rows fitted where none are."""
        rows = self.test if len(self.test) else self.train
        weights = None if self.weights is None else self.weights[rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            predicted = fit.pipeline.predict(self.X.iloc[rows])
            metric = accuracy_score if self.is_classification else r2_score
            return float(metric(self.y[rows], predicted, sample_weight=weights))

    def constant_loss(self) -> float:
        """The loss of the best constant model on the rows fitted: what a fit can gain."""
        y = self.y[self.train]
        weights = None if self.weights is None else self.weights[self.train]
        if self.is_classification:
            codes = np.unique(y, return_inverse=True)[1]
            return SoftmaxLoss.best_constant(codes[:, None], weights, True) ** 2 / 2
        return SquaredLoss.best_constant(y[:, None], weights, True) ** 2 / 2

    def left(self, fit: Fit, exact: Fit) -> float:
        """(L − L*) / L(best constant): the share of what a fit can gain that this one has not."""
        # Two optima differ by rounding, in either direction.
        return max(0.0, float((fit.model.loss_ - exact.model.loss_) / self.constant_loss()))

    def splits(self) -> Any:
        """The folds of the search; None where the rows are too few."""
        y = self.y[self.train]
        folds = min(5, len(y) // 2)
        if self.is_classification:
            folds = min(folds, int(np.unique(y, return_counts=True)[1].min()))
        if self.groups is not None:
            folds = min(folds, len(np.unique(self.groups[self.train])))
        if len(y) < FEWEST_TO_SEARCH or folds < 2:
            return None
        if self.groups is not None:
            return StratifiedGroupKFold(folds) if self.is_classification else GroupKFold(folds)
        # Rows in a file are often sorted: folds of neighbours would have to extrapolate.
        if self.is_classification:
            return StratifiedKFold(folds, shuffle=True, random_state=self.seed)
        return KFold(folds, shuffle=True, random_state=self.seed)

    def search(self, exact: Fit, automatic: float, callbacks: Sequence[Any]) -> Search | None:
        """Cross-validate the learning rates, with the same number of iterations for each.

        Parameters
        ----------
        exact : Fit
            What the losses are measured from.
        automatic : float
            The rate whose multiples are tried.
        callbacks : list
            Callbacks of scikit-learn for the search.
        """
        splits = self.splits()
        if splits is None:
            return None
        rates = [multiple * automatic for multiple in MULTIPLES[self.task]]
        fits = [self.fit(learning_rate=rate, max_iter=self.iterations, tol=0) for rate in rates]
        stands = np.array([fit.model.stop_reason_ != StopReason.DIVERGED for fit in fits])

        def take(results: dict[str, Any]) -> int:
            """The best of the rates that do not diverge on all rows to fit."""
            return int(np.argmax(np.where(stands, results["mean_test_score"], -np.inf)))

        with (
            sklearn.config_context(enable_metadata_routing=True),
            warnings.catch_warnings(),
        ):
            # Rates too small and too large warn; what they did stands in the table. That columns
            # depend on each other is told of the exact fit, once instead of in each fold.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", LinAlgWarning)
            warnings.simplefilter("ignore", UserWarning)
            scorer = self._scorer()
            search = GridSearchCV(
                self.pipeline(max_iter=self.iterations),
                {"model__learning_rate": rates},
                scoring=scorer,
                cv=splits,
                refit=take,
                error_score="raise",
            )
            search.set_callbacks(*callbacks)
            given = self._given(self.train)
            if self.groups is not None:
                given["groups"] = self.groups[self.train]
            start = time.perf_counter()
            search.fit(self.X.iloc[self.train], self.y[self.train], **given)
            seconds = time.perf_counter() - start
        gains = search.cv_results_["mean_test_score"]
        best = Fit(search.best_estimator_, seconds, [])
        judged = self._judged(fits, gains, search.best_index_, exact)
        return Search(best, judged, judged[search.best_index_], splits.get_n_splits())

    def _scorer(self) -> Any:
        """The share of what can be gained on rows not fitted, by the loss itself.

        The accuracy hardly sees how far a descent has come; the log-loss does.
        """
        if self.is_classification:
            scorer = make_scorer(
                d2_log_loss_score, response_method="predict_proba", labels=np.unique(self.y)
            )
        else:
            scorer = make_scorer(r2_score)
        return scorer if self.weights is None else scorer.set_score_request(sample_weight=True)

    def _judged(self, fits: list[Fit], gains: Any, chosen: int, exact: Fit) -> list[Rate]:
        lefts = [self.left(fit, exact) for fit in fits]
        verdicts = [
            verdict(fit, (gain, left), fits[chosen], (gains[chosen], lefts[chosen]))
            for fit, gain, left in zip(fits, gains, lefts)
        ]
        return [
            Rate(multiple, fit.model.learning_rate_, float(gain), left, word, fit)
            for multiple, gain, left, word, fit in zip(
                MULTIPLES[self.task], gains, lefts, verdicts, fits
            )
        ]


def verdict(fit: Fit, reached: tuple[float, float], chosen: Fit, best: tuple[float, float]) -> str:
    """What a learning rate did, by one yardstick: the share of what a fit can gain.

    Parameters
    ----------
    fit, chosen : Fit
        Descents of the same number of iterations; `chosen` has the rate that the search took.
    reached, best : tuple of two floats
        What each gained on rows not fitted, in cross-validation, and what it is off on the rows
        fitted.
    """
    (gain, left), (most, left_by_chosen) = reached, best
    if fit.model.stop_reason_ == StopReason.DIVERGED:
        return "diverging"
    if gain >= most - CLOSE:
        return "good"
    if left < left_by_chosen:
        return "overfits"
    return "too large" if fit.model.learning_rate_ > chosen.model.learning_rate_ else "too small"
