"""The final loss against the learning rate, and the four things that a rate can do."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from ..history import StopReason
from ._descent_path import DescentPathDisplay
from ._drawing import NEUTRAL, ordered_colors, pyplot, quiet_grid
from ._plane import exact_fit
from ._problem import problem_of

__all__ = ["LearningRateDisplay", "RateTrial"]

_DISPLAY = "LearningRateDisplay"
# Multiples of 1 / lambda that are tried where no rates are given.
_MULTIPLES = (*np.geomspace(1e-3, 1.0, 13), 1.3, 1.6, 1.8, 1.9, 1.96, 1.99, 1.998, 2.05, 2.2)
_PATH_STEPS = 12


@dataclass(frozen=True)
class RateTrial:
    """What one learning rate led to.

    Attributes
    ----------
    rate : float
    gap : float
        ``(L - L*) / (L(start) - L*)`` at the end; L* is the exact solution's.
    diverged : bool
    model : estimator
        The fit.
    """

    rate: float
    gap: float
    diverged: bool
    model: Any


class LearningRateDisplay:
    """How far a descent gets in a given number of iterations, as a function of the learning rate.

    Below the curve, one panel of iterates for each of the four things that a rate can do: it is too
    small, good, too large (it overshoots and comes back), or it diverges. Plain descent on a
    quadratic decreases the loss at every step up to ``1 / lambda``, where it also has its safest
    value, and converges below ``2 / lambda``, lambda the largest eigenvalue of the Hessian; for the
    logistic losses both are bounds that hold for every theta (Boyd & Vandenberghe 2004, "Convex
    Optimization", section 9.3).

    Parameters
    ----------
    trials : list of RateTrial
        In the order of the rate.
    curvature : float
        lambda, the largest eigenvalue of the Hessian bound.
    X, y : array-like
        The data, for the panels.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The curve. Set by :meth:`plot`.
    panels_ : dict of {str: DescentPathDisplay}
        The scenarios that were found. Set by :meth:`plot`.
    figure_ : matplotlib Figure
        Set by :meth:`plot`.

    See Also
    --------
    LossCurveDisplay : The loss of every iteration.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from gdregress import LinearRegression
    >>> from gdregress.inspection import LearningRateDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> display = LearningRateDisplay.from_estimator(LinearRegression(max_iter=50), scale(X), y)
    >>> list(display.panels_)
    ['too small', 'good', 'too large', 'diverging']
    """

    trials: list[RateTrial]
    curvature: float
    y: Any
    ax_: Any
    figure_: Any

    def __init__(self, trials: list[RateTrial], curvature: float, X: Any, y: Any) -> None:
        self.trials, self.curvature, self.X, self.y = trials, curvature, X, y

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        rates: Sequence[float] | None = None,
        **plot_kwargs: Any,
    ) -> LearningRateDisplay:
        """Fit clones of an estimator with every rate, and draw how far each got.

        Parameters
        ----------
        estimator : estimator
            A gdregress estimator, fitted or not; its ``max_iter`` is what every rate gets, its
            solver ``"gd"`` where it names none of descent. Full batches.
        X : array-like of shape (n_samples, n_features)
            Columns as the estimator is to see them: standardise them first.
        y : array-like of shape (n_samples,)
        rates : sequence of float, default=None
            The rates to try. None: multiples of 1 / lambda from 0.001 to 2.2.
        **plot_kwargs : dict
            The parameters of :meth:`plot`.

        Returns
        -------
        LearningRateDisplay
        """
        plain = clone(estimator).set_params(
            batch_size=None, early_stopping=False, schedule="constant", warm_start=False, tol=0.0
        )
        if isinstance(plain.solver, str) and plain.solver in {"auto", *plain._exact_solvers}:
            plain.set_params(solver="gd")
        exact = exact_fit(plain.set_params(tol=1e-6), X, y)
        plain.set_params(tol=0.0, store_path=True)
        with problem_of(exact, X, y, caller=_DISPLAY) as problem:
            curvature = problem.objective.bound.norm
        if rates is None:
            rates = np.array(_MULTIPLES) / curvature
        trials = [_trial(plain, X, y, float(rate), exact.loss_) for rate in sorted(rates)]
        return cls(trials, curvature, X, y).plot(**plot_kwargs)

    def plot(
        self,
        *,
        ax: Any = None,
        panels: bool = True,
        line_kwargs: Mapping[str, Any] | None = None,
        path_kwargs: Mapping[str, Any] | None = None,
    ) -> LearningRateDisplay:
        """Draw the curve, and the panels below it.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes for the curve alone. None: a new figure with panels.
        panels : bool, default=True
            Whether a figure of its own has the panels.
        line_kwargs, path_kwargs : dict, default=None
            Keywords of ``Axes.plot`` for the curve and for the iterates.

        Returns
        -------
        LearningRateDisplay
            The display itself.
        """
        chosen = self.scenarios()
        self.panels_: dict[str, DescentPathDisplay] = {}
        below: dict[str, Any] = {}
        if ax is None:
            plt = pyplot(_DISPLAY)
            if panels and chosen:
                mosaic = [["curve"] * len(chosen), list(chosen)]
                _, every = plt.subplot_mosaic(
                    mosaic, figsize=(9.6, 6.4), layout="constrained", height_ratios=[1.5, 1.0]
                )
                ax = every["curve"]
                below = {name: every[name] for name in chosen}
            else:
                ax = plt.subplots(layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        self._draw_curve(line_kwargs or {})
        colors = ordered_colors(ax, len(chosen))
        for color, (name, trial) in zip(colors, chosen.items(), strict=True):
            style = {"marker": "o", "markersize": 11, "markerfacecolor": "none"}
            place = 1.0 if trial.diverged else trial.gap
            transform = {"transform": ax.get_xaxis_transform()} if trial.diverged else {}
            ax.plot(trial.rate, place, color=color, markeredgewidth=2.0, **style, **transform)
            if name in below:
                self.panels_[name] = self._draw_panel(
                    below[name], name, trial, {"color": color} | dict(path_kwargs or {})
                )
        return self

    def scenarios(self) -> dict[str, RateTrial]:
        """One trial for each thing that a rate can do, as far as the trials show it."""
        steady = [trial for trial in self.trials if not trial.diverged]
        found: dict[str, RateTrial] = {}
        if steady:
            best = min(steady, key=lambda trial: trial.gap)
            slow = [trial for trial in steady if trial.rate < best.rate]
            wild = [trial for trial in steady if trial.rate > best.rate]
            # It moves, and does not arrive.
            if slow:
                found["too small"] = slow[len(slow) // 3]
            found["good"] = best
            if wild:
                found["too large"] = max(wild, key=lambda trial: trial.gap)
        gone = [trial for trial in self.trials if trial.diverged]
        if gone:
            found["diverging"] = gone[0]
        return found

    def _draw_curve(self, line_kwargs: Mapping[str, Any]) -> None:
        ax = self.ax_
        steady = [trial for trial in self.trials if not trial.diverged]
        gone = [trial.rate for trial in self.trials if trial.diverged]
        style = {"marker": "o", "markersize": 4, "linewidth": 1.6}
        rounding = np.finfo(float).eps
        ax.plot(
            [trial.rate for trial in steady],
            [max(trial.gap, rounding) for trial in steady],
            **style | dict(line_kwargs),
        )
        ax.set_xscale("log")
        ax.set_yscale("log")
        up = ax.get_xaxis_transform()
        if gone:
            ax.plot(gone, np.ones(len(gone)), "^", color=NEUTRAL, transform=up, clip_on=False)
            ax.annotate("diverged", (gone[-1], 1.0), xycoords=up, xytext=(0, 6),
                        textcoords="offset points", fontsize="small", ha="right")  # fmt: skip
        for multiple, name in ((1.0, "1/λ"), (2.0, "2/λ")):
            rate = multiple / self.curvature
            ax.axvline(rate, color=NEUTRAL, linestyle="--", linewidth=1.0, zorder=1)
            ax.annotate(
                f"{name} = {rate:.3g}",
                (rate, 0.02),
                xycoords=up,
                xytext=(-3, 0),
                textcoords="offset points",
                rotation=90,
                ha="right",
                va="bottom",
                fontsize="small",
            )
        n_iter = max(trial.model.n_iter_ for trial in self.trials)
        ax.set_xlabel("Learning rate η")
        ax.set_ylabel(f"(L − L*) / (L(start) − L*)\nafter {n_iter} iterations")
        quiet_grid(ax)

    def _draw_panel(
        self, ax: Any, name: str, trial: RateTrial, kwargs: dict[str, Any]
    ) -> DescentPathDisplay:
        """The first iterates of one rate, in the two principal directions."""
        display = DescentPathDisplay.from_estimator(
            trial.model, self.X, self.y, ax=ax, path_kwargs=kwargs, max_points=_PATH_STEPS
        )
        ax.get_legend().remove()
        ax.set_title(f"{name}: η = {trial.rate:.3g}", fontsize="medium")
        ax.tick_params(labelsize="x-small")
        ax.set_xlabel(ax.get_xlabel(), fontsize="small")
        ax.set_ylabel(ax.get_ylabel(), fontsize="small")
        return display


def _trial(plain: Any, X: Any, y: Any, rate: float, optimum: float) -> RateTrial:
    with warnings.catch_warnings():
        # What the rates do is what is drawn.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = clone(plain).set_params(learning_rate=rate).fit(X, y)
    curve = model.loss_curve_
    gap = float((curve[-1] - optimum) / (curve[0] - optimum)) if curve[0] > optimum else np.nan
    diverged = model.stop_reason_ is StopReason.DIVERGED or not gap <= 1.0
    return RateTrial(rate, gap, diverged, model)
