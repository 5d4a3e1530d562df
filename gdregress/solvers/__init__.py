"""Solvers: exact least squares, Newton's method, and the one loop of descent with its rules."""

from .descent.rules import Adagrad, Adam, GradientDescent, Momentum, Nesterov, RMSProp
from .descent.schedules import Constant, Cosine, Exponential, InverseScaling, Step

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
