"""Settings shared by all tests."""

import pytest
from hypothesis import settings

from gdregress.rows.blocks import RowBlocks

# The same examples in every run, and no deadline: the suite must not depend on the machine's speed.
settings.register_profile("gdregress", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("gdregress")


@pytest.fixture
def passes(monkeypatch):
    """The passes over rows, as they are made: a list of (kernel's class, number of rows)."""
    seen, reduce = [], RowBlocks.reduce

    def counted(self, kernel, *args):
        seen.append((type(kernel), self.n_samples))
        return reduce(self, kernel, *args)

    monkeypatch.setattr(RowBlocks, "reduce", counted)
    return seen
