"""The verbs of a design, dense and sparse, in every frame, are what their formulas say."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from gdregress.rows.blocks import RowBlocks
from gdregress.rows.containers import design_of, stacked
from gdregress.rows.few import FewRows, of_few_rows
from gdregress.rows.frame import Frame

RNG = np.random.default_rng(0)
N_ROWS, N_FEATURES = 9, 3
FRAMES = {
    "identity": Frame.identity(3),
    "shifted": Frame(np.array([4.0, -2.0, 0.0]), np.ones(3)),
    "scaled": Frame(np.zeros(3), np.array([0.25, 1.0, 64.0])),
    "both": Frame(np.array([4.0, -2.0, 0.5]), np.array([0.125, 8.0, 2.0])),
}
CONTAINERS = {
    "dense": np.asarray,
    "F": np.asfortranarray,
    "F, cut": lambda X: np.asfortranarray(np.vstack([X, X]))[: len(X)],
    "float32": lambda X: X.astype(np.float32),
    "CSR": sparse.csr_matrix,
    "CSR array": sparse.csr_array,
    "few": FewRows,
}


@pytest.fixture(params=[(c, f) for c in CONTAINERS for f in FRAMES], ids="-".join)
def case(request):
    """A design of a block, and the plain rows ``[x~ 1]``."""
    container, frame = CONTAINERS[request.param[0]], FRAMES[request.param[1]]
    X = RNG.integers(-4, 5, (N_ROWS, N_FEATURES)) * 0.25
    design = frame.applied(design_of(container(X)).part(0, N_ROWS))
    A = np.column_stack([(X - frame.shift) / frame.scale, np.ones(N_ROWS)])
    return design, A


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def weight(request):
    return RNG.uniform(0, 2, N_ROWS) if request.param else None


def plain(s):
    return np.ones(N_ROWS) if s is None else s


@pytest.mark.parametrize(("n_models", "n_outputs"), [(1, 1), (1, 3), (4, 1), (2, 3)])
def test_times_and_pull(case, weight, n_models, n_outputs):
    design, A = case
    theta = RNG.standard_normal((N_FEATURES + 1, n_models, n_outputs))
    assert_allclose(design.times(theta), np.einsum("ij,jmk->imk", A, theta), atol=1e-13)
    assert_array_equal(design.times(np.zeros_like(theta)), np.zeros((N_ROWS, n_models, n_outputs)))
    r = RNG.standard_normal((N_ROWS, n_models, n_outputs))
    expected = np.einsum("ij,i,imk->jmk", A, plain(weight), r)
    assert_allclose(design.pull(r, weight), expected, atol=1e-12)
    squares = np.einsum("ij,i,imk->jmk", A**2, plain(weight), r)
    assert_allclose(design.pull_squares(r, weight), squares, rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("n_models", "n_outputs"), [(1, 3), (2, 3), (1, 20)])
def test_products_with_sparse_rows_that_are_many(frame, weight, n_models, n_outputs):
    """After some of them there is a copy of the rows by columns."""
    X = np.where(RNG.random((N_ROWS, N_FEATURES)) < 0.6, RNG.standard_normal((N_ROWS, 3)), 0.0)
    X[:, 1] = 0.0
    block = design_of(sparse.csr_array(X)).part(0, N_ROWS)
    design = FRAMES[frame].applied(block)
    A = np.column_stack([(X - FRAMES[frame].shift) / FRAMES[frame].scale, np.ones(N_ROWS)])
    for _ in range(20):
        theta = RNG.standard_normal((N_FEATURES + 1, n_models, n_outputs))
        z = design.times(theta)
        assert z.flags.c_contiguous
        assert_allclose(z, np.einsum("ij,jmk->imk", A, theta), atol=1e-13)
        theta[:-1] = 0.0
        assert_array_equal(design.times(theta), np.ones((N_ROWS, 1, 1)) * theta[-1])
        r = RNG.standard_normal((N_ROWS, n_models, n_outputs))
        expected = np.einsum("ij,i,imk->jmk", A, plain(weight), r)
        assert_allclose(design.pull(r, weight), expected, atol=1e-12)
    assert "_by_columns" in vars(design)
    # In the order of the columns, to the last bit.
    theta = RNG.standard_normal((N_FEATURES + 1, n_models, n_outputs))
    fresh = FRAMES[frame].applied(design_of(sparse.csr_array(X)).part(0, N_ROWS))
    if frame in ("identity", "scaled"):
        assert_array_equal(design.times(theta), fresh.times(theta))


def test_large_sparse_rows_are_not_copied(monkeypatch):
    monkeypatch.setattr("gdregress.rows.sparse.MAX_COPY_BYTES", 12 * 20)
    X = sparse.csr_array(np.ones((N_ROWS, N_FEATURES)))
    parts = [design_of(X).part(0, N_ROWS), design_of(X).part(2, 5), design_of(X[:4]).part(0, 4)]
    for _ in range(20):
        for part in parts:
            part.times(np.ones((N_FEATURES + 1, 1, 3)))
    assert ["_by_columns" in vars(part) for part in parts] == [False, False, True]


def test_grams(case, weight):
    design, A = case
    s = plain(weight)
    moments = [s @ A[:, :-1], s @ A[:, :-1] ** 2]
    assert_allclose(design.moments(weight), moments, rtol=1e-12, atol=1e-11)
    assert_allclose(design.gram(weight), A.T @ (s[:, None] * A), rtol=1e-12, atol=1e-11)
    for n_weights in (1, 3, 60):
        weights = RNG.uniform(0.0, 1.0, (N_ROWS, n_weights)) * s[:, None]
        expected = np.einsum("iw,ij,ik->wjk", weights, A, A)
        assert_allclose(design.grams(weights), expected, rtol=1e-12, atol=1e-11)


def test_rows_and_what_is_known_of_columns(case):
    design, A = case
    rows = A[:, :-1]
    assert_allclose(design.dense(), rows, rtol=1e-15)
    assert_allclose(design.row_squares(), np.sum(rows**2, axis=1), rtol=1e-13)
    assert_allclose(design.limits(), [rows.min(axis=0), rows.max(axis=0)], rtol=1e-15)
    assert_allclose(design.part(2, 5).dense(), rows[2:5], rtol=1e-15)
    chosen = np.array([7, 0, 3])
    assert_allclose(design.take(chosen).dense(), rows[chosen], rtol=1e-15)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("workers", [1, 2])
def test_gathered_rows_have_their_ones(container, workers):
    X = RNG.standard_normal((N_ROWS, N_FEATURES)).astype(np.float32)
    gather = design_of(CONTAINERS[container](X)).gatherer(5, workers)
    for chosen in (np.array([8, 1, 1, 0, 4]), np.array([2, 3])):
        found, expected = gather(chosen), np.column_stack([X[chosen], np.ones(len(chosen))])
        for rows in (slice(0, len(chosen)), slice(1, 2)):
            batch = found[rows]
            assert batch.shape == expected[rows].shape
            assert_array_equal(batch.dot(np.eye(N_FEATURES + 1)), expected[rows])
            assert_array_equal(batch.T.dot(np.eye(batch.shape[0])), expected[rows].T)


def test_entries_stored_twice_count_once():
    X = sparse.csr_matrix(([1.0, 2.0, 3.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    design = design_of(sparse.csr_matrix((X.data, X.indices, X.indptr), shape=X.shape))
    doubled = sparse.csr_matrix(
        (np.array([1.0, 2.0, 3.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2)
    )
    assert_array_equal(design_of(doubled).row_squares(), [9.0, 9.0])
    assert_array_equal(design.row_squares(), [9.0, 9.0])
    assert doubled.nnz == 3  # as it came


def test_rows_below_rows():
    above, below = RNG.standard_normal((2, 3)), RNG.standard_normal((1, 3))
    both = np.vstack([above, below])
    assert_array_equal(stacked(above, below), both)
    assert_array_equal(stacked(sparse.csr_array(above), below), both)
    found = stacked(sparse.csr_array(above), sparse.csr_array(below))
    assert sparse.issparse(found)
    assert_array_equal(found.toarray(), both)


@pytest.mark.parametrize("container", CONTAINERS)
def test_unusual_entries_are_told_by_row_and_place(container):
    X = np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 4.0], [0.0, 0.0, 5.0]])
    design = design_of(CONTAINERS[container](X)).part(0, 4)
    rows, places = design.unusual(np.array([2, 0]), np.zeros(3))
    found = sorted(zip(rows.tolist(), places.tolist(), strict=True))
    assert found == [(1, 1), (2, 0), (3, 0)]
    assert (np.diff(rows) >= 0).all()


def test_a_stored_zero_is_not_unusual():
    X = sparse.csr_matrix((np.array([0.0, 1.0]), (np.array([0, 1]), np.array([0, 0]))))
    rows, places = design_of(X).part(0, 2).unusual(np.array([0]), np.zeros(1))
    assert_array_equal(rows, [1])
    assert_array_equal(places, [0])


def test_a_gram_matrix_is_the_callers_own(case):
    """A design may keep what it has found: its caller may write into what it was given."""
    design, A = case
    design.moments()
    design.gram()[:] = np.nan
    assert_allclose(design.gram(), A.T @ A, atol=1e-12)
    assert_allclose(design.moments(), [A[:, :-1].sum(0), (A[:, :-1] ** 2).sum(0)], atol=1e-12)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize(("n_rows", "is_few"), [(300, True), (30_000, False)])
def test_few_rows_are_an_array_whatever_they_came_in(container, n_rows, is_few):
    X = np.where(RNG.random((n_rows, N_FEATURES)) < 0.2, 1.5, 0.0)
    blocks = RowBlocks(container(X)).in_frame(FRAMES["shifted"])
    few = of_few_rows(blocks)
    assert (type(few.design) is FewRows) == is_few == (few is not blocks)
    theta = RNG.standard_normal((N_FEATURES + 1, 1, 1))
    A = np.column_stack([X - FRAMES["shifted"].shift, np.ones(n_rows)])
    assert_allclose(few.times(theta)[:, 0], A @ theta[:, 0], atol=1e-13)
