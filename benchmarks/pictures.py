"""The two pictures of the page: ratios of every table, and suboptimality against time."""

import math

import numpy as np

from .report import best_ratios, thread_text

FORMS = {"raw": "tab:blue", "standardised": "tab:orange", "sparse": "tab:green"}
STRENGTHS = {"1/m": "o", "1e-3": "s", "": "o"}
# Of any peer, in every panel the same.
COLOURS = {
    "gdregress": "black",
    "newton-cholesky": "tab:blue",
    "lbfgs": "tab:orange",
    "newton-cg": "tab:green",
    "liblinear": "tab:red",
    "sag": "tab:pink",
    "saga": "tab:brown",
    "scikit-learn-intelex lbfgs": "tab:olive",
    "glum irls": "tab:purple",
    "skglm prox-newton": "tab:cyan",
}


def parts(case):
    """Name, form and alpha of a case: ``census, one-hot, raw, alpha 1/m``."""
    name, _, alpha = case.partition(", alpha ")
    for form in FORMS:
        if name.endswith(f", {form}"):
            return name.removesuffix(f", {form}"), form, alpha
    return name, "raw", alpha


def _pyplot():
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def draw_ratios(rows, groups, path):
    """A dot for every table and form: the nearest peer's time over ours, one panel a thread count.

    Returns whether there was anything to draw.
    """
    found = {group: best_ratios(rows, group) for group in groups}
    counts = list(dict.fromkeys(n for nearest in found.values() for n in nearest))
    names = [
        parts(case)[0]
        for group in groups
        for case in dict.fromkeys(c for cases in found[group].values() for c in cases)
    ]
    names = list(dict.fromkeys(names))[::-1]
    if not names:
        return False
    plt = _pyplot()
    size = (2.2 + 3.8 * len(counts), 1.5 + 0.32 * len(names))
    figure, axes = plt.subplots(1, len(counts), figsize=size, sharey=True, squeeze=False)
    for ax, count in zip(axes[0], counts):
        points = [item for group in groups for item in found[group].get(count, {}).items()]
        _dots(ax, points, names)
        ax.set_title(thread_text(count))
    handles = [
        plt.Line2D([], [], ls="", marker="o", color=colour, label=form)
        for form, colour in FORMS.items()
    ]
    handles += [
        plt.Line2D([], [], ls="", marker=marker, mfc="none", color="grey", label=f"α = {text}")
        for text, marker in STRENGTHS.items()
        if text
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False)
    figure.tight_layout(rect=(0, 0.9 / size[1] * 0.45, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _dots(ax, points, names):
    values = [row["value"] for _, row in points]
    low, high = min([0.5, *values]) / 1.25, max([2.0, *values]) * 1.25
    ax.axvspan(low, 1.0, color="tab:red", alpha=0.08, lw=0)
    ax.axvline(1.0, color="black", lw=0.8)
    shifts = dict(zip(FORMS, (0.18, 0.0, -0.18)))
    for case, row in points:
        name, form, alpha = parts(case)
        ax.plot(
            row["value"],
            names.index(name) + shifts[form],
            marker=STRENGTHS.get(alpha, "o"),
            color=FORMS[form],
            mfc=FORMS[form] if alpha != "1e-3" else "white",
            ms=5.5,
            ls="",
        )
    ax.set(xscale="log", xlim=(low, high), ylim=(-0.6, len(names) - 0.4))
    ax.set_xlabel("time of the fastest peer / time of gdregress")
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= t <= high]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(names)), names)
    ax.grid(color="0.9", lw=0.6)
    ax.set_axisbelow(True)


def draw_curves(curves, path):
    """Suboptimality against seconds, a panel for each case; whether there was anything to draw."""
    cases = list(dict.fromkeys(curve["case"] for curve in curves))
    if not cases:
        return False
    plt = _pyplot()
    columns = min(3, len(cases))
    lines = -(-len(cases) // columns)
    drawn = {_short(curve["label"]) for curve in curves}
    entries = max(2, round(1.35 * columns))  # of the legend side by side
    legend = 0.22 * -(-len(drawn) // entries) + 0.15
    size = (max(3.6 * columns, 4.4), 2.8 * lines + legend)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False)
    for ax, case in zip(axes.flat, cases):
        _panel(ax, case, [curve for curve in curves if curve["case"] == case])
    for ax in axes.flat[len(cases) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("(L − L*) / (L(0) − L*)")
    for column in range(columns):
        last = [ax for ax in axes[:, column] if ax.axison][-1]
        last.set_xlabel("seconds")
    handles = [
        plt.Line2D([], [], color=colour, label=label, lw=2.5 if label == "gdregress" else 1.2)
        for label, colour in COLOURS.items()
        if label in drawn
    ]
    figure.legend(handles=handles, loc="lower center", ncols=entries, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, legend / size[1], 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _panel(ax, case, curves):
    for curve in curves:
        label = _short(curve["label"])
        seconds, gaps = np.array(curve["seconds"]), np.array(curve["suboptimality"])
        order = np.argsort(seconds)
        # Rounding leaves nothing to see below; a peer is shown by the best it had by then.
        gaps = np.minimum.accumulate(np.maximum(gaps[order], 1e-12))
        ours = label == "gdregress"
        style = {"lw": 2.5, "zorder": 3} if ours else {"lw": 1.2, "marker": ".", "ms": 5}
        ax.loglog(seconds[order], gaps, color=COLOURS.get(label, "grey"), **style)
    ax.axhline(1e-8, color="grey", lw=0.8, ls=":")
    powers = np.log10(np.concatenate([curve["seconds"] for curve in curves]))
    decades = np.arange(math.floor(powers.min()), math.ceil(powers.max()) + 1.0)
    ax.set_xlim(10.0 ** decades[0], 10.0 ** decades[-1])
    ax.set_xticks(10.0**decades, [f"{10.0**power:g}" for power in decades])
    ax.set_ylim(3e-13, 3.0)
    ax.set_yticks([1e-12, 1e-8, 1e-4, 1.0])
    ax.set_title(case.replace(", alpha 1/m", ""), fontsize=9.5)
    ax.tick_params(labelsize=8.5)
    ax.grid(color="0.9", lw=0.6)


def _short(label):
    return label.removeprefix("scikit-learn ")
