"""``docs/benchmarks.md``, written from a run that was kept: no number on it is typed by hand."""

from pathlib import Path

from .pictures import draw_curves, draw_ratios, parts
from .report import (
    JUDGED,
    at_the_loosest,
    best_ratios,
    error_text,
    geometric_mean,
    means,
    quantity,
    thread_text,
)

TITLES = {
    "kinds": "Tables as people have them",
    "small": "Small tables",
    "tables": "Bundled and further tables",
    "logistic": "Logistic regression, Gaussian designs",
    "softmax": "Softmax, Gaussian designs",
    "sparse": "Sparse designs",
    "minibatch": "Mini-batches to 1 % of the optimum",
    "least_squares": "Exact least squares",
    "accuracy": "Accuracy of exact least squares",
    "memory": "Memory beyond X",
    "descent": "Gradient descent",
}
_FACTS = ("iterations", "passes", "matrices")
FITS = ("kinds", "small", "tables", "logistic", "softmax", "sparse")
TEXTS = {
    "kinds": (
        "Look-alikes of well-known public tables, with what makes those slow: levels of a handful "
        "of rows, columns that depend on each other, heavy tails, more columns than rows "
        "(`benchmarks/kinds.py`). α is the strength of the L2 penalty, m the number of rows."
    ),
    "small": "150 to 600 rows: what counts is what a call costs before it computes.",
    "minibatch": (
        "Seconds until the loss is within 1 % of the optimum, of all that a fit can gain: "
        'gdregress with `learning_rate="auto"`, untuned; `SGDClassifier` and `SGDRegressor` with '
        "the best of a grid of rates and schedules, and stopped at the best epoch, which nobody "
        "could know beforehand. Where no setting is there after 50 epochs, the three that came "
        "nearest go on up to 500; of one that is short of the accuracy even then the ratio is a "
        "lower bound. The last column compares the price of an epoch, that of gdregress with the "
        "loss of all rows after it."
    ),
}

_READING = """## How to read the tables

- **Ratio**: the peer's time over that of gdregress, the median over pairs that were run in turn;
  above 1 gdregress is faster. It is taken to the *nearest* peer: the one with the smallest ratio of
  those that reach the accuracy.
- **Accuracy**: every time is that of a fit to a suboptimality (L − L\\*) / (L(0) − L\\*) of at most
  1e-8, checked on the very result that was timed. Peers run at the loosest `tol` (in decades) that
  reaches it, which nobody could know beforehand; gdregress at the one that certifies it. **Tuned
  alike**: the ratio had gdregress run at the loosest that happens to reach it, too.
- **Passes**: how often gdregress read all rows, in shares of them; **matrices**: how often it
  formed a Hessian or Gram matrix of them. Counts, where other work on the machine plays no part.
- In the picture of the ratios, the shaded part left of 1 is where gdregress loses.

## How it is kept honest

- Every result is compared with a reference optimum, whose own loss, gradient and Hessian leave a
  Newton decrement below 1e-13; a result that is *better* than the reference stops the run.
- Both contenders run in one process, alternately, the order of a pair reversed from the last;
  limits on threads hold for both.
- No collection of garbage falls into a time, as in `timeit`, nor does one walk through all that is
  loaded right before it, which would leave the caches of the processor empty.
- Peers minimise the same objective: `C = 1 / (α m)`. liblinear penalises the intercept; it runs
  with `intercept_scaling=100` and counts where it reaches the common optimum all the same.
- Peers that are not installed, or that cannot be asked (more than two classes, sparse rows), are
  left out; nobody is left out for being fast.
- Rows that gdregress loses are on this page like all others.

[The README of the benchmarks](../benchmarks/README.md) says how each number comes about.
"""


def write_page(content, path):
    """Write the Markdown page of a run, and its pictures into ``images`` beside it."""
    path = Path(path)
    images = path.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = content["rows"]
    groups = [group for group in TITLES if any(row["group"] == group for row in rows)]
    sections = [_head(content), _verdict(rows)]
    if draw_ratios(rows, [g for g in ("kinds", "small") if g in groups], images / _RATIOS):
        sections.append(
            f"![Ratio of the fastest peer's time to that of gdregress, for every kind of table]"
            f"(images/{_RATIOS})"
        )
    if draw_curves(_chosen(content["curves"]), images / _CURVES):
        sections.append(_CURVES_TEXT)
    sections += [_section(group, rows) for group in groups]
    sections += [_losses(rows), _READING.strip(), _runs(content["runs"])]
    text = "\n\n".join(section for section in sections if section)
    path.write_text(text + "\n", encoding="utf-8")


