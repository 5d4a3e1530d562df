"""Samples of the rows: a likeness of all, reproducible, that misses no column and no class."""

import numpy as np

__all__ = ["sample_rows"]

# A column with fewer entries than this in a sample is rare.
_RARE = 20
# So many rows of a sample show that no column is, in most tables.
_PILOT_ROWS = 1024
# So many rows tell the value that nearly all of a column have.
_MEDIAN_ROWS = 33


def sample_rows(blocks, n_rows, n_classes=None, *, seed=0):
    """Sorted indices of about `n_rows` rows and the probability that each had to be drawn.

    One row of each of `n_rows` runs of equal length, with a fixed `seed`: "exact" is
    reproducible. Rows that weigh nothing are passed over. Of each of `n_classes` classes, where
    y holds their codes, no fewer than half of an equal share are drawn, or all there are: a
    Hessian of the logistic losses is made of the rows that are not certain, and next to a rare
    class these are few. Columns nearly all of whose entries in the sample are the same are
    rare: the first rows that have others are taken too, with certainty.
    """
    generator = np.random.default_rng(seed)
    rows, probability = _one_of_each_run(blocks.n_weighing, n_rows, generator)
    if blocks.n_weighing < blocks.n_samples:
        rows = np.flatnonzero(blocks.sample_weight)[rows]
    if n_classes is not None:
        rows, probability = _with_rare_classes(blocks, rows, probability, n_classes, generator)
    enough = min(_RARE, n_rows // 2)
    usual = _usual_entries(blocks, rows)
    pilot = rows[:: max(1, n_rows // _PILOT_ROWS)]
    if _entries(blocks, pilot, usual).min(initial=enough) >= enough:
        return rows, probability
    rare = np.flatnonzero(_entries(blocks, rows, usual) < enough)
    if not len(rare):
        return rows, probability
    certain = _first_rows(blocks, rare, usual)
    kept = ~np.isin(rows, certain)
    rows = np.concatenate([rows[kept], certain])
    probability = np.concatenate([probability[kept], np.ones(len(certain))])
    order = np.argsort(rows, kind="stable")
    return rows[order], probability[order]


def _with_rare_classes(blocks, rows, probability, n_classes, generator):
    """More rows of the classes that have few in a sample."""
    wanted = len(rows) // (2 * n_classes)
    codes = blocks.y[:, 0]
    drawn = codes[rows]
    counts = np.bincount(drawn.astype(np.intp), minlength=n_classes)
    for k in np.flatnonzero(3 * counts < 2 * wanted):
        own = codes == k
        if blocks.sample_weight is not None:
            own &= blocks.sample_weight > 0.0
        own = np.flatnonzero(own)
        more, chance = _one_of_each_run(len(own), min(len(own), wanted), generator)
        others = drawn != k
        rows, drawn = np.append(rows[others], own[more]), np.append(drawn[others], codes[own[more]])
        probability = np.append(probability[others], chance)
    order = np.argsort(rows, kind="stable")
    return rows[order], probability[order]


def _usual_entries(blocks, rows):
    """What nearly all entries of a column are, if anything: zeros, or a median of some."""
    return blocks.design.take(rows[:: max(1, len(rows) // _MEDIAN_ROWS)]).usual()


def _entries(blocks, rows, usual):
    """The number of entries of every column in some rows that are not the usual one."""
    counts = np.zeros(blocks.n_features, dtype=np.int64)
    for begin in range(0, len(rows), blocks.block_rows):
        counts += blocks.design.take(rows[begin : begin + blocks.block_rows]).n_unusual(usual)
    return counts


def _first_rows(blocks, columns, usual):
    """The first rows that have an unusual entry in one of the columns."""
    seen = np.zeros(len(columns), dtype=np.intp)
    found = []
    for begin in range(0, blocks.n_samples, blocks.block_rows):
        end = min(begin + blocks.block_rows, blocks.n_samples)
        rows, places = blocks.design.part(begin, end).unusual(columns, usual)
        if blocks.sample_weight is not None:
            weighs = blocks.sample_weight[begin + rows] > 0.0
            rows, places = rows[weighs], places[weighs]
        order = np.argsort(places, kind="stable")
        counts = np.bincount(places, minlength=len(columns))
        # How many were there before, in the same column.
        before = np.arange(len(order)) + np.repeat(seen - np.cumsum(counts) + counts, counts)
        found.append(begin + np.unique(rows[order[before < _RARE]]))
        seen += counts
        if seen.min() >= _RARE:
            break
    return np.concatenate(found)


def _one_of_each_run(n_rows, n_drawn, generator):
    """One of each of `n_drawn` runs of equal length, and the probability of each."""
    edges = np.arange(n_drawn + 1) * n_rows // n_drawn
    length = np.diff(edges)
    return edges[:-1] + (generator.random(n_drawn) * length).astype(np.intp), 1.0 / length
