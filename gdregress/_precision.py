"""float32 in, float32 out, where float32 can hold it."""

import numpy as np

__all__ = ["held_in", "is_held_in"]


def is_held_in(dtype, values):
    """Whether the numbers neither overflow `dtype` nor underflow it to a subnormal or to zero."""
    limits = np.finfo(dtype)
    size = np.abs(values[values != 0.0])
    return bool(size.max(initial=1.0) <= limits.max and size.min(initial=1.0) >= limits.tiny)


def held_in(dtype, *arrays):
    """The arrays in `dtype`, or all of them as they are where that cannot hold one."""
    dtype = np.dtype(dtype)
    if dtype == np.float32 and not all(is_held_in(dtype, np.asarray(a)) for a in arrays):
        return arrays
    return tuple(a.astype(dtype) for a in arrays)
