"""Loss curves: what every iteration of a fit did to the loss, drawn for one fit or for several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils.validation import check_is_fitted

from ..history import StopReason

_X_LABELS = {"iteration": "Iteration", "seconds": "Time since the fit began (s)"}

# How far above the highest starting loss a curve may climb before it leaves the picture. A fit that
# diverges grows geometrically: shown whole, it would press all the others into the bottom line.
_HEADROOM = {"log": 10.0, "linear": 1.15}


# The sentences of StopReason are too long for a legend.
_IN_SHORT = {
    StopReason.SOLVED.value: "solved exactly",
    StopReason.GRADIENT.value: "converged",
    StopReason.DECREMENT.value: "converged",
    StopReason.UPDATE.value: "update below tol",
    StopReason.LOSS.value: "loss no longer falls",
    StopReason.MAX_ITER.value: "reached max_iter",
    StopReason.EARLY.value: "stopped early",
    StopReason.DIVERGED.value: "diverged",
    StopReason.SEPARABLE.value: "separable classes",
    StopReason.CALLBACK.value: "stopped by a callback",
    StopReason.INTERRUPTED.value: "interrupted",
    StopReason.EPOCH.value: "one pass made",
}


@dataclass(frozen=True)
class LossCurve:
    """The loss of one fit, iteration by iteration.

    Attributes
    ----------
    name : str
        What the legend calls the fit.
    iteration, seconds, loss : ndarray of shape (n_iter_ + 1,)
        Columns of the fit's ``history_``; row 0 is the start.
    validation_loss : ndarray of shape (n_iter_ + 1,) or None
        Loss on the validation data, without the penalty; None where none was recorded.
    stop_reason : str
        Why the fit stopped, as it says itself.
    converged : bool
        The fit's ``converged_``.
    quantity : str
        What the loss is, with its unit: the label of the vertical axis.
    """

    name: str
    iteration: np.ndarray
    seconds: np.ndarray
    loss: np.ndarray
    validation_loss: np.ndarray | None
    stop_reason: str
    converged: bool
    quantity: str

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None) -> LossCurve:
        """Read the curve from a fitted estimator, or from a Pipeline or search that ends in one."""
        model = _final_estimator(estimator)
        history = model.history_
        validation = np.asarray(history["validation_loss"], dtype=float)
        return cls(
            name=_default_name(model) if name is None else str(name),
            iteration=np.asarray(history["iteration"], dtype=float),
            seconds=np.asarray(history["seconds"], dtype=float),
            loss=np.asarray(history["loss"], dtype=float),
            validation_loss=validation if np.isfinite(validation).any() else None,
            stop_reason=str(model.stop_reason_),
            converged=bool(model.converged_),
            quantity=_quantity(model),
        )

    @property
    def outcome(self) -> str:
        """The stop reason in two or three words."""
        return _IN_SHORT.get(self.stop_reason, self.stop_reason)

    @property
    def label(self) -> str:
        """The entry of the legend: name, outcome and number of iterations."""
        return f"{self.name} ({self.outcome}, {self.iteration[-1]:.0f} iterations)"


class LossCurveDisplay:
    """Loss curves of one or several fits.

    Made with :meth:`from_estimator` or :meth:`from_estimators`; the constructor takes curves that
    are read already. A fit that diverges leaves the picture at the top, so that the others stay
    legible. A curve ends in a dot where the fit converged, in a cross where it did not, and in an
    arrow where it leaves the picture.

    Parameters
    ----------
    curves : iterable of LossCurve
        The curves, in the order of drawing.

    Attributes
    ----------
    curves : list of LossCurve
        The curves that :meth:`plot` draws.
    ax_ : matplotlib Axes
        Axes with the curves. Set by :meth:`plot`.
    figure_ : matplotlib Figure
        The figure that holds ``ax_``. Set by :meth:`plot`.
    lines_ : list of matplotlib Line2D
        One line for each curve, in order. Set by :meth:`plot`.
    validation_lines_ : list of matplotlib Line2D or None
        The dashed line of each curve's validation loss; None where there is none. Set by
        :meth:`plot`.

    See Also
    --------
    gdregress.LinearRegression : Its ``history_`` holds the numbers drawn here.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import LossCurveDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X = scale(X)
    >>> fits = {
    ...     f"learning_rate={rate}": LinearRegression(
    ...         learning_rate=rate, max_iter=50, tol=0
    ...     ).fit(X, y)
    ...     for rate in (0.01, 0.1)
    ... }
    >>> display = LossCurveDisplay.from_estimators(fits, relative_to=LinearRegression().fit(X, y))
    >>> display.ax_.get_xlabel()
    'Iteration'
    """

    def __init__(self, curves: Iterable[LossCurve]) -> None:
        self.curves = list(curves)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        name: str | None = None,
        x_axis: str = "iteration",
        log_scale: bool = True,
        relative_to: Any = None,
        show_validation: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> LossCurveDisplay:
        """Draw the loss curve of one estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted gdregress estimator, or a fitted Pipeline or refitted search that ends in one.
            With `X` given, a clone is fitted on it first.
        X : array-like, default=None
            Data to fit a clone of `estimator` on. None: `estimator` is fitted already.
        y : array-like, default=None
            Target that belongs to `X`.
        name : str, default=None
            Name in the legend. None: the class, its solver and its learning rate.
        x_axis : {"iteration", "seconds"}, default="iteration"
            What the horizontal axis counts.
        log_scale : bool, default=True
            Whether the vertical axis is logarithmic.
        relative_to : float or estimator, default=None
            The optimum to subtract: a loss, or a fitted estimator whose ``loss_`` is taken.
        show_validation : bool, default=True
            Whether the recorded validation losses are drawn, dashed. They are left out with
            `relative_to`: the optimum of the training loss is not theirs.
        ax : matplotlib Axes, default=None
            Axes to draw into, beside what is there. None: a new figure.
        **line_kw : dict
            Passed to matplotlib's ``Axes.plot``.

        Returns
        -------
        LossCurveDisplay
            With ``ax_``, ``figure_`` and ``lines_``.

        Raises
        ------
        TypeError
            If the estimator records no ``history_``.
        sklearn.exceptions.NotFittedError
            If it is not fitted and no `X` is given.
        """
        return cls.from_estimators(
            [estimator] if name is None else {name: estimator},
            X,
            y,
            x_axis=x_axis,
            log_scale=log_scale,
            relative_to=relative_to,
            show_validation=show_validation,
            ax=ax,
            **line_kw,
        )

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Iterable[Any],
        X: Any = None,
        y: Any = None,
        *,
        x_axis: str = "iteration",
        log_scale: bool = True,
        relative_to: Any = None,
        show_validation: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> LossCurveDisplay:
        """Draw the loss curves of several estimators into one axes.

        Parameters
        ----------
        estimators : dict of {str: estimator} or iterable of estimators
            As in :meth:`from_estimator`; the keys of a dict are the names in the legend.
        X, y, x_axis, log_scale, relative_to, show_validation, ax, **line_kw
            As in :meth:`from_estimator`.

        Returns
        -------
        LossCurveDisplay
            With ``ax_``, ``figure_`` and ``lines_``.
        """
        if isinstance(estimators, Mapping):
            named: list[tuple[str | None, Any]] = list(estimators.items())
        else:
            named = [(None, estimator) for estimator in estimators]
        if not named:
            raise ValueError("estimators is empty: LossCurveDisplay needs at least one estimator")
        if X is not None:
            named = [(name, clone(estimator).fit(X, y)) for name, estimator in named]
        display = cls(LossCurve.from_estimator(fitted, name=name) for name, fitted in named)
        return display.plot(
            x_axis=x_axis,
            log_scale=log_scale,
            relative_to=relative_to,
            show_validation=show_validation,
            ax=ax,
            **line_kw,
        )

    def plot(
        self,
        *,
        x_axis: str = "iteration",
        log_scale: bool = True,
        relative_to: Any = None,
        show_validation: bool = True,
        ax: Any = None,
        **line_kw: Any,
    ) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        x_axis, log_scale, relative_to, show_validation, ax, **line_kw
            As in :meth:`from_estimator`.

        Returns
        -------
        LossCurveDisplay
            The display itself.
        """
        if x_axis not in _X_LABELS:
            raise ValueError(
                f"x_axis must be one of {sorted(_X_LABELS)} in LossCurveDisplay; got {x_axis!r}"
            )
        optimum = _reference_loss(relative_to)
        if optimum is not None:
            self._check_reference(optimum)

        if ax is None:
            try:
                import matplotlib.pyplot as plt
            except ImportError as error:
                raise ImportError(
                    "LossCurveDisplay.plot needs matplotlib; install it with"
                    ' `python -m pip install "gdregress[plot]"`'
                ) from error
            _, ax = plt.subplots(layout="constrained")

        scale = "log" if log_scale else "linear"
        ax.set_yscale(scale)
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_, self.validation_lines_ = [], []
        for curve in self.curves:
            x = getattr(curve, x_axis)
            style = {"linewidth": 1.8, "marker": "o" if curve.converged else "X"} | line_kw
            (line,) = ax.plot(
                x,
                _drawable(curve.loss, optimum, log_scale),
                label=curve.label,
                gid="loss-curve",
                **style,
            )
            line.set_markevery([len(x) - 1])
            self.lines_.append(line)

            dashed = None
            if show_validation and optimum is None and curve.validation_loss is not None:
                (dashed,) = ax.plot(
                    x,
                    _drawable(curve.validation_loss, None, log_scale),
                    color=line.get_color(),
                    linestyle="--",
                    linewidth=1.2,
                    label=f"{curve.name}: on the validation data",
                )
            self.validation_lines_.append(dashed)

        self._decorate(x_axis, optimum)
        _clip_above_the_start(ax, scale)
        return self

    def _check_reference(self, optimum: float) -> None:
        """Refuse an "optimum" that a curve lies below: the logarithm would drop it unseen."""
        for curve in self.curves:
            lowest = np.nanmin(curve.loss)
            if lowest < optimum - 1e-8 * abs(curve.loss[0]):
                raise ValueError(
                    f"relative_to is {optimum:.8g}, but the loss of {curve.name!r} goes down to"
                    f" {lowest:.8g}; give the optimum of the same loss and penalty on the same data"
                )

    def _decorate(self, x_axis: str, optimum: float | None) -> None:
        quantities = {curve.quantity for curve in self.curves}
        quantity = quantities.pop() if len(quantities) == 1 else "each in its own unit"
        title = "Loss" if optimum is None else "Loss above the optimum"
        self.ax_.set_xlabel(_X_LABELS[x_axis])
        self.ax_.set_ylabel(f"{title} ({quantity})")
        self.ax_.grid(visible=True, which="major", alpha=0.25, linewidth=0.6)
        self.ax_.legend(fontsize="small")


