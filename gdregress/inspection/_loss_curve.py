"""Loss curves: what every iteration of a fit did to the loss, drawn for one fit or for several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from ._curves import LossCurve
from ._drawing import (
    NEUTRAL,
    curve_styles,
    final_estimator,
    keyword_sets,
    legend_beside,
    named_estimators,
    new_axes,
    quiet_grid,
)

__all__ = ["LossCurve", "LossCurveDisplay"]

_X_LABELS = {
    "iteration": "Iteration",
    "step": "Step",
    "seconds": "Time since the fit began (s)",
}
_Y_LABELS = {
    "loss": "Loss",
    "validation_loss": "Loss on the validation data",
    "gradient_norm": "Gradient norm",
    "update_norm": "Norm of the update",
    "learning_rate": "Learning rate",
}
# How far above the highest starting loss a curve may climb before it leaves the picture. A fit that
# diverges grows geometrically: shown whole, it would press all the others into the bottom line.
_HEADROOM = {"log": 10.0, "linear": 1.15}


class _View(NamedTuple):
    """What is drawn: a column against another, as it is or above an optimum."""

    x_axis: str
    y_axis: str
    optimum: float | None
    log_scale: bool

    @property
    def is_loss(self) -> bool:
        """Whether it is the loss as it is."""
        return self.y_axis == "loss" and self.optimum is None


class LossCurveDisplay:
    """Loss curves of one or several fits.

    Made with :meth:`from_estimator` or :meth:`from_estimators`; the constructor takes curves that
    are read already. A fit that diverges leaves the picture at the top, so that the others stay
    legible. A curve ends in a dot where the fit converged, in a cross where it did not, and in an
    arrow where it leaves the picture; a ring marks the iterate that the fit returned where that is
    not the last. Fits that differ in their learning rate have colours in the order of the rate.

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
        The thin line of each curve's validation loss; None where there is none. Set by
        :meth:`plot`.

    See Also
    --------
    gdregress.LinearRegression : Its ``history_`` holds the numbers drawn here.
    LearningRateDisplay : The final loss against the learning rate.

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

    curves: list[LossCurve]
    ax_: Any
    figure_: Any
    lines_: list[Any]
    validation_lines_: list[Any]

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
        y_axis: str = "loss",
        log_scale: bool = True,
        relative_to: Any = None,
        show_validation: bool = True,
        ax: Any = None,
        curve_kwargs: Mapping[str, Any] | None = None,
        validation_kwargs: Mapping[str, Any] | None = None,
        legend_kwargs: Mapping[str, Any] | None = None,
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
        x_axis : {"iteration", "step", "seconds"}, default="iteration"
            What the horizontal axis counts; an iteration of mini-batches is an epoch of steps. With
            ``"step"`` and a fit that has ``store_path="step"``, the loss of each mini-batch is
            drawn too, faint.
        y_axis : {"loss", "validation_loss", "gradient_norm", "update_norm", "learning_rate"}
            The column of ``history_`` that is drawn; ``"loss"`` by default.
        log_scale : bool, default=True
            Whether the vertical axis is logarithmic.
        relative_to : float or estimator, default=None
            The optimum to subtract from the loss: a loss, or a fitted estimator whose ``loss_`` is
            taken. Differences below the rounding of the optimum are drawn at that level.
        show_validation : bool, default=True
            Whether the recorded validation losses are drawn beside the loss, thin. They are left
            out with `relative_to`: the optimum of the training loss is not theirs.
        ax : matplotlib Axes, default=None
            Axes to draw into, beside what is there. None: a new figure.
        curve_kwargs, validation_kwargs : dict or list of dict, default=None
            Keywords of matplotlib's ``Axes.plot`` for the curves and for those of the validation
            loss; a list has one dictionary for each curve.
        legend_kwargs : dict, default=None
            Keywords of matplotlib's ``Axes.legend``.

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
            y_axis=y_axis,
            log_scale=log_scale,
            relative_to=relative_to,
            show_validation=show_validation,
            ax=ax,
            curve_kwargs=curve_kwargs,
            validation_kwargs=validation_kwargs,
            legend_kwargs=legend_kwargs,
        )

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Iterable[Any],
        X: Any = None,
        y: Any = None,
        **plot_kwargs: Any,
    ) -> LossCurveDisplay:
        """Draw the loss curves of several estimators into one axes.

        Parameters
        ----------
        estimators : dict of {str: estimator} or iterable of estimators
            As in :meth:`from_estimator`; the keys of a dict are the names in the legend.
        X, y : array-like, default=None
            As in :meth:`from_estimator`.
        **plot_kwargs : dict
            The parameters of :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            With ``ax_``, ``figure_`` and ``lines_``.
        """
        named = named_estimators("LossCurveDisplay", estimators)
        if X is not None:
            named = [(name, clone(estimator).fit(X, y)) for name, estimator in named]
        display = cls(LossCurve.from_estimator(fitted, name=name) for name, fitted in named)
        return display.plot(**plot_kwargs)

    def plot(
        self,
        *,
        x_axis: str = "iteration",
        y_axis: str = "loss",
        log_scale: bool = True,
        relative_to: Any = None,
        show_validation: bool = True,
        ax: Any = None,
        curve_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        validation_kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        legend_kwargs: Mapping[str, Any] | None = None,
    ) -> LossCurveDisplay:
        """Draw the curves.

        Parameters
        ----------
        x_axis, y_axis, log_scale, relative_to, show_validation, ax
            As in :meth:`from_estimator`.
        curve_kwargs, validation_kwargs, legend_kwargs
            As in :meth:`from_estimator`.

        Returns
        -------
        LossCurveDisplay
            The display itself.
        """
        _check_choice("x_axis", x_axis, _X_LABELS)
        _check_choice("y_axis", y_axis, _Y_LABELS)
        optimum = _reference_loss(relative_to)
        if optimum is not None:
            self._check_reference(optimum, y_axis)
        n_curves = len(self.curves)
        own = keyword_sets("curve_kwargs", curve_kwargs, n_curves)
        own_validation = keyword_sets("validation_kwargs", validation_kwargs, n_curves)
        beside = any(curve.validation_loss is not None or curve.step_loss for curve in self.curves)
        wide = n_curves > 1 or beside
        ax = new_axes("LossCurveDisplay", ax, figsize=(8.8, 4.8) if wide else None)
        ax.set_yscale("log" if log_scale else "linear")
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_, self.validation_lines_ = [], []
        styles = curve_styles(ax, self.curves)
        view = _View(x_axis, y_axis, optimum, log_scale)
        for curve, style, kwargs, validation in zip(
            self.curves, styles, own, own_validation, strict=True
        ):
            line = self._draw(curve, view, style | kwargs)
            thin = None
            if show_validation and view.is_loss and curve.validation_loss is not None:
                thin = self._draw_validation(curve, view, line, validation)
            self.lines_.append(line)
            self.validation_lines_.append(thin)
        self._decorate(view, legend_kwargs)
        return self

    def _draw(self, curve: LossCurve, view: _View, style: dict[str, Any]) -> Any:
        """The line of one curve, its ends, and behind it the losses of its mini-batches."""
        ax = self.ax_
        (line,) = ax.plot(
            getattr(curve, view.x_axis),
            curve.values(view.y_axis, view.optimum, view.log_scale),
            **{"label": curve.label, "gid": "loss-curve", "linewidth": 1.8} | style,
        )
        _mark_ends(ax, line, curve)
        if view.x_axis == "step" and view.is_loss and curve.step_loss:
            noise = {"color": line.get_color(), "linewidth": 0.6, "alpha": 0.45, "zorder": 1}
            ax.plot(*curve.step_loss, label=f"{curve.name} (mini-batches)", **noise)
        return line

    def _draw_validation(
        self, curve: LossCurve, view: _View, line: Any, style: dict[str, Any]
    ) -> Any:
        """The thin line of the loss on the validation data."""
        thin = {
            "color": line.get_color(),
            "linestyle": "--",
            "linewidth": 1.0,
            "label": f"{curve.name} (validation data)",
        }
        values = curve.values("validation_loss", None, view.log_scale)
        (drawn,) = self.ax_.plot(getattr(curve, view.x_axis), values, **thin | style)
        return drawn

    def _check_reference(self, optimum: float, y_axis: str) -> None:
        """Refuse an "optimum" that a curve lies below: it belongs to another problem."""
        if y_axis != "loss":
            raise ValueError(f"relative_to is a loss, but y_axis is {y_axis!r}; set y_axis='loss'")
        for curve in self.curves:
            lowest = np.nanmin(curve.loss)
            if lowest < optimum - 1e-8 * abs(curve.loss[0]):
                raise ValueError(
                    f"relative_to is {optimum:.8g}, but the loss of {curve.name!r} goes down to"
                    f" {lowest:.8g}; give the optimum of the same loss and penalty on the same data"
                )

    def _decorate(self, view: _View, legend_kwargs: Mapping[str, Any] | None) -> None:
        ax, x_axis, y_axis = self.ax_, view.x_axis, view.y_axis
        epochs = x_axis == "iteration" and all(curve.by_epoch for curve in self.curves)
        ax.set_xlabel("Epoch" if epochs else _X_LABELS[x_axis])
        if x_axis != "seconds":
            ax.xaxis.get_major_locator().set_params(integer=True)
        label = _Y_LABELS[y_axis] if view.optimum is None else "Loss above the optimum"
        if y_axis in {"loss", "validation_loss"}:
            quantities = {curve.quantity for curve in self.curves}
            unit = quantities.pop() if len(quantities) == 1 else "each in its own unit"
            label = f"{label}\n({unit})"
        ax.set_ylabel(label)
        quiet_grid(ax)
        if y_axis in {"loss", "validation_loss"}:
            _clip_above_the_start(ax, "log" if view.log_scale else "linear")
        if view.optimum is not None and view.log_scale:
            self._draw_rounding_level(view.optimum)
        legend_beside(ax, **(legend_kwargs or {}))

    def _draw_rounding_level(self, optimum: float) -> None:
        """A line where no digit of the difference is left, if a curve gets there."""
        level = max(curve.floor("loss", optimum) for curve in self.curves)
        if any(np.nanmin(line.get_ydata()) <= 8.0 * level for line in self.lines_):
            self.ax_.axhline(level, color=NEUTRAL, linestyle=":", linewidth=1.0, zorder=1)
            self.ax_.annotate(
                "rounding level",
                (1.0, level),
                xycoords=("axes fraction", "data"),
                xytext=(-4, 3),
                textcoords="offset points",
                ha="right",
                fontsize="x-small",
                color=NEUTRAL,
            )


