"""Linear regression by least squares: exact, or by gradient descent."""

import math
import warnings

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils import check_array

from ._base import BaseRegression
from .history import History, StopReason
from .losses import SquaredLoss
from .solvers.exact import solve_least_squares

__all__ = ["LinearRegression"]


class LinearRegression(MultiOutputMixin, RegressorMixin, BaseRegression):
    _exact_solvers = ("normal_equations", "lstsq")
    _y_checks = {"y_numeric": True, "multi_output": True}

    def _loss(self):
        return SquaredLoss()

    def _n_outputs(self, target):
        return target.shape[1]

    def _encode(self, y, sample_weight):
        self._y_ndim = y.ndim
        return np.asarray(y, dtype=np.float64).reshape(len(y), -1), sample_weight

    def _encode_validation(self, y_val, sample_weight_val):
        y_val = check_array(y_val, ensure_2d=False, dtype=np.float64, input_name="y_val")
        return y_val.reshape(len(y_val), -1), sample_weight_val

    def _strata(self, target):
        return None

    def _fit_exact(self, objective, plan, start, validation, watch, has_start):
        if watch is not None:
            watch.begin(start)
        history = History()
        found = solve_least_squares(objective, plan.exact)
        loss, gradient = found.start
        rate = math.nan
        losses = [math.nan, math.nan]
        if validation is not None:
            losses = [float(validation.value(theta)[0]) for theta in (start, found.theta)]
        history.record(0, 0, loss, _norm(gradient), rate, rate, losses[0])
        update = _norm(found.theta)
        history.record(1, 1, found.loss, _norm(found.gradient), update, rate, losses[1])
        self._set_theta(found.theta)
        self.n_iter_ = 1
        self.loss_ = found.loss
        self.learning_rate_ = math.nan
        self.stop_reason_ = StopReason.SOLVED
        self.solver_ = found.solver
        self.converged_ = True
        self.rank_ = found.rank
        self.condition_number_ = found.condition
        self._set_history(history)
        if watch is not None:
            watch.end(found.theta)
        if len(found.dependent):
            names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
            columns = ", ".join(str(name) for name in names[found.dependent[:10]])
            more = "" if len(found.dependent) <= 10 else f" and {len(found.dependent) - 10} more"
            warnings.warn(
                f"{type(self).__name__}: X has rank {found.rank} of {self.n_features_in_}; columns "
                f"{columns}{more} are constant or combinations of the others. The solution of "
                f"minimum norm was taken; drop these columns or set alpha > 0.",
                LinAlgWarning,
                stacklevel=4,
            )

    def _shaped(self, theta):
        coef = theta[:-1, 0].T.astype(self._dtype)
        intercept = theta[-1, 0].astype(self._dtype)
        if self._y_ndim == 1:
            coef, intercept = coef[0], intercept[0]
        return coef, intercept

    def predict(self, X):
        """Predict ``yhat = X W + b``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        z = self._linear_predictor(X)
        return z[:, 0] if self.coef_.ndim == 1 else z


def _norm(theta):
    """Euclidean norm; scaled, so that squares of huge entries do not overflow."""
    size = float(np.abs(theta).max())
    return size * float(np.linalg.norm(theta / size)) if size > 0.0 else 0.0