def _final_estimator(estimator: Any) -> Any:
    """The fitted estimator with a history inside searches, pipelines and transformed targets."""
    model = estimator
    while not hasattr(model, "history_"):
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif hasattr(model, "regressor_"):
            model = model.regressor_
        elif hasattr(model, "steps"):
            model = model.steps[-1][1]
        else:
            check_is_fitted(model)
            raise TypeError(
                f"LossCurveDisplay draws the history_ that gdregress estimators record;"
                f" {type(model).__name__} has none"
            )
    return model


def _default_name(model: Any) -> str:
    rate = getattr(model, "learning_rate_", None)
    rate_text = "" if rate is None or not np.isfinite(rate) else f", learning_rate={rate:.3g}"
    return f"{type(model).__name__}({model.solver_}{rate_text})"


def _quantity(model: Any) -> str:
    loss = "mean log-loss, nats" if is_classifier(model) else "½ mean squared error, target²"
    return loss + (" + penalty" if model.alpha else "")


def _reference_loss(relative_to: Any) -> float | None:
    if relative_to is None:
        return None
    if hasattr(relative_to, "fit"):
        return float(_final_estimator(relative_to).loss_)
    return float(relative_to)


def _drawable(loss: np.ndarray, optimum: float | None, log_scale: bool) -> np.ndarray:
    """The values to draw; what is not finite, or has no logarithm, becomes a gap."""
    values = loss if optimum is None else loss - optimum
    visible = np.isfinite(values) & ((values > 0) | (not log_scale))
    return np.where(visible, values, np.nan)


