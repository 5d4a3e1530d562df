"""Tables as people write them, made on the spot: for the tests of the command line."""

import numpy as np

N_ROWS = 60


def columns(n=N_ROWS):
    """Two features and a target that follows them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n).round(3)
    k = rng.integers(0, 5, size=n)
    return {"x": x, "k": k, "y": (2 * x + k + 0.3 * rng.normal(size=n)).round(2)}


def groups(n=N_ROWS):
    """A label for each row."""
    return np.random.default_rng(1).choice(["red", "green", "blue"], size=n)


def text(table, delimiter=",", *, header=True, end="\n", cell=str, closing=""):
    """The columns as delimited text; `cell` writes a cell, `closing` ends a line."""
    lines = [delimiter.join(table)] if header else []
    lines += [delimiter.join(map(cell, row)) for row in zip(*table.values(), strict=True)]
    return end.join(line + closing for line in lines) + end


def decimal_comma(value):
    return str(value).replace(".", ",")
