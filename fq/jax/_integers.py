"""Integers of the grid for JAX, in XLA's own operations, with the bits of fq's fake quantization."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from fq._range_arguments import OF_LEVELS
from fq.jax import _arguments, _formula

TYPES = [jnp.dtype(name) for name in (*OF_LEVELS, "int2", "uint2", "int4", "uint4")]


def quantize(x, scale, zero_point, qmin, qmax, dtype=None):
    """The levels nearest to x, as integers: clamp(rint(x / scale)) + zero_point.

    ``dequantize(quantize(x, ...), ...)`` has the bits of `fake_quantize` for all x but NaN.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax
        As for `fake_quantize`.
    dtype : dtype, optional
        int8, uint8, int16, uint16, int32, ``jnp.int2``, ``jnp.uint2``, ``jnp.int4`` or ``jnp.uint4``. If not given, the
        first of the first five that holds qmin to qmax, which must then be known, not traced.

    Returns
    -------
    q : array
        Of x's shape. Infinities are clamped; NaN gives zero_point. Integers have no gradient: train with
        `fake_quantize`.

    Raises
    ------
    TypeError
        As by `fake_quantize`; if dtype is another, or is missing where qmin or qmax is traced.
    ValueError
        If shapes do not broadcast into x; for values of parameters that are known, those of `fake_quantize` and levels
        that dtype does not hold. Where a traced parameter would be refused, q is zero_point, and `dequantize` gives
        NaN if it was the scale. Traced levels beyond dtype's are clamped to them.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([-9.0, 0.2, 5.0])
    >>> q = jax.jit(lambda x: quantize(x, 0.25, 0, -8, 7, jnp.int4))(x)
    >>> print(q, q.dtype)
    [-8 1 7] int4
    >>> print(dequantize(q, 0.25, 0))
    [-2.    0.25  1.75]
    """
    given = [_arguments.plain(each) for each in (x, scale, zero_point, qmin, qmax)]
    seen = [_seen(each) for each in given[1:]]
    _arguments.known(given[0], *seen)
    return _quantized(_type_of(dtype, *seen[2:]), *given)


def dequantize(q, scale, zero_point, dtype=jnp.float32):
    """The values of levels: (q - zero_point) * scale, rounded once, and never -0.0.

    Parameters
    ----------
    q : array of integers
        Of any integer type, and any shape.
    scale : array_like of real numbers
        Width of a step, cast to float32, or to float64 where dtype is. It broadcasts into q.
    zero_point : array_like of integers
        The level of 0.0, likewise.
    dtype : dtype
        float16, bfloat16, float32, or float64, which needs ``jax_enable_x64``: for the bits of `fake_quantize`, that
        of x.

    Returns
    -------
    y : array
        Of q's shape. Its gradient reaches scale. NaN where scale is not positive and finite, and where q and zero_point
        are so far apart that their difference is not a number of the type computed in.

    Raises
    ------
    TypeError
        If q or zero_point is not of integers, scale is not real, or dtype is another.
    ValueError
        If a shape does not broadcast into q's, or a known scale is not positive and finite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> print(dequantize(jnp.array([[0, 128], [255, 7]], jnp.uint8), jnp.array([[0.5], [0.25]]), 128))
    [[-64.     0.  ]
     [ 31.75 -30.25]]
    """
    dtype = jnp.dtype(dtype)
    if dtype not in _arguments.TYPES:
        raise TypeError(f"dtype must be float16, bfloat16, float32 or float64, got {dtype}")
    if dtype != jax.dtypes.canonicalize_dtype(dtype):
        raise TypeError("dtype float64 needs jax_enable_x64")
    q, scale, zero_point = given = [_arguments.plain(each) for each in (q, scale, zero_point)]
    if not jnp.issubdtype(_arguments.dtype_of(q), np.integer):
        raise TypeError(f"q must be an array of integers, got {_arguments.dtype_of(q)}")
    known = _seen(scale)
    levels = (0, 0, 0) if isinstance(zero_point, jax.Array) else (zero_point, *_ends(zero_point))
    _arguments.known(np.zeros((), _arguments.computed_in(dtype)), known, *levels)
    return _dequantized(dtype, *given)


def _seen(value):
    """The value of an array that is there, checked as NumPy's are; a traced one, or one of other hosts, as it is."""
    if isinstance(value, jax.core.Tracer) or not isinstance(value, jax.Array) or not value.is_fully_addressable:
        return value
    return np.asarray(value)


def _ends(zero_point):
    """Levels that any zero point lies between."""
    return (np.min(zero_point), np.max(zero_point)) if np.size(zero_point) else (0, 0)


def _type_of(dtype, qmin, qmax):
    """The type of integers, given or found."""
    if dtype is not None and jnp.dtype(dtype) not in TYPES:
        raise TypeError(f"dtype must be one of {', '.join(map(str, TYPES))}, got {jnp.dtype(dtype)}")
    if any(isinstance(level, jax.Array) for level in (qmin, qmax)):
        if dtype is None:
            raise TypeError("qmin and qmax are traced, so dtype must be given: quantize(x, *qparams, dtype=jnp.int8)")
        return jnp.dtype(dtype)
    least, most = (int(pick(level)) if np.size(level) else 0 for pick, level in ((np.min, qmin), (np.max, qmax)))
    fits = [one for one in map(jnp.dtype, OF_LEVELS if dtype is None else [dtype]) if _holds(one, least, most)]
    if not fits:
        wanted = f"{jnp.dtype(dtype)} does not hold" if dtype is not None else "no type of integers holds"
        raise ValueError(f"{wanted} the levels {least} to {most}")
    return fits[0]


def _holds(dtype, least, most):
    info = jnp.iinfo(dtype)
    return info.min <= least and most <= info.max


@partial(jax.jit, static_argnums=0)
def _quantized(dtype, x, *qparams):
    x, qparams = _arguments.read(x, *qparams)
    return _formula.quantize(dtype, x, *qparams)


@partial(jax.jit, static_argnums=0)
def _dequantized(dtype, q, scale, zero_point):
    q = jnp.asarray(q)
    like = jnp.broadcast_to(jnp.zeros((), dtype), q.shape)
    _, (scale, zero_point, *_) = _arguments.read(like, scale, zero_point, jnp.asarray(0), jnp.asarray(0))
    return _values(dtype, _arguments.as_integers(q), scale, zero_point)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _values(dtype, q, scale, zero_point):
    return _formula.dequantize(dtype, q, scale, zero_point)


@_values.defjvp
def _tangent(dtype, arrays, tangents):
    q, scale, zero_point = arrays
    slope = _formula.difference(q, zero_point, scale.dtype)
    return _values(dtype, *arrays), (slope * tangents[1]).astype(dtype)
