"""Parts of a stream, and how one is refused."""

import pytest

__all__ = ["parts", "refused"]


def parts(n_rows, size):
    """Slices of so many rows each."""
    return [slice(begin, begin + size) for begin in range(0, n_rows, size)]


def refused(model, match, *args, kind=ValueError, **kwargs):
    """`partial_fit` raises, and the estimator is as it was."""
    before = dict(vars(model))
    curve = len(model.loss_curve_) if hasattr(model, "coef_") else None
    with pytest.raises(kind, match=match):
        model.partial_fit(*args, **kwargs)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is value for name, value in before.items())
    assert curve is None or len(model.loss_curve_) == curve == len(model.history_["loss"])
