"""Runs of rows: the boundaries, the fold, the mini-batches and the samples."""

import os
import platform
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from gdregress.rows.blocks import RowBlocks
from gdregress.rows.containers import design_of
from gdregress.rows.frame import Frame
from gdregress.rows.kernels import Sum
from gdregress.rows.sampling import sample_rows


class Rows:
    """A kernel that lists the rows it was given: its combine does not commute."""

    def __call__(self, block):
        assert block.design.rows.dtype == np.float64
        X = block.design.dense()
        parts = [X, block.y, block.sample_weight[:, None]]
        return np.hstack(parts)

    @staticmethod
    def combine(total, part):
        return np.vstack([total, part])


class Shape:
    """The nesting of the fold, as text."""

    def __call__(self, block):
        return f"{block.design.n_rows}"

    @staticmethod
    def combine(total, part):
        return f"({total} {part})"


def table(n_rows, n_features=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features))
    return X, np.arange(n_rows)[:, None] + 0.0, rng.uniform(0, 1, n_rows)


@given(
    n_rows=st.integers(1, 300),
    block_rows=st.integers(1, 320),
    workers=st.integers(1, 3),
    is_sparse=st.booleans(),
)
def test_every_row_is_reduced_once_and_in_order(n_rows, block_rows, workers, is_sparse):
    X, y, weight = table(n_rows)
    blocks = RowBlocks(
        sparse.csr_matrix(X) if is_sparse else X, y, weight, workers, block_rows=block_rows
    )
    assert_array_equal(blocks.reduce(Rows()), np.hstack([X, y, weight[:, None]]))


@pytest.mark.parametrize("n_rows", [1, 31, 32, 33, 1000, 5000])
def test_the_fold_depends_on_the_shape_alone(n_rows):
    X, y, weight = table(n_rows)
    shapes = {
        RowBlocks(array, y, weight, workers, block_bytes=1).reduce(Shape())
        for array in (X, np.asfortranarray(X), X.astype(np.float32), X[:, ::-1])
        for workers in (1, 2, 3)
    }
    assert len(shapes) == 1


@pytest.mark.parametrize("block_bytes", [1, 1000, 10**6])
def test_blocks_are_about_the_size_asked_for(block_bytes):
    sizes = RowBlocks(*table(5000), block_bytes=block_bytes).reduce(Shape())
    rows = [int(n) for n in sizes.replace("(", " ").replace(")", " ").split()]
    assert sum(rows) == 5000
    assert max(rows) * 3 * 8 <= max(block_bytes, 32 * 3 * 8)


def test_a_block_is_a_view_where_nothing_is_to_be_converted():
    X, y, weight = table(100)
    for array in (X, np.asfortranarray(X), X[::2]):
        block = RowBlocks(array, y[: len(array)], weight[: len(array)]).block(slice(10, 20))
        rows = block.design.rows
        assert np.shares_memory(rows, X) or np.shares_memory(rows, array)


def test_total_weight():
    X, y, weight = table(100)
    assert RowBlocks(X, y, weight).total_weight == pytest.approx(sum(weight), rel=1e-14)
    assert RowBlocks(X, y).total_weight == 100.0


# Mini-batches


def epoch(blocks, batch_size, seed=0):
    """The batches of one epoch as (X, y, weight), X without a column of ones."""
    found = []
    for batch in blocks.batches(np.random.default_rng(seed), batch_size):
        rows = batch.rows.dot(np.eye(blocks.n_features + 1))
        assert_array_equal(rows[:, -1], 1.0)
        found.append((rows[:, :-1], batch.y.copy(), batch.sample_weight))
    return found


@given(
    n_rows=st.integers(1, 120),
    batch_size=st.integers(1, 130),
    block_rows=st.integers(1, 150),
    workers=st.integers(1, 2),
    layout=st.sampled_from(["C", "F", "float32", "CSR"]),
)
def test_an_epoch_visits_every_row_once_with_its_own_target_and_weight(
    n_rows, batch_size, block_rows, workers, layout
):
    X, y, weight = table(n_rows)
    X = X.astype(np.float32)
    arrays = {"C": X.astype(float), "F": np.asfortranarray(X, dtype=float), "float32": X}
    arrays["CSR"] = sparse.csr_matrix(X)
    blocks = RowBlocks(arrays[layout], y, weight, workers, block_rows=block_rows)
    batches = epoch(blocks, batch_size)
    sizes = [len(batch[0]) for batch in batches]
    assert sizes == [batch_size] * (n_rows // batch_size) + [n_rows % batch_size] * (
        n_rows % batch_size > 0
    )
    X_seen, y_seen, weight_seen = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    rows = y_seen[:, 0].astype(int)
    assert_array_equal(np.sort(rows), np.arange(n_rows))
    assert_array_equal(X_seen, X[rows])
    assert_array_equal(weight_seen, weight[rows])


