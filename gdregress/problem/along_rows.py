"""An objective of one output where the z of all rows is known: no product with X."""

from ..rows.design import weigh

__all__ = ["AlongRows"]


class AlongRows:
    """What the rows contribute at z, their shares s/S of the weight included.

    Attributes
    ----------
    loss : float
        ``1/S sum_i s_i loss(y_i, z_i)``, without the penalty.
    residual, curvature : ndarray of shape (n_samples,)
        First and second derivative of a row's part of it.
    """

    def __init__(self, objective, z):
        blocks, total_weight = objective.blocks, objective.total_weight
        total, residual, curvature = objective.loss.sum_gradient_and_curvature(
            blocks.y, z[:, None, None], blocks.sample_weight
        )
        self.loss = float(total[0]) / total_weight
        self.residual = weigh(residual, blocks.sample_weight)[:, 0, 0] / total_weight
        self.curvature = weigh(curvature, blocks.sample_weight)[:, 0, 0] / total_weight
