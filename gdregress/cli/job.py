"""From a table to the fits: read, understand the target, prepare the columns, fit."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from .arguments import BUNDLED
from .cells import as_labels
from .columns import TableColumns, preparation
from .errors import InputError, listed
from .fitting import Fit, Search, Study
from .inference import Coefficients, coefficients
from .kinds import Column, decide, leaks, rare_below, without_repetitions
from .reading import RawTable, read
from .target import Target, find_column, understand

__all__ = ["Prepared", "Result", "prepare", "run", "study_of"]


@dataclass
class Prepared:
    """A table, its target and what each column became."""

    name: str
    origin: str
    table: RawTable
    target: Target
    columns: list[Column]
    rows: Any
    weights: np.ndarray | None
    groups: np.ndarray | None
    notes: list[str]

    @property
    def kinds(self) -> dict[str, str]:
        """The columns in use, as ``TableColumns`` takes them."""
        return {column.name: column.kind for column in self.columns if column.kind is not None}


@dataclass
class Result:
    """All that was fitted."""

    prepared: Prepared
    study: Study
    exact: Fit
    descents: list[Fit]
    search: Search | None
    whole: Fit
    coefficients: Coefficients


@dataclass
class _Wanted:
    columns: set[str]
    categorical: set[str]


class _Bundled:
    """One of scikit-learn's data sets in the place of a source."""

    def __init__(self, name: str) -> None:
        self.name, self.shown = name, name


def _load_bundled(arguments: argparse.Namespace) -> tuple[RawTable, str, str]:
    name = arguments.data
    if arguments.target is not None or arguments.task != "auto":
        raise InputError(f"--target and --task are for files; {name} has its own")
    bunch = getattr(datasets, f"load_{name}")()
    features = [str(feature) for feature in bunch.feature_names]
    frame = pd.DataFrame(bunch.data, columns=features)
    if BUNDLED[name] == "classification":
        frame["target"] = np.asarray(bunch.target_names)[bunch.target].astype(str).astype(object)
    else:
        frame["target"] = bunch.target
    table = RawTable(_Bundled(name), frame, "bundled with scikit-learn", [])  # type: ignore[arg-type]
    return table, "target", BUNDLED[name]


def prepare(arguments: argparse.Namespace) -> Prepared:
    """Read the table that the command line names and decide what its columns are."""
    if arguments.data in BUNDLED:
        table, name, task = _load_bundled(arguments)
    else:
        table = read(arguments.data, arguments)
        if arguments.target is None:
            names = list(table.frame.columns)
            raise InputError(
                f"--target is needed with {table.source.shown}; its columns are {listed(names, 12)}"
            )
        name, task = find_column(table, arguments.target, "--target"), arguments.task
    target = understand(table, name, task)
    weights, groups, taken = _weights_and_groups(table, target, arguments)
    rows = table.frame.iloc[target.rows]
    columns = _decide_columns(table, target, rows, arguments, taken)
    notes = list(table.notes)
    notes += [f"target {target.name}: {note}" for note in target.notes]
    for column in leaks(rows, columns, target.y, target.task):
        notes.append(
            f"{column!r} determines the target: if it is known only afterwards, --drop {column!r}"
        )
    return Prepared(
        table.source.name, table.described, table, target, columns, rows, weights, groups, notes
    )


def _split_names(table: RawTable, lists: Sequence[str], option: str) -> list[str]:
    """The columns that an option names; a name may hold a comma itself."""
    found: list[str] = []
    for text in lists:
        if text in table.frame.columns:
            found.append(text)
            continue
        found += [
            find_column(table, part.strip(), option) for part in text.split(",") if part.strip()
        ]
    return found