def test_the_order_of_an_epoch_depends_on_the_generator_alone():
    X, y, weight = table(100)
    orders = []
    for workers, block_rows, array in [(1, 7, X), (2, 7, X), (1, 100, np.asfortranarray(X))]:
        blocks = RowBlocks(array, y, weight, workers, block_rows=block_rows)
        orders.append(np.concatenate([batch[1] for batch in epoch(blocks, 8)]))
    assert_array_equal(orders[0], orders[1])
    assert_array_equal(orders[0], orders[2])
    other = np.concatenate([batch[1] for batch in epoch(RowBlocks(X, y, weight), 8, seed=1)])
    assert not np.array_equal(orders[0], other)


def test_batches_without_targets_and_weights():
    blocks = RowBlocks(table(10)[0])
    for batch in blocks.batches(np.random.default_rng(0), 4):
        assert batch.y is None
        assert batch.sample_weight is None


# Samples

SAMPLES = [(100, 10), (100, 33), (101, 50), (1000, 7), (10_007, 2000)]
each_sample = pytest.mark.parametrize(("n_rows", "n_sampled"), SAMPLES)


@each_sample
@pytest.mark.parametrize("is_sparse", [False, True])
def test_sampled_rows_are_sorted_unique_and_about_as_many_as_asked(n_rows, n_sampled, is_sparse):
    X = table(n_rows)[0]
    blocks = RowBlocks(sparse.csr_matrix(X) if is_sparse else X)
    rows, probability = sample_rows(blocks, n_sampled)
    assert len(rows) == len(probability)
    assert np.all(np.diff(rows) > 0)
    assert rows[0] >= 0
    assert rows[-1] < n_rows
    assert np.all((probability > 0) & (probability <= 1))
    assert n_sampled <= len(rows) <= 1.5 * n_sampled + 1


def test_the_sample_is_the_same_every_time():
    X = table(1000)[0]
    assert_array_equal(sample_rows(RowBlocks(X), 100)[0], sample_rows(RowBlocks(X.copy()), 100)[0])


@each_sample
def test_every_row_has_the_probability_that_is_claimed(n_rows, n_sampled):
    """Over seeds, row i is drawn with frequency pi_i; none is out of reach.

    Horvitz & Thompson (1952): only then is ``sum over the sample of t_i / pi_i`` an unbiased
    estimate of ``sum of t_i``.
    """
    blocks, n_draws = RowBlocks(np.ones((n_rows, 1))), 400
    frequency = np.zeros(n_rows)
    estimate = np.zeros(n_draws)
    total = np.arange(n_rows) + 1.0
    for draw in range(n_draws):
        rows, probability = sample_rows(blocks, n_sampled, seed=draw)
        frequency[rows] += 1 / n_draws / probability
        estimate[draw] = np.sum(total[rows] / probability)
    assert np.mean(frequency == 0) == 0 or n_draws * n_sampled < 20 * n_rows
    deviation = np.std(estimate) / np.sqrt(n_draws)
    error = float(abs(np.mean(estimate) - total.sum()))
    assert error < 4 * deviation + 1e-9 * total.sum()
    # The last rows stand for as much as the first.
    tail = n_rows // 20 + 1
    noise = np.sqrt(n_rows / n_sampled / n_draws / tail)
    assert abs(frequency[-tail:].mean() - 1) < 5 * noise
    assert abs(frequency[:tail].mean() - 1) < 5 * noise


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("n_ones", [1, 3, 15])
def test_a_rare_column_is_always_covered_with_certainty(is_sparse, n_ones):
    X = table(30_000)[0]
    rare = np.random.default_rng(1).choice(30_000, n_ones, replace=False)
    X[:, 1] = 0.0
    X[rare, 1] = 1.0
    rows, probability = sample_rows(RowBlocks(sparse.csr_matrix(X) if is_sparse else X), 3000)
    assert np.isin(rare, rows).all()
    assert_array_equal(probability[np.isin(rows, rare)], 1.0)
    assert_array_equal(probability[~np.isin(rows, rare)], probability.min())
    assert np.all(np.diff(rows) > 0)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_many_rare_columns_are_all_covered(is_sparse):
    """A column with one value for every few rows, such as a postcode: none may go missing."""
    n_rows, n_levels = 20_000, 500
    levels = np.arange(n_rows) * n_levels // n_rows  # 40 rows each
    X = np.eye(n_levels, dtype=np.float32)[levels]
    X = np.column_stack([X, np.isin(np.arange(n_rows), [5, 77, 10_003])])
    blocks = RowBlocks(sparse.csr_matrix(X) if is_sparse else X)
    rows, _ = sample_rows(blocks, 2000)
    missing = np.flatnonzero(np.asarray(abs(X[rows]).sum(axis=0)).ravel() == 0)
    assert list(missing) == []


