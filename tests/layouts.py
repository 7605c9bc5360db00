"""Strategies for arrays in every memory layout and for shapes that broadcast."""

import numpy as np
from hypothesis import strategies as st


def laid_out(array, draw):
    """The same values in another memory layout: strides, order, offset and byte order."""
    layout = draw(st.sampled_from(["C", "F", "step", "reversed", "offset", "misaligned", "swapped", "broadcast"]))
    if layout == "F":
        return np.asfortranarray(array)
    if layout in ("step", "reversed", "offset") and array.ndim:
        axis = draw(st.integers(0, array.ndim - 1))
        index = {"step": slice(None, None, 3), "reversed": slice(None, None, -1), "offset": slice(1, None)}[layout]
        shape = list(array.shape)
        shape[axis] = {"step": 3 * shape[axis], "reversed": shape[axis], "offset": shape[axis] + 1}[layout]
        view = np.zeros(shape, array.dtype)[(slice(None),) * axis + (index,)]
    elif layout == "misaligned":
        view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    elif layout == "swapped" and array.dtype.isbuiltin == 1:
        view = np.zeros(array.shape, array.dtype.newbyteorder())
    elif layout == "broadcast" and array.ndim:
        return np.broadcast_to(array[:1], array.shape)
    else:
        return array
    view[...] = array
    return view


def broadcasting_shape(shape, draw):
    """A shape that broadcasts to `shape`: some axes 1, leading ones dropped."""
    kept = draw(st.integers(0, len(shape)))
    return tuple(draw(st.sampled_from([1, n])) for n in shape[len(shape) - kept :])