def _decide_columns(
    table: RawTable, target: Target, rows: Any, arguments: argparse.Namespace, taken: set[str]
) -> list[Column]:
    wanted = _split_names(table, arguments.columns, "--columns")
    dropped = set(_split_names(table, arguments.drop, "--drop"))
    categorical = set(_split_names(table, arguments.categorical, "--categorical"))
    for option, names in [
        ("--columns", wanted),
        ("--drop", dropped),
        ("--categorical", categorical),
    ]:
        if target.name in names:
            raise InputError(f"{option} names the target {target.name!r}")
    features = [name for name in table.frame.columns if name != target.name and name not in taken]
    asked = [name for name in features if (not wanted or name in wanted) and name not in dropped]
    if not asked:
        raise InputError(
            f"no column but the target {target.name!r} is left in {table.source.shown}"
        )
    columns = decide(table, rows, asked, _Wanted(set(wanted), categorical))
    columns = without_repetitions(rows, columns)
    if not any(column.kind for column in columns):
        why = "; ".join(f"{column.name!r}: {column.words}" for column in columns[:3])
        raise InputError(
            f"no column of {table.source.shown} is left to fit {target.name!r} on: {why}"
            " (--columns NAME uses it)"
        )
    told = [Column(name, None, "--drop") for name in table.frame.columns if name in dropped]
    return columns + told


def _weights_and_groups(
    table: RawTable, target: Target, arguments: argparse.Namespace
) -> tuple[np.ndarray | None, np.ndarray | None, set[str]]:
    """The columns of --weights and --groups; rows without them are left out of the target."""
    taken: dict[str, str] = {}
    for option in ("weights", "groups"):
        if getattr(arguments, option) is not None:
            name = find_column(table, getattr(arguments, option), f"--{option}")
            if name == target.name or name in taken.values():
                raise InputError(f"--{option} {name!r} is in use as another column already")
            taken[option] = name
    if not taken:
        return None, None, set()
    known = table.frame.iloc[target.rows][list(taken.values())].notna().all(axis=1).to_numpy()
    if not known.all():
        target.notes.append(
            f"{int((~known).sum())} row(s) without {' or '.join(taken)} are left out"
        )
        target.rows, target.y = target.rows[known], target.y[known]
    rows = table.frame.iloc[target.rows]
    weights = groups = None
    if "weights" in taken:
        weights = _checked_weights(table, rows[taken["weights"]])
    if "groups" in taken:
        groups = as_labels(rows[taken["groups"]]).to_numpy().astype(str)
        if len(np.unique(groups)) < 2:
            raise InputError(f"--groups {taken['groups']!r} has one group only")
    return weights, groups, set(taken.values())


def _checked_weights(table: RawTable, column: Any) -> np.ndarray:
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        raise InputError(
            f"--weights {column.name!r} of {table.source.shown} is not a column of numbers"
        )
    weights = column.to_numpy(dtype=float)
    negative = np.flatnonzero(weights < 0)
    if len(negative):
        raise InputError(
            f"--weights {column.name!r}: {weights[negative[0]]:g} in"
            f" {table.line(int(column.index[negative[0]]))} is negative"
        )
    if not weights.any():
        raise InputError(f"--weights {column.name!r} of {table.source.shown} are all zero")
    return weights


def study_of(prepared: Prepared, arguments: argparse.Namespace) -> Study:
    """The prepared table, split and ready to be fitted."""
    dialect = prepared.table.dialect
    has_names = dialect is None or dialect.has_header
    places = None if has_names else [str(name) for name in prepared.table.frame.columns]
    columns = TableColumns(prepared.kinds, prepared.target.name, places)
    steps = preparation(columns, rare_below(len(prepared.rows)))
    return Study(
        prepared.rows,
        prepared.target.y,
        steps,
        prepared.target.task,
        alpha=arguments.alpha,
        iterations=arguments.iterations,
        weights=prepared.weights,
        groups=prepared.groups,
        seed=arguments.seed,
    )


def run(prepared: Prepared, arguments: argparse.Namespace, callbacks: Sequence[Any]) -> Result:
    """Make the fits of the main job."""
    study = study_of(prepared, arguments)
    study.fit()  # the first fit of a process loads libraries and starts threads: not to be timed
    exact = study.fit()
    descents = [
        study.fit(solver="gd", max_iter=study.long),
        study.fit(solver="nesterov", max_iter=study.long, tol=1e-12),
    ]
    search = study.search(exact, descents[0].model.learning_rate_, callbacks)
    whole = study.fit(on_all=True)
    return Result(prepared, study, exact, descents, search, whole, coefficients(study, whole))