def _check_choice(name: str, value: str, choices: Mapping[str, str]) -> None:
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {sorted(choices)} in LossCurveDisplay; got {value!r}"
        )


def _reference_loss(relative_to: Any) -> float | None:
    if relative_to is None:
        return None
    if hasattr(relative_to, "fit"):
        return float(final_estimator("LossCurveDisplay", relative_to).loss_)
    return float(relative_to)


def _mark_ends(ax: Any, line: Any, curve: LossCurve) -> None:
    """A dot or a cross at the last value there is, and a ring where the returned iterate is."""
    x, y = line.get_data()
    drawn = np.flatnonzero(np.isfinite(y))
    if not len(drawn):
        return
    line.set_marker("o" if curve.converged else "X")
    line.set_markevery([int(drawn[-1])])
    returned = curve.returned
    if returned is not None and returned != len(y) - 1 and np.isfinite(y[returned]):
        ax.plot(
            x[returned],
            y[returned],
            marker="o",
            markersize=11,
            markerfacecolor="none",
            markeredgewidth=1.6,
            color=line.get_color(),
            linestyle="none",
            gid="returned",
        )


def _clip_above_the_start(ax: Any, scale: str) -> None:
    """Where a curve climbs far above the highest start, end the vertical axis a little above it."""
    lines = [line for line in ax.get_lines() if line.get_gid() == "loss-curve"]
    curves = [np.asarray(line.get_ydata()) for line in lines]
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
    for line, y in zip(lines, curves, strict=True):
        ends = np.flatnonzero(np.isfinite(y))
        if len(ends) and y[ends[-1]] > cap:
            inside = np.flatnonzero(y <= cap)
            ax.plot(
                line.get_xdata()[inside[-1] + 1 if len(inside) else 0],
                1.0,
                marker="^",
                color=line.get_color(),
                transform=ax.get_xaxis_transform(),
                clip_on=False,
                gid="leaves-the-axes",
            )
