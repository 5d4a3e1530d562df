"""An evaluation at a point: what is known of an objective at one theta, computed on demand, once.

``loss`` : shape (M,)
    ``L`` of each model, penalty included.
``smooth_loss`` : shape (M,)
    ``L`` without the rough part of the penalty.
``gradient`` : shape of theta
    Of the smooth part.
``hessian`` : shape (q, q), of one model
    Of the smooth part, in the order of ``theta.ravel()``; see the objective.
``curvature`` : object
    The same Hessian, never formed: ``product(direction)``, ``diagonal()``, ``output_blocks()``.

A pass over the rows costs most by being one, so each gives all that comes before it in this list:
the gradient brings the loss, and ``hessian`` or ``curvature``, asked first, bring both. What is
known stays: an attribute never changes, and no pass is made twice.
"""

from functools import cached_property

__all__ = ["Evaluation"]


class Evaluation:
    """An objective at one theta; see the module. Arrays are for reading only.

    Parameters
    ----------
    objective : object
        Its ``value``, ``value_and_gradient``, ``expansion``, ``hessian``, ``curved_expansion`` and
        ``hessian_at`` are the passes of which this keeps the results.
    theta : ndarray of shape (n_features + 1, n_models, n_outputs)
    """

    def __init__(self, objective, theta):
        self.objective, self.theta = objective, theta
        self._loss = self._gradient = self._hessian = None

    @classmethod
    def known(cls, objective, theta, loss, gradient):
        """The evaluation of which a pass for several models has brought loss and gradient."""
        at = cls(objective, theta)
        at._learn(loss, gradient)
        return at

    def having(self, *names):
        """This evaluation, with what is named known from here on, the first of it asked first."""
        for name in names:
            getattr(self, name)
        return self

    def _learn(self, loss, gradient):
        """Keep what a pass has brought, but for what is known."""
        self._loss = loss if self._loss is None else self._loss
        self._gradient = gradient

    @property
    def loss(self):
        if self._loss is None:
            self._loss = self.objective.value(self.theta)
        return self._loss

    @property
    def smooth_loss(self):
        if self.objective.penalty.is_smooth:
            return self.loss
        return self.loss - self.objective.penalty.rough_value(self.theta)

    @property
    def gradient(self):
        if self._gradient is None:
            self._learn(*self.objective.value_and_gradient(self.theta))
        return self._gradient

    @property
    def hessian(self):
        if self._hessian is None and self._gradient is not None:
            self._hessian = self.objective.hessian(self.theta)
        elif self._hessian is None:
            loss, gradient, self._hessian = self.objective.expansion(self.theta)
            self._learn(loss, gradient)
        return self._hessian

    @cached_property
    def curvature(self):
        if self._gradient is not None:
            return self.objective.hessian_at(self.theta)
        loss, gradient, curvature = self.objective.curved_expansion(self.theta)
        self._learn(loss, gradient)
        return curvature
