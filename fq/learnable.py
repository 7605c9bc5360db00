"""Gradients of the scale and the zero point, as LSQ and LSQ+ learn them."""

import math
from itertools import zip_longest

import numpy as np

from fq import _core
from fq.reference import _TYPE_NAMES, _TYPES, _type_computed_in

__all__ = ["backward_learnable", "scale_gradient_factor"]


def backward_learnable(dy, x, scale, zero_point, qmin, qmax, *, out=None):
    """Gradients of x, scale and zero_point, in one pass.

    With r = rint(x / scale), rounded as `fq.forward` rounds it, and q = r + zero_point::

        in range  dx = dy   dscale += dy * (r - x / scale)         dzero_point += 0
        below     dx = 0    dscale += dy * (qmin - zero_point)     dzero_point += -dy * scale
        above     dx = 0    dscale += dy * (qmax - zero_point)     dzero_point += -dy * scale

    Parameters
    ----------
    dy, x : array_like of float16, bfloat16, float32 or float64
        Gradient with respect to y, and the input of the forward: of one shape and one type.
    scale : array_like of real numbers
        Width of a step: positive and finite, of any shape that broadcasts into x.
    zero_point : array_like of integers
        The level of 0.0, likewise.
    qmin, qmax : array_like of integers
        The first and last level of the grid, likewise.
    out : tuple of three arrays or None, optional
        Where to put the results: each of the shape and type below, or None for a new one.

    Returns
    -------
    dx : ndarray
        Of the shape, type and memory order of x; bit for bit that of `fq.backward_recompute`.
    dscale, dzero_point : ndarray or scalar
        Of the shapes of scale and zero_point; float32, or float64 for float64 x. Summed in float64, in an order
        that depends on the shapes and on the order of the axes in memory alone: the same bits for any number of
        threads. 0 for an empty x. The quotient x / scale is that of the forward; a NaN in x makes dscale NaN.

    Raises
    ------
    TypeError
        If dy or x is not of the four types, their types differ, or zero_point, qmin or qmax is not an integer.
    ValueError
        If the shapes of dy and x differ, a parameter does not broadcast into x, or one has a value that
        `fq.forward` refuses.

    References
    ----------
    Esser et al., "Learned Step Size Quantization", ICLR 2020; Bhalgat et al., "LSQ+", CVPR workshops 2020, for
    zero_point.

    Examples
    --------
    >>> import fq, numpy as np
    >>> x = np.array([0.2, 9.0])
    >>> fq.backward_learnable(np.ones(2), x, 0.25, 0, -8, 7)
    (array([1., 0.]), np.float64(7.2), np.float64(-0.25))
    """
    return _backward(dy, x, (scale, zero_point, qmin, qmax), out, reciprocal=False)


def scale_gradient_factor(n, qmax):
    """LSQ's factor for the gradient of a scale, 1 / sqrt(n * qmax).

    The sum over n elements makes the gradient of a scale much larger, relative to the scale, than those of weights
    are relative to weights; multiplied by this factor it trains at the same learning rate.

    Parameters
    ----------
    n : int
        The elements that share the scale: of the tensor, or of one channel.
    qmax : int
        The largest level, 2**(bits - 1) - 1 for signed weights and 2**bits - 1 for unsigned activations.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If n or qmax is not positive.

    References
    ----------
    Esser et al., "Learned Step Size Quantization", ICLR 2020, section 2.2.

    Examples
    --------
    >>> scale_gradient_factor(1000, 10)
    0.01
    """
    if not (n > 0 and qmax > 0):
        raise ValueError(f"n and qmax must be positive, got {n} and {qmax}")
    return 1 / math.sqrt(n * qmax)


def _backward(dy, x, qparams, out, reciprocal):
    plain = _core._learnable_plain(reciprocal, dy, x, *qparams, out)
    if plain is None:
        return _backward_of_any(dy, x, qparams, out, reciprocal)
    dx, dscale, dzero_point = plain
    if isinstance(dzero_point, np.ndarray) and np.ndim(qparams[1]) == 0:
        with np.errstate(all="ignore"):
            dzero_point = dscale.dtype.type(dzero_point.sum())
    return dx, dscale, dzero_point


