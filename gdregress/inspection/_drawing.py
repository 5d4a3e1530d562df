"""What the displays share: axes to draw into, colours that carry an order, legends beside the data.

matplotlib is imported here, when something is drawn, and nowhere at the top of a module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

__all__ = [
    "NEUTRAL",
    "curve_styles",
    "final_estimator",
    "is_dark",
    "keyword_sets",
    "legend_beside",
    "line_styles",
    "named_estimators",
    "new_axes",
    "ordered_colors",
    "pyplot",
    "quiet_grid",
    "transformed",
]

# Solid lines are easiest to follow; beyond four, colour has to tell.
_LINE_STYLES = ("-", (0, (6, 2)), (0, (6, 2, 1.2, 2)), (0, (1.2, 1.5)))
# Reference lines and marks that belong to no curve: legible on white and on black.
NEUTRAL = "0.5"


def pyplot(display: str) -> Any:
    """``matplotlib.pyplot``, or an ImportError that says how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{display}.plot needs matplotlib; install it with"
            ' `python -m pip install "gdregress[plot]"`'
        ) from error
    return plt


def new_axes(display: str, ax: Any = None, **figure_kwargs: Any) -> Any:
    """The axes given, or those of a new figure whose layout makes room for what stands outside."""
    plt = pyplot(display)
    if ax is not None:
        return ax
    return plt.subplots(layout="constrained", **figure_kwargs)[1]


def is_dark(ax: Any) -> bool:
    """Whether the axes are nearer to black than to white."""
    from matplotlib.colors import to_rgb

    # Relative luminance (ITU-R BT.709), without the gamma: it only has to tell dark from light.
    return float(np.dot(to_rgb(ax.get_facecolor()), (0.2126, 0.7152, 0.0722))) < 0.5


def ordered_colors(ax: Any, n_colors: int) -> list[Any]:
    """Colours whose lightness grows (on dark axes falls) with an ordered quantity.

    Cut from viridis, which is monotone in lightness and safe for all common kinds of colour
    blindness (Smith & van der Walt 2015), where it stands out from the axes.
    """
    import matplotlib as mpl

    first, last = (1.0, 0.35) if is_dark(ax) else (0.0, 0.82)
    colormap = mpl.colormaps["viridis"]
    return [colormap(float(place)) for place in np.linspace(first, last, n_colors)]


def line_styles(n_lines: int) -> list[Any]:
    """Line styles of which neighbours always differ."""
    return [_LINE_STYLES[number % len(_LINE_STYLES)] for number in range(n_lines)]


def curve_styles(ax: Any, curves: Sequence[Any]) -> list[dict[str, Any]]:
    """Line styles of loss curves, and colours in the order of the learning rate.

    Fits by one solver whose rates all differ are a sweep over the rate, and the colours say so;
    else the colours are those of the style in use.
    """
    n_curves = len(curves)
    styles: list[dict[str, Any]] = [{} for _ in curves]
    if n_curves == 1:
        return styles
    rates = np.array([curve.learning_rate for curve in curves])
    differ = np.isfinite(rates).all() and len(np.unique(rates)) == n_curves
    ordered = differ and len({curve.solver for curve in curves}) == 1
    order = np.argsort(rates, kind="stable") if ordered else np.arange(n_curves)
    colors, dashes = ordered_colors(ax, n_curves), line_styles(n_curves)
    for place, index in enumerate(order):
        styles[index]["linestyle"] = dashes[place]
        if ordered:
            styles[index]["color"] = colors[place]
    return styles


def quiet_grid(ax: Any) -> None:
    """Grid lines behind the data, fainter than any of it."""
    ax.set_axisbelow(True)
    ax.grid(visible=True, which="major", alpha=0.25, linewidth=0.6)


def legend_beside(ax: Any, **kwargs: Any) -> Any:
    """A legend that covers no curve, where the layout of the figure makes room for it.

    At the right of several curves in a picture of their own, else below; inside, where the figure
    has no layout engine and would cut it off. Long entries take two lines.
    """
    from matplotlib.transforms import ScaledTranslation

    figure = ax.figure
    if figure.get_layout_engine() is None:
        place: dict[str, Any] = {"loc": "best"}
    elif len(figure.axes) == 1 and len(ax.get_legend_handles_labels()[1]) > 1:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    else:
        below = ax.transAxes + ScaledTranslation(0.0, -34 / 72, figure.dpi_scale_trans)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "bbox_transform": below}
    handles, labels = ax.get_legend_handles_labels()
    labels = [_in_two_lines(label) for label in labels]
    look = {"handles": handles, "labels": labels, "fontsize": "small", "frameon": False}
    return ax.legend(**look | place | kwargs)


def _in_two_lines(label: str) -> str:
    """A long label, broken before the parenthesis that ends it."""
    name, parenthesis, rest = label.rpartition(" (")
    return f"{name}\n({rest}" if parenthesis and len(label) > 36 else label


def keyword_sets(
    name: str, kwargs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None, n_sets: int
) -> list[dict[str, Any]]:
    """One dictionary of keywords for each curve, from one for all or from a list."""
    if kwargs is None:
        return [{} for _ in range(n_sets)]
    if isinstance(kwargs, Mapping):
        return [dict(kwargs) for _ in range(n_sets)]
    if len(kwargs) != n_sets:
        raise ValueError(
            f"{name} must be one dictionary, or a list with one for each of the {n_sets} curves;"
            f" got {len(kwargs)}"
        )
    return [dict(each) for each in kwargs]


def named_estimators(
    display: str, estimators: Mapping[str, Any] | Iterable[Any]
) -> list[tuple[str | None, Any]]:
    """Pairs of name and estimator, the name None where a list gives none."""
    if isinstance(estimators, Mapping):
        named: list[tuple[str | None, Any]] = list(estimators.items())
    else:
        named = [(None, estimator) for estimator in estimators]
    if not named:
        raise ValueError(f"estimators is empty: {display} needs at least one estimator")
    return named


def final_estimator(display: str, estimator: Any) -> Any:
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
                f"{display} draws the history_ that gdregress estimators record;"
                f" {type(model).__name__} has none"
            )
    return model


def transformed(estimator: Any, X: Any) -> Any:
    """X as the last step of a fitted Pipeline (or of the best of a search) sees it."""
    if hasattr(estimator, "best_estimator_"):
        return transformed(estimator.best_estimator_, X)
    if hasattr(estimator, "steps"):
        return estimator[:-1].transform(X) if len(estimator.steps) > 1 else X
    return X
