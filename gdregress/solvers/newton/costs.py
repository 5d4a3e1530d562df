"""What passes over the rows cost, in passes that bring loss and gradient.

In nanoseconds (measured on one core of 2020, with OpenBLAS; what counts is their ratio, which
threads leave about as it is), with p columns, K outputs, r numbers stored in a row and the
prices of the design, for each row

    a gradient    gradient r (K - shared (K - 1)), and 6 (K - 1)
    a product     product r K
    a Hessian     p (2.4 + p / 45), and as_dense p for rows to make dense; or pair r^2, if that is
                  less; coupled the Gram matrices of n = K (K - 1) / 2 pairs of outputs, 3 n, and
                  half a gradient

and each of them 30,000 more for being one. A factor of a Hessian of q = p unknowns, p K coupled,
with the copies that it takes, costs q^2 (9 + q / 140).
"""

from dataclasses import dataclass

__all__ = ["costs", "gram_in_products", "solve_in_products"]

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
    call : float
        What a pass costs for being one.
    factor : float
        A factor of one.
    grams_in_products : float
        A Gram matrix of all rows for each output, in products with a Hessian.
    grams : float
        The same, in passes.
    factors : float
        Factors of these.
    """

    hessian: float
    hessian_of_a_row: float
    call: float
    factor: float
    grams_in_products: float
    grams: float
    factors: float

    @property
    def metric(self):
        """A Hessian of all rows, and its factor."""
        return self.hessian + self.factor

    def metric_of(self, n_rows):
        """One of so many rows."""
        return self.hessian_of_a_row * n_rows + self.factor


def costs(framed):
    """The :class:`Costs` of an objective in its frame."""
    n_features, n_outputs = framed.shape
    n_samples, design = framed.blocks.n_samples, framed.blocks.design
    prices = design.prices
    stored = design.n_stored / n_samples + prices.more
    gradient = prices.gradient * stored * (n_outputs - prices.shared * (n_outputs - 1))
    gradient += 6.0 * (n_outputs - 1)
    product = prices.product * stored
    gram = min(prices.pair * stored**2, _gram(n_features) + prices.as_dense * n_features)
    hessian, n_unknowns = gram, n_features
    if framed.loss.is_coupled:
        n_unknowns *= n_outputs
        n_pairs = n_outputs * (n_outputs - 1) // 2
        hessian = design.grams_work(n_pairs) + 3.0 * n_pairs + 0.5 * gradient
    one = _CALL + n_samples * gradient
    factor = n_unknowns**2 * (9.0 + n_unknowns / 140.0)
    return Costs(
        hessian=(_CALL + n_samples * hessian) / one,
        hessian_of_a_row=hessian / one,
        call=_CALL / one,
        factor=factor / one,
        grams_in_products=gram / product,
        grams=n_outputs * n_samples * gram / one,
        factors=n_outputs * n_features**2 * (9.0 + n_features / 140.0) / one,
    )


def gram_in_products(framed, n_columns):
    """A Gram matrix of so many dense columns for each output, in products with a Hessian."""
    design = framed.blocks.design
    stored = design.n_stored / framed.blocks.n_samples + design.prices.more
    return _gram(n_columns) / (design.prices.product * stored)


def solve_in_products(framed):
    """Two triangular solves for each output, in products with a Hessian: 0.5 p^2 nanoseconds."""
    design, n_features = framed.blocks.design, framed.shape[0]
    stored = design.n_stored + framed.blocks.n_samples * design.prices.more
    return 0.5 * n_features**2 / (design.prices.product * stored)


def _gram(n_columns):
    """What a row adds to a Gram matrix, in nanoseconds."""
    return n_columns * (2.4 + n_columns / 45.0)