@pytest.mark.parametrize("usual", [0.0, -0.013, 7.0])
def test_a_rare_level_is_rare_whatever_the_others_are(usual):
    """A standardised one-hot column has no zeros, but one value nearly everywhere."""
    X = table(30_000)[0]
    rare = np.array([3, 12_000, 29_998])
    X[:, 1] = usual
    X[rare, 1] = 76.0
    rows, probability = sample_rows(RowBlocks(X), 3000)
    assert np.isin(rare, rows).all()
    assert_array_equal(probability[np.isin(rows, rare)], 1.0)


@pytest.mark.parametrize("n_rare", [2, 100, 900])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_rare_class_has_half_of_an_equal_share_of_a_sample_or_all_its_rows(n_rare, weighted):
    X = table(30_000)[0]
    y = np.zeros((30_000, 1), dtype=np.intp)
    y[::2] = 1
    rare = np.random.default_rng(2).choice(30_000, n_rare, replace=False)
    y[rare] = 2
    weight = None
    if weighted:  # a row without weight is no row
        weight = np.ones(30_000)
        weight[rare[0]] = 0.0
        rare = rare[1:]
    rows, probability = sample_rows(RowBlocks(X, y, weight), 2400, 3)
    drawn = np.isin(rows, rare)
    assert np.all(np.diff(rows) > 0)
    assert drawn.sum() == min(len(rare), 400)
    for share in (drawn, y[rows, 0] == 0, y[rows, 0] == 1):  # each stands for its class
        k = y[rows[share][0], 0]
        weighing = (y[:, 0] == k) & (True if weight is None else weight > 0)
        assert_allclose(np.sum(1 / probability[share]), weighing.sum(), rtol=0.1)


def test_a_subset_has_its_own_rows_targets_and_weights():
    X, y, weight = table(50)
    rows, factor = np.array([3, 4, 40]), np.array([2.0, 1.0, 5.0])
    for array in (X, sparse.csr_matrix(X)):
        subset = RowBlocks(array, y, weight).subset(rows, factor)
        expected = np.hstack([X[rows], y[rows], (weight[rows] * factor)[:, None]])
        assert_array_equal(subset.reduce(Rows()), expected)
        assert_array_equal(RowBlocks(array, y).subset(rows, factor).sample_weight, factor)


def test_subset_weights_sum_to_the_total_in_expectation():
    """Each weight divided by its probability: without weights their sum is the number of rows."""
    blocks = RowBlocks(np.ones((10_007, 1)))
    rows, probability = sample_rows(blocks, 2000)
    assert_allclose(blocks.subset(rows, 1 / probability).total_weight, 10_007, rtol=1e-3)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how another libc keeps memory")
def test_passes_over_the_rows_use_their_memory_again():
    script = textwrap.dedent("""
        import resource

        import numpy as np

        from gdregress.rows.blocks import RowBlocks

        class EightVectors:
            def __call__(self, block):
                return sum([np.ones(block.design.n_rows) for _ in range(8)]).sum()

        def faults():
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

        blocks = RowBlocks(np.zeros((32_768, 1)))
        for _ in range(3):
            blocks.reduce(EightVectors())
        before = faults()
        for _ in range(20):
            blocks.reduce(EightVectors())
        print(faults() - before)
    """)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # a vector is 64 pages of memory


