"""Gradients of the scale and the zero point, as LSQ and LSQ+ learn them."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fq import _core, _errors

__all__ = ["backward_learnable", "scale_gradient_factor"]

Out = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]


# The two sums are arrays, or scalars where scale and zero_point are.
def backward_learnable(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    out: Out | None = None,
) -> tuple[Any, Any, Any]:
    """Gradients of x, scale and zero_point, in one pass.

    With r = rint(x / scale), rounded as `fq.forward` rounds it, and q = r + zero_point::

        in range  dx = dy   dscale += dy * (r - x / scale)         dzero_point += 0
        below     dx = 0    dscale += dy * (qmin - zero_point)     dzero_point += -dy * scale
        above     dx = 0    dscale += dy * (qmax - zero_point)     dzero_point += -dy * scale

    Parameters
    ----------
    dy, x : array_like of float16, bfloat16, float32 or float64
        Gradient with respect to y, and the input of the forward: of one shape. The type of x is that of the results;
        dy of another type is cast to it.
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
        threads. 0 for an empty x. A NaN in x makes dscale NaN; an infinity is clamped, as in the forward.

    Notes
    -----
    The residual r - x / scale is that of the numbers, without error: x - r * scale is a number of the type computed
    in. dscale is (qmin - zero_point) * [sum of dy below] + (qmax - zero_point) * [sum of dy above] - [sum of
    dy * (x - r * scale) in range] / scale, the sums in float64, rounded once when stored.

    Raises
    ------
    TypeError
        If dy or x is not of the four types, zero_point, qmin or qmax is not an integer, or an array is masked.
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


def scale_gradient_factor(n: int, qmax: int) -> float:
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


_NAMES = "dy", "x", "scale", "zero_point", "qmin", "qmax"


def _backward(dy: Any, x: Any, qparams: tuple[Any, ...], out: Any, reciprocal: bool) -> tuple[Any, Any, Any]:
    results = _core._backward_learnable(reciprocal, dy, x, *qparams, out)
    return _backward_of_any(dy, x, qparams, out, reciprocal) if results is None else results


def _backward_of_any(dy: Any, x: Any, qparams: tuple[Any, ...], out: Any, reciprocal: bool) -> tuple[Any, Any, Any]:
    arrays = _converted((dy, x, *qparams))
    _check_shapes(arrays)
    shapes = tuple(one.shape for one in arrays[1:4])
    given = (None, None, None) if out is None else out
    _check_out(given, shapes, (arrays[1].dtype, arrays[2].dtype, arrays[2].dtype))
    # A value that np.broadcast_to repeats has a gradient at each place; a copy tells them apart.
    arrays[2:4] = [one.copy() if 0 in one.strides else one for one in arrays[2:4]]
    # Scalars have an axis in C.
    arrays[:2] = [np.atleast_1d(one) for one in arrays[:2]]
    into = None if given[0] is None else (np.atleast_1d(given[0]), None, None)
    results = _core._backward_learnable(reciprocal, *arrays, into)
    if results is None:  # dx overlaps what is read, or is not aligned
        results = _core._backward_learnable(reciprocal, *arrays, None)
    assert results is not None
    for shape, old, new in zip(shapes, given, results, strict=True):
        if old is not None and not np.may_share_memory(old, new):
            np.copyto(old, np.reshape(new, shape))
    dx, dscale, dzero_point = (
        np.reshape(new, shape)[()] if old is None else old
        for shape, old, new in zip(shapes, given, results, strict=True)
    )
    return dx, dscale, dzero_point


def _converted(given: tuple[Any, ...]) -> list[np.ndarray]:
    """All arguments as C reads them: arrays of the types of a loop, in the machine's byte order, and aligned."""
    # Views, whose shapes stay as they are while the conversions of others run code.
    arrays = [_errors.in_memory(one).view() for one in given]
    _errors.check("backward_learnable", tuple(arrays))
    arrays = [one.view(np.ndarray) for one in arrays]
    try:
        dtypes = _core.divide["backward_recompute"].resolve_dtypes((*(one.dtype for one in arrays), None))
    except TypeError as error:
        raise _errors.explain("backward_learnable", error, given, None) or error from None
    with np.errstate(all="ignore"):
        return [_readable(one, dtype) for one, dtype in zip(arrays, dtypes, strict=False)]


def _readable(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    array = array.astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy(order="K")


def _check_shapes(arrays: list[np.ndarray]) -> None:
    dy, x, *qparams = (one.shape for one in arrays)
    if dy != x:
        raise ValueError(f"dy and x must have one shape, got {dy} and {x}")
    for name, shape in zip(_NAMES[2:], qparams, strict=True):
        if not broadcasts_into(shape, x):
            raise ValueError(_errors.misfit(name, shape, x, "broadcast into"))


def broadcasts_into(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    """Whether an array of one shape can be broadcast to the other."""
    return len(shape) <= len(into) and all(a in (1, b) for a, b in zip(shape[::-1], into[::-1], strict=False))


def _check_out(out: Any, shapes: tuple[tuple[int, ...], ...], dtypes: tuple[np.dtype, ...]) -> None:
    if not isinstance(out, tuple) or len(out) != 3:
        raise TypeError("out must be a tuple of three arrays or None: dx, dscale, dzero_point")
    for name, one, shape, dtype in zip(("dx", "dscale", "dzero_point"), out, shapes, dtypes, strict=True):
        if one is None:
            continue
        if not isinstance(one, np.ndarray) or one.dtype != dtype or not one.dtype.isnative:
            raise TypeError(f"out for {name} must be an array of {dtype}, got {getattr(one, 'dtype', type(one))}")
        if one.shape != shape or not one.flags.writeable:
            raise ValueError(f"out for {name} must be a writable array of shape {shape}, got shape {one.shape}")
