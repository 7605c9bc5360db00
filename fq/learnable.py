"""Gradients of the scale and the zero point, as LSQ and LSQ+ learn them: from x, or from codes of its residuals."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fq import _core, _errors

__all__ = ["backward_learnable", "backward_residual", "backward_residual_packed", "scale_gradient_factor"]

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
    return backward("backward_learnable", dy, x, (scale, zero_point, qmin, qmax), out, reciprocal=False)


def backward_residual(
    dy: ArrayLike,
    residual: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    out: Out | None = None,
) -> tuple[Any, Any, Any]:
    """Gradients of x, scale and zero_point, from the codes that `fq.forward_residual` gave in the place of x.

    dx and dzero_point are those of `fq.backward_learnable`, bit for bit where x is contiguous. dscale is off by what
    the codes leave out of the residuals r - x / scale: by ``sum(abs(dy)) * (1 / 504 + half an ulp of x / scale)`` at
    most, of which ``norm(dy) * 0.00115`` is the usual size. The residuals themselves have a size of
    ``norm(dy) * 0.289``.

    Parameters
    ----------
    dy : array_like of float16, bfloat16, float32 or float64
        Gradient with respect to y. Its type is that of the results.
    residual : array_like of int8
        The codes, of the shape of dy.
    scale, zero_point, qmin, qmax
        Those of the forward, of shapes that broadcast into dy.
    out : tuple of three arrays or None, optional
        Where to put the results: each of the shape and type below, or None for a new one.

    Returns
    -------
    dx : ndarray
        Of the shape and type of dy: the product of dy and the mask, so a masked NaN or infinity gives NaN.
    dscale, dzero_point : ndarray or scalar
        Of the shapes of scale and zero_point; float32, or float64 for float64 dy. The code of a NaN makes dscale NaN.

    Notes
    -----
    With L = 126, a code k from -L to L is in range, and its residual k / (2 * L)::

        dx = dy * (abs(k) <= L)
        dscale = sum(dy * k in range) / (2 * L) + (qmax - zero_point) * [sum of dy above]
            + (qmin - zero_point) * [sum of dy below]
        dzero_point = -scale * [sum of dy below and above]

    Raises
    ------
    TypeError
        If dy is not of the four types, residual is not int8, zero_point, qmin or qmax is not an integer, or an array
        is masked.
    ValueError
        If the shapes of dy and residual differ, a parameter does not broadcast into dy, or one has a value that
        `fq.forward_residual` refuses.

    See Also
    --------
    backward_learnable : keeps x, and is exact: for weights, which live anyway.

    Examples
    --------
    >>> import fq, numpy as np
    >>> y, residual = fq.forward_residual(np.array([0.2, 9.0]), 0.25, 0, -8, 7)
    >>> dx, dscale, dzero_point = fq.backward_residual(np.ones(2), residual, 0.25, 0, -8, 7)
    >>> dx, round(float(dscale), 3), dzero_point
    (array([1., 0.]), 7.198, np.float64(-0.25))
    """
    return backward("backward_residual", dy, residual, (scale, zero_point, qmin, qmax), out, reciprocal=False)


def backward_residual_packed(
    dy: ArrayLike,
    residual: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    out: Out | None = None,
) -> tuple[Any, Any, Any]:
    """Gradients of x, scale and zero_point, from four bits per element that `fq.forward_residual_packed` gave.

    As `backward_residual` with L = 6: dscale is off by ``sum(abs(dy)) * (1 / 24 + half an ulp of x / scale)`` at
    most, of which ``norm(dy) * 0.0241`` is the usual size.

    Parameters
    ----------
    dy : array_like of float16, bfloat16, float32 or float64
        Gradient with respect to y, of at least one axis. Its type is that of the results.
    residual : array_like of uint8
        The codes, two to a byte: ceil(n / 2) along the last axis. The other axes are those of dy.
    scale, zero_point, qmin, qmax
        Those of the forward, of shapes that broadcast into dy; qmin and qmax have no value along the last axis.
    out : tuple of three arrays or None, optional
        Where to put the results: each of the shape and type below, or None for a new one.

    Returns
    -------
    dx : ndarray
        Of the shape and type of dy.
    dscale, dzero_point : ndarray or scalar
        Of the shapes of scale and zero_point; float32, or float64 for float64 dy. The code of a NaN makes dscale NaN.

    Raises
    ------
    TypeError
        If dy is not of the four types, residual is not uint8, zero_point, qmin or qmax is not an integer, or an array
        is masked.
    ValueError
        If residual is not of the shape above, a parameter does not broadcast, or one has a value that
        `fq.forward_residual_packed` refuses.

    Examples
    --------
    >>> import fq, numpy as np
    >>> y, residual = fq.forward_residual_packed(np.array([0.2, 9.0]), 0.25, 0, -8, 7)
    >>> dx, dscale, dzero_point = fq.backward_residual_packed(np.ones(2), residual, 0.25, 0, -8, 7)
    >>> dx, round(float(dscale), 3), dzero_point
    (array([1., 0.]), 7.167, np.float64(-0.25))
    """
    return backward("backward_residual_packed", dy, residual, (scale, zero_point, qmin, qmax), out, reciprocal=False)


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


Given = tuple[Any, Any, Any, Any]


def backward(name: str, dy: Any, kept: Any, qparams: Given, out: Any, reciprocal: bool) -> tuple[Any, Any, Any]:
    """The function of this name, of fq or fq.reciprocal; kept: x, or its residuals."""
    results = getattr(_core, f"_{name}")(reciprocal, dy, kept, *qparams, out)
    return _backward_of_any(name, (dy, kept, *qparams), out, reciprocal) if results is None else results


def _backward_of_any(name: str, given: tuple[Any, ...], out: Any, reciprocal: bool) -> tuple[Any, Any, Any]:
    of_c = getattr(_core, f"_{name}")
    arrays = _converted(name, given)
    _check_shapes(name, arrays)
    shapes = arrays[0].shape, arrays[2].shape, arrays[3].shape
    outs = (None, None, None) if out is None else out
    _check_out(outs, shapes, (arrays[0].dtype, arrays[2].dtype, arrays[2].dtype))
    # A value that np.broadcast_to repeats has a gradient at each place; a copy tells them apart.
    arrays[2:4] = [one.copy() if 0 in one.strides else one for one in arrays[2:4]]
    # Scalars have an axis in C.
    arrays[:2] = [np.atleast_1d(one) for one in arrays[:2]]
    into = None if outs[0] is None else (np.atleast_1d(outs[0]), None, None)
    results = of_c(reciprocal, *arrays, into)
    if results is None:  # dx overlaps what is read, or is not aligned
        results = of_c(reciprocal, *arrays, None)
    assert results is not None
    for shape, old, new in zip(shapes, outs, results, strict=True):
        if old is not None and not np.may_share_memory(old, new):
            np.copyto(old, np.reshape(new, shape))
    dx, dscale, dzero_point = (
        np.reshape(new, shape)[()] if old is None else old
        for shape, old, new in zip(shapes, outs, results, strict=True)
    )
    return dx, dscale, dzero_point


def _converted(name: str, given: tuple[Any, ...]) -> list[np.ndarray]:
    """All arguments as C reads them: arrays of the types of a loop, in the machine's byte order, and aligned."""
    # Views, whose shapes stay as they are while the conversions of others run code.
    arrays = [_errors.in_memory(one).view() for one in given]
    _errors.check("divide", name, tuple(arrays))
    arrays = [one.view(np.ndarray) for one in arrays]
    try:
        dtypes = _dtypes(name, arrays)
    except TypeError as error:
        raise _errors.explain("divide", name, error, given, None) or error from None
    with np.errstate(all="ignore"):
        return [_readable(one, dtype) for one, dtype in zip(arrays, dtypes, strict=True)]


