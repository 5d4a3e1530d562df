"""``gdregress predict``: the main job's other half."""

from __future__ import annotations

import argparse
import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score

from .cells import as_labels, as_numbers
from .columns import GAP, MISSING_LEVEL, typed
from .errors import InputError, listed
from .reading import RawTable, read
from .writing import load_model, whole_file

__all__ = ["predict"]


def predict(arguments: argparse.Namespace) -> None:
    """Predict a table with a saved model; words go to stderr, predictions to a file or stdout."""
    model = load_model(arguments.model)
    columns = model[0]
    header = arguments.header
    table = read(arguments.file, arguments)
    frame, notes = _matched(table, model, header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # unknown levels are told below
        predicted = _predictions(model, frame)
    notes += _gaps_and_levels(table, model, frame)
    notes += _scored(table, model, predicted)
    say = print_to_stderr
    say(f"read: {table.described}; {len(frame)} rows")
    for note in [*table.notes, *notes]:
        say(f"note: {note}")
    text = predicted.to_csv(index=False, lineterminator="\n")
    if arguments.output is None:
        sys.stdout.write(text)
        return
    with whole_file(arguments.output, "--output") as file:
        file.write_text(text, encoding="utf-8", newline="\n")
    say(f"predictions of {columns.target!r}: {arguments.output}")


def print_to_stderr(text: str) -> None:
    """A word to who watches, apart from the predictions."""
    sys.stderr.write(text + "\n")


def _matched(table: RawTable, model: Any, header: str | None) -> tuple[Any, list[str]]:
    """The columns of the model, by name; by place where the file has no header."""
    columns, frame = model[0], table.frame
    wanted = list(columns.kinds)
    has_names = table.dialect is None or table.dialect.has_header
    notes = [] if has_names or columns.places is None else _placed(table, columns)
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        no_header = not has_names and header is None
        hint = "; the file seems to have no header, --header first takes its first line for one"
        raise InputError(
            f"{table.source.shown} lacks {listed(missing)}, which the model needs; it has"
            f" {listed(list(frame.columns))}{hint if no_header else ''}"
        )
    extra = [name for name in frame.columns if name not in wanted and name != columns.target]
    if extra:
        notes.append(f"not used by the model: {', '.join(extra[:10])}{', …' if extra[10:] else ''}")
    return frame, notes


def _placed(table: RawTable, columns: Any) -> list[str]:
    """Name the columns of a file without a header as in that of the fit, which had none."""
    places = columns.places
    without = [name for name in places if name != columns.target]
    found = table.frame.shape[1]
    if found == len(places):
        table.frame.columns = places
        return []
    if found != len(without):
        raise InputError(
            f"{table.source.shown} has {found} columns without names, where the table of the fit"
            f" had {len(places)} with the target, {len(without)} without"
        )
    table.frame.columns = without
    return [f"the columns are taken for those of the fit without the target, {columns.target}"]


def _predictions(model: Any, frame: Any) -> Any:
    name = model[0].target
    predicted = model.predict(frame)
    result = pd.DataFrame({f"predicted {name}": predicted})
    if is_classifier(model):
        for label, column in zip(model.classes_, model.predict_proba(frame).T, strict=True):
            result[f"probability {label}"] = column
    return result


def _gaps_and_levels(table: RawTable, model: Any, frame: Any) -> list[str]:
    """What is filled in, and levels that the fit has not seen."""
    notes, levels = [], _levels(model)
    for name, kind in model[0].kinds.items():
        values = typed(frame[name], kind)
        gaps = values.isna().to_numpy()
        unread = gaps & frame[name].notna().to_numpy()
        if unread.any():
            row = int(np.flatnonzero(unread)[0])
            notes.append(
                f"{name}: {unread.sum()} cell(s) are no {kind.split()[0]} and count as gaps,"
                f" {str(frame[name].iloc[row])[:30]!r} in {table.line(row)} first"
            )
        elif gaps.any() and kind != "category":
            notes.append(f"{name}: {gaps.sum()} gap(s) become the median of the rows fitted")
        if name not in levels:
            continue
        known, has_rare = levels[name]
        strange = [v for v in values.fillna(GAP).unique() if v not in known]
        if strange:
            count = "the rare ones" if has_rare else f"{min(known)!r}, the level of reference"
            shown = [MISSING_LEVEL if level == GAP else level for level in strange]
            notes.append(f"{name}: the fit has not seen {listed(shown, 4)}; counted as {count}")
    return notes


def _levels(model: Any) -> dict[str, tuple[set[str], bool]]:
    """For each category the levels that the fit saw, and whether it pooled rare ones."""
    found = {}
    for name, step, columns in model["prepare"].transformers_:
        if name == "categories":
            encoder = step["levels"]
            rare = encoder.infrequent_categories_
            for column, levels, pooled in zip(columns, encoder.categories_, rare, strict=True):
                found[column] = (set(map(str, levels)), pooled is not None)
    return found


def _scored(table: RawTable, model: Any, predicted: Any) -> list[str]:
    """Where the file has the target: how good the predictions are."""
    target = model[0].target
    if target not in table.frame.columns:
        return []
    column = table.frame[target]
    known = column.notna().to_numpy()
    guess = predicted.iloc[:, 0].to_numpy()[known]
    if known.sum() < 2:
        return []
    if is_classifier(model):
        score = accuracy_score(as_labels(column)[known].astype(str), guess.astype(str))
        return [f"the file has the target: accuracy {score:.4f} on {known.sum()} rows"]
    numbers = as_numbers(column, ".").to_numpy(dtype=float)[known]
    usable = np.isfinite(numbers)
    if usable.sum() < 2:
        return []
    score = r2_score(numbers[usable], guess[usable])
    return [f"the file has the target: R² {score:.4f} on {usable.sum()} rows"]