class Designs(Sum):
    """The designs of all blocks, in order."""

    def __call__(self, block):
        return [block.design]


def sparse_rows(n_rows, n_columns, density, dtype=np.float64, seed=0):
    return sparse.random_array(
        (n_rows, n_columns), density=density, format="csr", dtype=dtype, rng=seed
    )


def are_kept(blocks):
    first, second = blocks.reduce(Designs()), blocks.reduce(Designs())
    assert len(first) == len(second) > 1
    return all(a is b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_of_sparse_rows_are_kept_where_they_copy_little(workers, monkeypatch):
    X = sparse_rows(200, 60, 0.5)
    assert are_kept(RowBlocks(X, workers=workers, block_rows=50))
    # Of single precision, or in another frame, they are copies.
    shift = Frame(np.ones(60), np.ones(60))
    monkeypatch.setattr("gdregress.rows.sparse.MAX_COPY_BYTES", 2**15)
    assert are_kept(RowBlocks(X, workers=workers, block_rows=50))
    assert not are_kept(RowBlocks(X, workers=workers, block_rows=50).in_frame(shift))
    assert not are_kept(RowBlocks(X.astype(np.float32), workers=workers, block_rows=50))
    assert not are_kept(RowBlocks(X, workers=workers, block_rows=1))  # many take memory, too


def test_blocks_of_sparse_rows_are_no_copies():
    """Nor are their transposes: SciPy would copy what is less than half of an array."""
    X = sparse_rows(200, 60, 0.5)
    for design in RowBlocks(X, block_rows=25).reduce(Designs()):
        for rows in (design.rows, design._columns):
            assert np.shares_memory(rows.data, X.data)
            assert np.shares_memory(rows.indices, X.indices)


def test_kept_blocks_are_those_of_their_frame_and_their_design():
    X = sparse_rows(200, 6, 0.5)
    blocks = RowBlocks(X, block_rows=50)
    coef = np.arange(1.0, 8.0)[:, None, None]
    plain = blocks.times(coef)
    shift = np.arange(6.0)
    moved = blocks.in_frame(Frame(shift, np.ones(6))).times(coef)
    assert_allclose(moved, plain - shift @ coef[:-1, 0, 0], rtol=1e-12, atol=1e-12)
    other = blocks.of_design(design_of(2.0 * X))
    assert_allclose(other.times(coef) - 7.0, 2.0 * (plain - 7.0), rtol=1e-12, atol=1e-12)
    assert_allclose(blocks.times(coef), plain, rtol=0.0)


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_outputs", "n_blocks"),
    [
        (4_000, 400, 1, 1),  # 160,000 entries: no work for two threads
        (4_000, 400, 3, 1),
        (4_000, 400, 4, 2),
        (4_000, 400, 7, 4),
        (4_000, 400, 1_000, 8),
        (4_000, 4_000, 1, 4),
        (400, 4_000, 100, 2),  # 40 entries for each sum over rows
        (40, 4_000, 1_000, 1),
        (40_000, 400, 1, 4),
    ],
)
def test_sparse_rows_are_cut_into_as_many_blocks_as_are_work_for_threads(
    n_rows, n_columns, n_outputs, n_blocks
):
    """Of one size, so that no thread waits for another."""
    columns = np.arange(n_columns // 10 * n_rows) * 10 % n_columns
    indptr = np.arange(0, len(columns) + 1, n_columns // 10)
    X = sparse.csr_array((np.ones(len(columns)), columns, indptr), shape=(n_rows, n_columns))
    rows = [d.n_rows for d in RowBlocks(X, n_outputs=n_outputs).reduce(Designs())]
    assert rows == [n_rows // n_blocks] * n_blocks


@pytest.mark.parametrize(
    ("n_rows", "n_outputs", "smaller"),
    [(20_000, 1, False), (20_000, 5, True), (20_000, 26, False), (5_000, 5, False)],
)
def test_blocks_of_several_outputs_stay_in_a_nearer_cache(n_rows, n_outputs, smaller):
    """Where one block does not hold all rows, and these store their zeros."""
    X = np.ones((n_rows, 50))
    usual, found = RowBlocks(X), RowBlocks(X, n_outputs=n_outputs)
    assert (found.block_rows < usual.block_rows) == smaller
    assert found.n_blocks >= usual.n_blocks == (2 if n_rows == 20_000 else 1)