_RATIOS, _CURVES = "benchmark-ratios.png", "benchmark-curves.png"
_CURVES_TEXT = f"""Suboptimality against time, standardised columns, α = 1/m. gdregress is drawn by
the history of one fit; each dot of a peer is a fit of its own, with another `tol`; the dotted line
is the accuracy at which times are compared.

![Suboptimality against seconds on standardised tables](images/{_CURVES})"""


def _head(content):
    quick = any(run["quick"] for run in content["runs"])
    lines = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks --from FILE --page docs/benchmarks.md` from the numbers",
        "of a run that is kept (see [the README of the benchmarks](../benchmarks/README.md)).",
    ]
    notes = dict.fromkeys(run["note"] for run in content["runs"] if run["note"])
    for note in notes:
        lines += ["", f"**{note}**"]
    if quick:
        lines += ["", "**From a trial run on small shapes: no figure of this page counts.**"]
    return "\n".join(lines)


def _verdict(rows):
    """What came out, in counts and means."""
    judged = [row for row in rows if row["figure"] and row["verdict"] in JUDGED]
    met = sum(row["verdict"] == "met" for row in judged)
    lines = ["## In short", "", f"- {met} of {len(judged)} figures are met."]
    for group in FITS:
        for threads, cases in best_ratios(rows, group).items():
            ratios = [row["value"] for row in cases.values()]
            behind = sum(ratio < 1.0 for ratio in ratios)
            loosest = [at_the_loosest(row) for row in cases.values()]
            lines.append(
                f"- {TITLES[group]}, {thread_text(threads)}: geometric mean of the ratio to the "
                f"nearest peer {geometric_mean(ratios):.2f} over {len(ratios)} tables, from "
                f"{min(ratios):.2f} to {max(ratios):.3g}; behind on {behind or 'none'}. "
                f"Tuned as the peers are: {geometric_mean(loosest):.2f}, from {min(loosest):.2f}."
            )
    return "\n".join([*lines, *(f"- Asked for: {text}" for text in means(rows))])


def _chosen(curves):
    """One case of each kind: standardised, or as it comes."""
    known = {curve["case"] for curve in curves}
    wanted = []
    for case in dict.fromkeys(curve["case"] for curve in curves):
        name, form, alpha = parts(case)
        standardised = f"{name}, standardised, alpha {alpha}"
        if alpha == "1/m" and (case == standardised or standardised not in known):
            if form == "raw" and f"{name}, sparse, alpha {alpha}" in known:
                continue
            wanted.append(case)
    return [curve for case in wanted for curve in curves if curve["case"] == case]


def _section(group, rows):
    rows = [row for row in rows if row["group"] == group]
    if group in FITS:
        table = _fits(rows, group)
    else:
        table = _epochs(rows) if group == "minibatch" else _plain(rows)
    return "\n\n".join(filter(None, [f"## {TITLES[group]}", TEXTS.get(group), table]))


def _fits(rows, group):
    """A line for each case: the nearest peer at every number of threads."""
    nearest = best_ratios(rows, group)
    counts = list(dict.fromkeys(row["threads"] for row in rows))
    columns = ["table", "rows × columns"]
    for count in counts:
        columns += [f"gdregress, {thread_text(count)}", "nearest peer", "ratio", "tuned alike"]
    lines = [[*columns, *_FACTS]]
    for case in dict.fromkeys(row["case"] for row in rows):
        of_case = [row for row in rows if row["case"] == case]
        cells = [case, of_case[0]["shape"]]
        for count in counts:
            cells += _times(nearest.get(count, {}).get(case), of_case, count)
        facts = next((row["facts"] for row in of_case if row["facts"]), {})
        lines.append([*cells, *(_number(facts.get(name)) for name in _FACTS)])
    return _markdown(lines)


def _times(row, of_case, count):
    """Ours, the nearest peer with its time, and the ratio; or the reason why there is none."""
    if row is None:
        here = [r for r in of_case if r["threads"] == count]
        ours = next((r["ours"] for r in here if r["ours"] is not None), None)
        return [quantity(ours, "s"), here[0]["verdict"] if here else "", "", ""]
    peer = row["peer"].removeprefix("scikit-learn ").partition(", tol")[0]
    theirs = quantity(row["theirs"], "s")
    ratio, alike = _ratio(row["value"]), _ratio(at_the_loosest(row))
    return [quantity(row["ours"], "s"), f"{peer} {theirs}", f"**{ratio}**", alike]


def _ratio(value):
    return f"{value:.2f}" if value < 9.95 else f"{value:.3g}"


def _epochs(rows):
    """Seconds and epochs of both sides to the accuracy, and what one epoch costs."""
    header = ("table", "threads", "gdregress", "epochs", "peer", "epochs", "ratio", "of one epoch")
    lines = [header]
    for row in rows:
        facts = row["facts"]
        reached = row["verdict"] in JUDGED
        lines.append(
            [
                row["case"],
                "" if row["threads"] is None else row["threads"],
                quantity(row["ours"], "s"),
                facts["epochs"],
                f"{row['peer']} {quantity(row['theirs'], 's')}",
                facts["their epochs"],
                f"**{row['value']:.2f}**" if reached else row["verdict"],
                f"{facts['epoch ratio']:.2f}",
            ]
        )
    return _markdown(lines)


def _plain(rows):
    """The rows as they were printed."""
    header = ("case", "gdregress", "peer", "peer's", "ratio", "asked", "verdict", "error", "peer's")
    lines = [header]
    for row in rows:
        figure = row["figure"]
        unit = figure["unit"] if figure else "×"
        value = "" if row["value"] is None else f"{row['value']:.3g} {unit}"
        asked = ""
        if figure:
            asked = f"{'≥' if figure['at_least'] else '≤'} {figure['bound']:g} {figure['unit']}"
        lines.append(
            [
                row["case"],
                quantity(row["ours"], row["unit"]),
                row["peer"],
                quantity(row["theirs"], row["unit"]),
                value,
                asked,
                row["verdict"],
                error_text(row["our_error"]),
                error_text(row["peer_error"]),
            ]
        )
    return _markdown(lines)


def _losses(rows):
    """Every row whose figure is not met, the worst first."""
    lost = [row for row in rows if row["figure"] and row["verdict"] == "NOT MET"]
    if not lost:
        return "## What is not met\n\nNothing that was measured."
    lost.sort(key=lambda row: row["value"] if row["figure"]["at_least"] else 1.0 / row["value"])
    lines = [["group", "case", "threads", "peer", "ratio", "pairs from … to", "asked"]]
    for row in lost:
        figure = row["figure"]
        spread = "" if not row["spread"] else "{:.2g} … {:.2g}".format(*row["spread"])
        lines.append(
            [
                row["group"],
                row["case"],
                "" if row["threads"] is None else str(row["threads"]),
                row["peer"],
                f"{row['value']:.3g}",
                spread,
                f"{'≥' if figure['at_least'] else '≤'} {figure['bound']:g} {figure['unit']}",
            ]
        )
    return f"## What is not met\n\n{_markdown(lines)}"


def _runs(runs):
    """Machine, versions, date and command of every instalment."""
    lines = ["## Machine, versions, commands"]
    for run in runs:
        facts = run["environment"]
        versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items() if v)
        lines += [
            "",
            f"{run['date']}, {', '.join(run['groups'])}: {facts['processor']}, {facts['cpus']} "
            f"CPUs, {facts['system']} {facts['machine']}, Python {facts['python']}; {versions}; "
            f"{_pools(facts['thread_pools'])}.",
            "",
            f"```sh\n{run['command']}\n```",
        ]
    return "\n".join(lines)


def _pools(pools):
    texts = (
        f"{pool['internal_api']} {pool['version'] or ''} {pool['architecture'] or ''}"
        for pool in pools
    )
    return ", ".join(dict.fromkeys(" ".join(text.split()) for text in texts))


def _number(value):
    return "" if value is None else f"{value:.3g}"


def _markdown(lines):
    """A table, its first line the header; bars in cells are escaped."""
    texts = ["| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines]
    rule = "|" + "|".join("---" for _ in lines[0]) + "|"
    return "\n".join([texts[0], rule, *texts[1:]])