def _backward_of_any(dy, x, qparams, out, reciprocal):
    dy, x = _elements("dy", dy), _elements("x", x)
    if dy.dtype != x.dtype:
        raise TypeError(f"dy and x must have one type, got {dy.dtype} and {x.dtype}")
    if dy.shape != x.shape:
        raise ValueError(f"dy and x must have one shape, got {dy.shape} and {x.shape}")
    computed = np.dtype(_type_computed_in(x))
    qparams = _parameters(qparams, x.shape, computed)
    shapes = x.shape, qparams[0].shape, qparams[1].shape
    given = (None, None, None) if out is None else out
    dx, dscale, dzero_point = _outputs(given, shapes, (x.dtype, computed, computed), x)
    unsafe = not dx.flags.aligned or any(_overlap_apart(dx, given) for given in (dy, x, *qparams))
    safe = np.empty_like(dx) if unsafe else dx
    # A sum for every set of parameters, then those over which scale or zero_point is broadcast are added up.
    shape = _common_shape(qparams)
    sums = np.zeros((2, math.prod(shape)))
    of_scale, of_zero_point = (one.reshape(shape) for one in sums)
    if x.size > 0:
        _core._learnable(reciprocal, safe, dy, x, *qparams, of_scale, sums)
    if safe is not dx:
        np.copyto(dx, safe)
    with np.errstate(all="ignore"):
        _store(dscale, of_scale)
        _store(dzero_point, of_zero_point)
    # As ufuncs do: what was given as it is, and a scalar for a new array without axes.
    return tuple(one[()] if old is None else one for one, old in zip((dx, dscale, dzero_point), given, strict=True))


def _elements(name, given):
    array = np.asarray(given)
    if array.dtype.type.__name__ not in _TYPES:
        raise TypeError(f"{name} must be {_TYPE_NAMES}, got {array.dtype}")
    return _readable(array, array.dtype.newbyteorder("="))


def _readable(array, dtype):
    """The array as C reads it: of this type, in the machine's byte order, and aligned."""
    array = array.astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy()


def _parameters(qparams, shape, computed):
    """scale, zero_point, qmin and qmax as arrays of the types computed with, which broadcast into the shape."""
    arrays = []
    for name, given in zip(("scale", "zero_point", "qmin", "qmax"), qparams, strict=True):
        array, dtype = np.asarray(given), computed if name == "scale" else np.dtype(np.int64)
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            accepted = "a real number" if name == "scale" else "an integer"
            raise TypeError(f"{name} must be {accepted} or an array of them, got {array.dtype}")
        if not broadcasts_into(array.shape, shape):
            raise ValueError(f"{name} must broadcast into x of shape {shape}, got shape {array.shape}")
        with np.errstate(all="ignore"):
            arrays.append(_readable(array, dtype))
    return arrays


def broadcasts_into(shape, into):
    """Whether an array of one shape can be broadcast to the other."""
    return len(shape) <= len(into) and all(a in (1, b) for a, b in zip(shape[::-1], into[::-1], strict=False))


def _common_shape(arrays):
    """The shape to which arrays broadcast, which are known to; np.broadcast knows 32 axes, where arrays have 64."""
    axes = zip_longest(*(array.shape[::-1] for array in arrays), fillvalue=1)
    return tuple(next((length for length in axis if length != 1), 1) for axis in axes)[::-1]


def _outputs(out, shapes, dtypes, x):
    if not isinstance(out, tuple) or len(out) != 3:
        raise TypeError("out must be a tuple of three arrays or None: dx, dscale, dzero_point")
    results = []
    for name, one, shape, dtype in zip(("dx", "dscale", "dzero_point"), out, shapes, dtypes, strict=True):
        if one is None:
            one = np.empty_like(x) if name == "dx" else np.empty(shape, dtype)
        if not isinstance(one, np.ndarray) or one.dtype != dtype or not one.dtype.isnative:
            raise TypeError(f"out for {name} must be an array of {dtype}, got {getattr(one, 'dtype', type(one))}")
        if one.shape != shape or not one.flags.writeable:
            raise ValueError(f"out for {name} must be a writable array of shape {shape}, got shape {one.shape}")
        results.append(one)
    return results


def _overlap_apart(one, other):
    """Whether two arrays share memory otherwise than element for element."""
    return np.may_share_memory(one, other) and not (
        one.__array_interface__["data"] == other.__array_interface__["data"]
        and one.strides == other.strides
        and one.shape == other.shape
    )


def _store(to, sums):
    """The sums over the axes along which `to` is broadcast."""
    lengths = (1,) * (sums.ndim - to.ndim) + to.shape
    axes = tuple(axis for axis in range(sums.ndim) if lengths[axis] == 1 != sums.shape[axis])
    to[...] = (sums.sum(axes) if axes else sums).reshape(to.shape)
