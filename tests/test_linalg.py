"""What BLAS does in place, in every order of memory."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gdregress._linalg import add_to_rows, times_row

RNG = np.random.default_rng(0)
SHAPES = [(0, 3), (1, 2), (31, 3), (32, 3), (100, 7), (65, 1), (4, 40)]
ORDERS = {"C": np.ascontiguousarray, "F": np.asfortranarray, "cut": lambda A: np.hstack([A, A])}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_number_is_added_to_each_row(shape, order):
    A, numbers = RNG.standard_normal(shape), RNG.standard_normal(shape[0])
    expected = np.array([[entry + number for entry in row] for row, number in zip(A, numbers)])
    found = ORDERS[order](A)[:, : shape[1]]
    add_to_rows(found, numbers)
    assert_allclose(found, expected.reshape(shape), rtol=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_row_is_multiplied_by_one(shape):
    A, row, out = RNG.standard_normal(shape), RNG.standard_normal(shape[1]), np.empty(shape)
    expected = np.array([[a * b for a, b in zip(numbers, row)] for numbers in A])
    assert times_row(A, row, out) is out
    assert_allclose(out, expected.reshape(shape), rtol=1e-15)