def _clip_above_the_start(ax: Any, scale: str) -> None:
    """Where a curve climbs far above the highest start, end the vertical axis a little above it."""
    curves = [line.get_ydata() for line in ax.get_lines() if line.get_gid() == "loss-curve"]
    starts = [curve[0] for curve in curves if np.isfinite(curve[0])]
    ax.relim()
    ax.autoscale(axis="y")
    cap = _HEADROOM[scale] * max(starts, default=np.inf)
    drawn = np.concatenate(curves)
    drawn = drawn[np.isfinite(drawn)]
    if not np.any(drawn > cap):
        return
    # The margin that matplotlib leaves is a share of the whole range, the climb included.
    lowest = drawn.min()
    margin = 0.05 * (cap - lowest)
    ax.set_ylim(lowest * (lowest / cap) ** 0.05 if scale == "log" else lowest - margin, cap)

    for arrow in [line for line in ax.get_lines() if line.get_gid() == "leaves-the-axes"]:
        arrow.remove()
    for line in [line for line in ax.get_lines() if line.get_gid() == "loss-curve"]:
        x, y = line.get_data()
        ends = np.flatnonzero(np.isfinite(y))
        if len(ends) and y[ends[-1]] > cap:
            inside = np.flatnonzero(y <= cap)
            ax.plot(
                x[inside[-1] + 1 if len(inside) else 0],
                1.0,
                marker="^",
                color=line.get_color(),
                transform=ax.get_xaxis_transform(),
                clip_on=False,
                gid="leaves-the-axes",
            )
