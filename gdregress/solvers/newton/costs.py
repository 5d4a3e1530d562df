"""What passes over the rows cost, in passes that bring loss and gradient.

In nanoseconds (measured on one core of 2020, with OpenBLAS; what counts is their ratio, which
threads leave about as it is), with p columns, K outputs, q = p K and r entries stored in a row,

    a gradient    0.8 p K a row, sparse 3.3 r K
    a product     0.25 p K a row, sparse 2 r K
    a Hessian     p (2.4 + p / 45) a row, coupled q (2 + q / 18);
                  sparse 6 (r K)^2, or that of dense rows, which cost 2 q to make

and each of them 30,000 more for being one.
"""

from dataclasses import dataclass

__all__ = ["Costs", "costs"]

# What one pass costs for being one, in nanoseconds.
_CALL = 3e4


@dataclass(frozen=True)
class Costs:
    """The costs of an objective in its frame.

    Attributes
    ----------
    hessian : float
        A Hessian of all rows.
    hessian_of_a_row : float
        Each row of one.
    grams_in_products : float
        A Gram matrix of all rows for each output, in products with a Hessian.
    """

    hessian: float
    hessian_of_a_row: float
    grams_in_products: float


def costs(framed):
    """The :class:`Costs` of an objective in its frame."""
    n_features, n_outputs = framed.shape
    n_samples, n_parameters = framed.blocks.n_samples, n_features * n_outputs
    is_sparse = framed.blocks.is_sparse
    stored = framed.blocks.design.n_stored / n_samples + 1.0 if is_sparse else n_features
    gradient = (3.3 if is_sparse else 0.8) * stored * n_outputs
    product = (2.0 if is_sparse else 0.25) * stored
    gram = n_features * (2.4 + n_features / 45.0)
    hessian = n_parameters * (2.0 + n_parameters / 18.0) if framed.loss.is_coupled else gram
    if is_sparse:
        gram = min(6.0 * stored**2, gram + 2.0 * n_features)
        hessian = min(6.0 * (stored * n_outputs) ** 2, hessian + 2.0 * n_parameters)
    one = _CALL + n_samples * gradient
    return Costs((_CALL + n_samples * hessian) / one, hessian / one, gram / product)
