"""Quantities of M models that descend together: one number of each, along the axis of models.

An array of theta's kind has the shape (n_features + 1, M, n_outputs). What is one number for each
model is, beside such arrays, of shape (M, 1); of a single model it is a plain number, which costs
a tenth and rounds the same.
"""

import math

import numpy as np

__all__ = ["along_models", "inner_products", "joined", "models_of", "norms", "numbers"]


def models_of(theta):
    """The arrays of the single models, each with an axis of length one."""
    n_models = theta.shape[1]
    return [theta] if n_models == 1 else [theta[:, k : k + 1] for k in range(n_models)]


def joined(parts):
    """One array of those of several models."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def along_models(values):
    """A list of numbers, one of each model, in the form that broadcasts against theta."""
    return values[0] if len(values) == 1 else np.array(values)[:, None]


def numbers(value, theta):
    """The list that :func:`along_models` was given, for the models of theta."""
    return [value] if theta.shape[1] == 1 else value[:, 0].tolist()


def inner_products(a, b):
    """``<a, b>`` of each model, a list."""
    if a.shape[1] == 1:
        return [float(np.vdot(a, b))]
    return np.einsum("jmk,jmk->m", a, b).tolist()


def norms(theta):
    """The Euclidean norm of each model, a list."""
    if theta.shape[1] == 1:
        return [math.sqrt(np.vdot(theta, theta))]
    return np.sqrt(np.einsum("jmk,jmk->m", theta, theta)).tolist()