def _dtypes(name: str, arrays: list[np.ndarray]) -> list[np.dtype]:
    """What the arguments are cast to. Codes are taken as they are."""
    codes = _CODES.get(name)
    if codes is None:
        return list(_core.divide["backward_recompute"].resolve_dtypes((*(one.dtype for one in arrays), None)))[:-1]
    if arrays[0].dtype.name not in _FLOATS:
        raise TypeError(f"dy must be {', '.join(_FLOATS[:-1])} or {_FLOATS[-1]}")
    if arrays[1].dtype != codes:
        others = {"int8": "forward_residual gives", "uint8": "forward_residual_packed gives, two codes to a byte"}
        raise _errors.Told(
            f"residual must be {codes}, got {arrays[1].dtype}: {codes} is what {others[codes]}; "
            f"backward_residual takes int8, backward_residual_packed uint8"
        )
    dtypes = (arrays[0].dtype, *(one.dtype for one in arrays[2:]), None)
    of_x, *of_qparams, _ = _core.divide["fake_quantize"].resolve_dtypes(dtypes)
    return [of_x, np.dtype(codes), *of_qparams]


_FLOATS = "float16", "bfloat16", "float32", "float64"
_CODES = {"backward_residual": "int8", "backward_residual_packed": "uint8"}


def _readable(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    array = array.astype(dtype, copy=False)
    return array if array.flags.aligned else array.copy(order="K")


def _check_shapes(name: str, arrays: list[np.ndarray]) -> None:
    dy, kept, *qparams = (one.shape for one in arrays)
    operation = _core.operations()[name]
    packed = operation["packed"] is not None
    if packed and not dy:
        raise ValueError("dy must have an axis, the last one being packed: np.atleast_1d(dy)")
    if packed and kept != (*dy[:-1], -(-dy[-1] // 2)):
        raise ValueError(f"residual must be of shape {(*dy[:-1], -(-dy[-1] // 2))} for dy of {dy}, got {kept}")
    if not packed and dy != kept:
        raise ValueError(f"dy and {operation['inputs'][1]} must have one shape, got {dy} and {kept}")
    for label, shape in zip(("scale", "zero_point", "qmin", "qmax"), qparams, strict=True):
        along = dy[:-1] if packed and label in ("qmin", "qmax") else dy
        if not broadcasts_into(shape, along):
            raise ValueError(_errors.misfit(label, shape, along, "broadcast into"))


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
