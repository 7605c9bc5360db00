"""Stochastic rounding: up or down by chance, so that the mean of the results is x.

::

    y, mask = fq.stochastic.forward(x, scale, zero_point, qmin, qmax, key=step)
    dx = fq.backward(dy, mask)

The random bits come from Threefry-2x32-20, a counter-based generator: they depend on the key and on an element's index
alone. Threads, memory layouts, processors and chunks change nothing, and JAX's own generator gives the same bits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq import _core
from fq._errors import broadcast_shapes, in_memory, refuse_masked
from fq._words import MOST_WORDS, key_words, random_words

__all__ = ["fake_quantize", "forward", "forward_packed"]

_AT_ONCE = 64 * 1024  # elements whose words are made at a time, a thread: they stay in its cache


def fake_quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    key: Any,
    start: int = 0,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Round x by chance to one of the two levels around it, and back to floats.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, key, start
        As for `forward`.
    out : ndarray, optional
        Where y goes.

    Returns
    -------
    y : ndarray of the type of x

    Raises
    ------
    TypeError, ValueError
        As of `forward`.

    Examples
    --------
    >>> import fq, numpy as np
    >>> y = fq.stochastic.fake_quantize(np.full(100_000, 0.3), 1, 0, -8, 7, key=0)
    >>> float(y.mean().round(2))
    0.3
    """
    (y,) = _in_parts("fake_quantize", x, (scale, zero_point, qmin, qmax), key, start, (out,))
    return y


def forward(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    key: Any,
    start: int = 0,
    out: tuple[NDArray[Any] | None, NDArray[np.bool_] | None] = (None, None),
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Fake-quantize x by stochastic rounding, and say which elements were inside the range.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        Values to quantize.
    scale, zero_point, qmin, qmax
        As for `fq.forward`.
    key : int of 64 bits, or a JAX key
        Chooses the random bits. A seed and a step make one: ``seed << 32 | step``. A key of JAX is its two words, so
        ``jax.random.PRNGKey(key)`` is the same.
    start : int
        Index of the first element, 0 unless x is a part of more: the parts of an array along its first axis get the
        bits that the whole has.
    out : tuple of two ndarrays or None
        Where y and the mask go.

    Returns
    -------
    y : ndarray of the type of x
        Of the broadcast shape.
    mask : ndarray of bool
        True where the level was in range.

    Raises
    ------
    TypeError
        If x is not of the four types, or zero_point, qmin or qmax is not an integer.
    ValueError
        If key has not 64 bits, start is negative, or as of `fq.forward`.

    Notes
    -----
    With q = x / scale, computed as `fq.forward` does, each operation correctly rounded::

        up   = q - floor(q) > (word + 1/2) / 2**16
        mask = qmin <= floor(q) + up + zero_point <= qmax

    The word of element i, in C order, is number i % 4 of the 16-bit halves, lower ones first, of the two outputs of
    Threefry-2x32-20 for the counter i // 4. So P(up) is the fraction to 16 bits, and points of the grid never move. The
    subtraction is exact but for q between -1/2 and 0, whose fraction is rounded to the type of the computation.

    References
    ----------
    Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011); Gupta et al., "Deep Learning with Limited
    Numerical Precision" (2015).

    Examples
    --------
    >>> import fq, numpy as np
    >>> x = np.full(8, 0.3, np.float32)
    >>> y, mask = fq.stochastic.forward(x, 1, 0, -8, 7, key=1)
    >>> fq.stochastic.forward(x[4:], 1, 0, -8, 7, key=1, start=4)[0].tolist() == y[4:].tolist()
    True
    """
    y, mask = _in_parts("forward", x, (scale, zero_point, qmin, qmax), key, start, out)
    return y, mask


def forward_packed(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    key: Any,
    start: int = 0,
    out: tuple[NDArray[Any] | None, NDArray[np.uint8] | None] = (None, None),
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Fake-quantize x by stochastic rounding, and say in one bit per element which were inside the range.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, key, start
        As for `forward`. x has an axis; scale, zero_point, qmin and qmax broadcast as for `fq.forward_packed`.
    out : tuple of two ndarrays or None
        Where y and the bits go.

    Returns
    -------
    y : ndarray of the type of x
    bits : ndarray of uint8
        The mask, packed along its last axis: `fq.backward_packed` takes it.

    Raises
    ------
    TypeError, ValueError
        As of `forward`.

    Examples
    --------
    >>> import fq, numpy as np
    >>> y, bits = fq.stochastic.forward_packed(np.float32([0.3, 9.0, -9.0]), 1, 0, -8, 7, key=1)
    >>> bits
    array([1], dtype=uint8)
    """
    y, bits = _in_parts("forward_packed", x, (scale, zero_point, qmin, qmax), key, start, out)
    return y, bits


