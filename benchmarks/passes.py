"""How often a fit of gdregress reads its rows: evidence that no clock disturbs."""

from collections import Counter
from contextlib import contextmanager

from gdregress.rows.blocks import RowBlocks

# Kernels that form a matrix from the rows; all others cost about what a gradient costs, or less.
MATRICES = {"Hessian", "Expansion", "Moments", "CurvedGrams", "GramsAlongAxes", "RFactor"}


@contextmanager
def counted(problem):
    """Yields a counter of ``passes`` and ``matrices``, in shares of all rows and columns."""
    counts, plain = Counter(), RowBlocks.reduce
    whole = problem.n_samples * problem.n_features

    def reduce(blocks, kernel, *args):
        name = "matrices" if type(kernel).__name__ in MATRICES else "passes"
        counts[name] += blocks.n_samples * blocks.n_features / whole
        return plain(blocks, kernel, *args)

    RowBlocks.reduce = reduce
    try:
        yield counts
    finally:
        RowBlocks.reduce = plain
