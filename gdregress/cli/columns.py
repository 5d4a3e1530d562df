"""The first steps of the pipeline: raw columns to typed ones, and typed ones to numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from .cells import as_dates, as_labels, as_numbers

__all__ = ["GAP", "RARE", "TableColumns", "level_name", "preparation", "shown_name"]

# A gap is a level of its own. The mark comes after all letters: the first level in order is the one
# of reference, which a gap should not be.
GAP, MISSING_LEVEL = "∅", "(missing)"
RARE = "(rare)"
MOST_LEVELS = 30


class TableColumns(TransformerMixin, OneToOneFeatureMixin, BaseEstimator):
    """Columns as they stand in a file, as numbers and labels: nothing is learned from the rows.

    Parameters
    ----------
    kinds : dict of {str: str}
        For each column to keep, in order: ``"number"`` or ``"number ,"`` (with a decimal comma;
        currency, percent and group marks are read past), ``"date FORMAT"`` as in ``strptime``
        (years and their fraction; hours where the format has no date), or ``"category"``.
    target : str, default=None
        The column that the model at the end of the pipeline predicts.
    places : list of str, default=None
        All columns of the file, in order, where it had no header: ``gdregress predict`` goes by
        them.

    Examples
    --------
    >>> import pandas as pd
    >>> from gdregress.cli.columns import TableColumns
    >>> table = pd.DataFrame({"price": ["$1,200", "$950"], "sold": ["2020-07-01", "2021-01-01"]})
    >>> TableColumns({"price": "number", "sold": "date %Y-%m-%d"}).fit_transform(table).round(2)
        price    sold
    0  1200.0  2020.5
    1   950.0  2021.0
    """

    def __init__(
        self,
        kinds: dict[str, str],
        target: str | None = None,
        places: list[str] | None = None,
    ) -> None:
        self.kinds = kinds
        self.target = target
        self.places = places

    def fit(self, X: Any, y: Any = None) -> TableColumns:
        """Note the columns.

        Parameters
        ----------
        X : DataFrame
            A table that has at least the columns of `kinds`.
        y : None
            Not used.
        """
        self._checked(X)
        self.feature_names_in_ = pd.Index(self.kinds).to_numpy(dtype=object)
        self.n_features_in_ = len(self.kinds)
        return self

    def _checked(self, X: Any) -> Any:
        if not isinstance(X, pd.DataFrame):
            raise TypeError(f"TableColumns takes a pandas DataFrame; got {type(X).__name__}")
        missing = [name for name in self.kinds if name not in X.columns]
        if missing:
            raise ValueError(f"the table lacks column(s) {', '.join(map(repr, missing))}")
        return X

    def transform(self, X: Any) -> Any:
        """The typed columns of `X`, in the order of `kinds`."""
        check_is_fitted(self)
        X = self._checked(X)
        return pd.DataFrame(
            {name: typed(X[name], kind) for name, kind in self.kinds.items()}, index=X.index
        )


def typed(column: Any, kind: str) -> Any:
    """One column as its kind says."""
    if kind == "category":
        return as_labels(column)
    word, _, detail = kind.partition(" ")
    return as_dates(column, detail) if word == "date" else as_numbers(column, detail or ".")


def level_name(column: str, level: Any) -> str:
    """The name of a prepared column that marks one level."""
    shown = {"infrequent_sklearn": RARE, GAP: MISSING_LEVEL}
    return f"{column}={shown.get(level, level)}"


def shown_name(name: str) -> str:
    """The name of a prepared column as it is shown."""
    return (
        f"{name.removeprefix('missingindicator_')} missing" if "missingindicator_" in name else name
    )


def preparation(columns: TableColumns, rare: int) -> list[Any]:
    """The steps that come before the regression, unfitted.

    Parameters
    ----------
    columns : TableColumns
        The first of them.
    rare : int
        Levels with fewer rows are pooled.
    """
    kinds = columns.kinds
    categories = [name for name, kind in kinds.items() if kind == "category"]
    numbers = [name for name in kinds if name not in categories]
    parts: list[Any] = []
    if numbers:
        imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        parts.append(("numbers", imputer, numbers))
    if categories:
        filled = SimpleImputer(strategy="constant", fill_value=GAP, keep_empty_features=True)
        encoder = OneHotEncoder(
            drop="first",
            categories="auto",
            min_frequency=rare,
            max_categories=MOST_LEVELS,
            handle_unknown="infrequent_if_exist",
            sparse_output=False,
            feature_name_combiner=level_name,
        )
        parts.append(("categories", Pipeline([("gaps", filled), ("levels", encoder)]), categories))
    prepare = ColumnTransformer(parts, verbose_feature_names_out=False)
    return [
        ("columns", columns),
        ("prepare", prepare),
        ("scale", StandardScaler()),
    ]