def _in_parts(
    name: str, x: ArrayLike, qparams: tuple[Any, ...], key: Any, start: int, out: tuple[Any, ...]
) -> list[NDArray[Any]]:
    """The ufunc on parts of x, each with its words."""
    x, words, first = in_memory(x), key_words(key), _checked_start(start)
    refuse_masked("x", x)
    ufunc, packed = _core.stochastic[name], name.endswith("packed")
    qparams = tuple(one if isinstance(one, (int, float)) else in_memory(one) for one in qparams)
    shape = _shape_of(x, qparams, packed)
    x = np.broadcast_to(x, shape) if x.shape != shape else np.asarray(x)
    if first + x.size > MOST_WORDS:
        raise ValueError(f"start must leave room for {x.size} elements below 2**64, got {start}")
    if x.size <= _AT_ONCE or shape[0] == 1:
        results = ufunc(x, random_words(shape, words, first), *qparams, out=out)
        return list(results) if isinstance(results, tuple) else [results]
    _refuse_bad(x.dtype, qparams, packed)
    return _filled(ufunc, x, qparams, packed, lambda part, at: random_words(part, words, first + at), out)


def _filled(
    ufunc: np.ufunc, x: NDArray[Any], qparams: tuple[Any, ...], packed: bool, words: Callable[..., Any], out: Any
) -> list[NDArray[Any]]:
    """The same of many elements, some indices of the first axis at a time."""
    x, results = _places(x, packed, out)
    each = x.size // x.shape[0]
    some = max(_AT_ONCE * _core.get_num_threads() // max(each, 1), 1)
    some = -(-some // 8) * 8 if x.ndim == 1 else some  # whole bytes of bits
    for i in range(0, x.shape[0], some):
        part = slice(i, i + some)
        place = [one[part] for one in results]
        if packed and x.ndim == 1:
            place[1] = results[1][i // 8 : -(-(i + some) // 8)]
        given = (_part(one, x.ndim, part, packed, k) for k, one in enumerate(qparams))
        ufunc(x[part], words(x[part].shape, i * each), *given, out=tuple(place))
    return results


def _refuse_bad(dtype: np.dtype, qparams: tuple[Any, ...], packed: bool) -> None:
    """What the ufunc would refuse of a parameter, before anything is written."""
    ends = (np.asarray(one)[..., np.newaxis] if packed and np.ndim(one) else one for one in qparams[2:])
    _core.divide["fake_quantize"](np.zeros((), dtype), *qparams[:2], *ends)


def _places(x: NDArray[Any], packed: bool, out: Any) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """x, or a copy where an output lies across it, and the outputs."""
    kept = (*x.shape[:-1], -(-x.shape[-1] // 8)) if packed else x.shape
    kinds = [(x.shape, x.dtype.newbyteorder("=")), (kept, np.dtype(np.uint8 if packed else bool))]
    results = []
    for one, (shape, dtype) in zip(out, kinds, strict=False):
        if one is not None and one.shape != shape:
            raise ValueError(f"out must have shape {shape}, got {one.shape}")
        results.append(np.empty(shape, dtype) if one is None else one)
    is_x = x.__array_interface__["data"] == results[0].__array_interface__["data"] and x.strides == results[0].strides
    across = any(np.may_share_memory(x, one) for one in results[is_x:])
    return x.copy() if across else x, results


def _part(one: Any, axes: int, part: slice, packed: bool, k: int) -> Any:
    """What of a parameter goes with a part of the first axis: of a packed call, qmin and qmax lack the last one."""
    axes -= packed and k > 1
    return one[part] if np.ndim(one) == axes > 0 and one.shape[0] != 1 else one


def _shape_of(x: NDArray[Any], qparams: tuple[Any, ...], packed: bool) -> tuple[int, ...]:
    """The broadcast shape; the ufunc itself says what does not fit."""
    shapes = [np.shape(one) for one in qparams]
    if packed:
        shapes[2:] = [(*shape, 1) if shape else shape for shape in shapes[2:]]
    try:
        shape = broadcast_shapes([x.shape, *shapes])
    except ValueError:
        return x.shape
    return x.shape if packed and shape[-1:] != x.shape[-1:] else shape  # the packed axis is that of x


def _checked_start(start: Any) -> int:
    if isinstance(start, (bool, np.bool_)) or not isinstance(start, (int, np.integer)):
        raise TypeError(f"start must be an int, the index of the first element, got {type(start).__name__}")
    if start < 0:
        raise ValueError(f"start must be 0 or more, got {start}")
    return int(start)
