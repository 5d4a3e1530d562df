"""Solvers: exact least squares, Newton's method, and the one loop of descent with its rules."""

from .schedules import Constant, Cosine, Exponential, InverseScaling, Step
from .updates import Adagrad, Adam, GradientDescent, Momentum, Nesterov, RMSProp

__all__ = [
    "Adagrad",
    "Adam",
    "Constant",
    "Cosine",
    "Exponential",
    "GradientDescent",
    "InverseScaling",
    "Momentum",
    "Nesterov",
    "RMSProp",
    "Step",
]
