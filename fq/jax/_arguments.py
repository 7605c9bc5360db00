"""Arguments of the functions for JAX: checked in NumPy's words, and made arrays of x's rank and fq's types."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

import fq
from fq._range_arguments import known_eps
from fq.jax import _sharding
from fq.learnable import broadcasts_into

PLAIN = jax.Array, np.ndarray, np.generic, int, float, complex
NAMES = "scale", "zero_point", "qmin", "qmax"
TYPES = [np.dtype(name) for name in ("float16", jnp.bfloat16, "float32", "float64")]


def known(x, *qparams, learned=False):
    """What a user gave as arguments of a compiled function, with the values that are known checked.

    Parameters
    ----------
    x, *qparams : array_like
    learned : bool
        Whether zero_point may be a real number.

    Returns
    -------
    list

    Raises
    ------
    TypeError, ValueError
        As `fq.jax.fake_quantize` says.
    """
    arguments = [plain(each) for each in (x, *qparams)]
    values = [None if isinstance(each, jax.Array) else each for each in arguments[1:]]
    check = _check_values if any(isinstance(each, np.ndarray) for each in values) else _check_numbers
    check(dtype_of(arguments[0]), jax.config.jax_enable_x64, learned, *values)
    return arguments


def read(x, *qparams):
    """x and its four parameters as arrays that the calls take.

    Parameters
    ----------
    x, *qparams : array
        Those of a compiled function.

    Returns
    -------
    x : array
    qparams : tuple of 4 arrays
        Of x's rank, at least, with scale in the type computed in and the others of integers.

    Raises
    ------
    TypeError, ValueError
        As `fq.jax.fake_quantize` says.
    """
    x, *qparams = map(jnp.asarray, (x, *qparams))  # numbers where jax.jit is disabled
    _check_types(x.dtype, qparams)
    _check_shapes(x.shape, [p.shape for p in qparams])
    scale, *levels = qparams
    return _alike(x, [scale.astype(computed_in(x.dtype)), *map(as_integers, levels)])


def computed_in(dtype):
    """float64 for float64, else float32."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def is_real(value):
    """Whether a zero point is to be learned."""
    return jnp.issubdtype(dtype_of(value), np.floating)


def nearest_level(zero_point, qmin, qmax):
    """The integers nearest to a real zero point within [qmin, qmax], for NaN one that is outside any range; and the
    zero point, of the same shape."""
    real, qmin, qmax = jnp.broadcast_arrays(*map(jnp.asarray, (zero_point, qmin, qmax)))
    known = jax.lax.stop_gradient(real).astype(np.float32)
    level = jnp.clip(jnp.clip(jnp.rint(known), -(2.0**30), 2.0**30).astype(int), qmin, qmax).astype(int)
    return jnp.where(jnp.isnan(known), jnp.iinfo(np.int32).min, level), real


def gradient_of(value, x, qparams):
    """An array through which the gradient of a real value flows, made like the parameters beside it."""
    return _alike(x, [*qparams, jnp.asarray(value, computed_in(x.dtype))])[1][-1]


def at_least(scale, eps):
    """scale, and eps where scale is less, with the derivative of scale everywhere: training can bring it back."""
    scale, eps = plain(scale), known_eps(eps)
    return scale if eps == 0 or _is_no_real_number(scale) else _at_least(scale, eps)


@jax.jit
def _at_least(scale, eps):
    scale = jnp.asarray(scale)
    scale = scale.astype(jnp.promote_types(scale.dtype, np.float32))
    return jnp.where(scale < eps, (scale - jax.lax.stop_gradient(scale)) + jnp.asarray(eps, scale.dtype), scale)


def plain(value):
    """A number or an array: of what holds one, such as a parameter of a module, that."""
    if isinstance(value, PLAIN):
        return value
    return value.__jax_array__() if hasattr(value, "__jax_array__") else np.asarray(value)


def dtype_of(value):
    return np.dtype(value.dtype) if hasattr(value, "dtype") else np.asarray(value).dtype


def check_type_of_x(dtype):
    """TypeError for a type that fq does not compute with."""
    if dtype not in TYPES:
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {dtype}")


def check_real(name, value):
    """TypeError for what is not real."""
    if _is_no_real_number(value):
        raise TypeError(f"{name} must be real, got {dtype_of(value)}")


def _is_no_real_number(value):
    return not any(jnp.issubdtype(dtype_of(value), kind) for kind in (np.integer, np.bool_, np.floating))


def _check_types(x, qparams, learned=False):
    check_type_of_x(x)
    for name, value in zip(NAMES, qparams, strict=True):
        may_be_real = name == "scale" or (learned and name == "zero_point")
        kinds = (np.integer, np.bool_, np.floating)[: 3 if may_be_real else 2]
        if value is not None and not any(jnp.issubdtype(dtype_of(value), kind) for kind in kinds):
            what = "a real number" if may_be_real else "an integer"
            raise TypeError(f"{name} must be {what} or an array of them, got {dtype_of(value)}")


def _check_values(dtype, x64, learned, scale, *levels):
    """Known values are refused at once, by the NumPy function; what is None, not known, is refused when it runs."""
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    _check_types(dtype, (scale, *levels), learned)
    integers = [level for level in levels if level is not None and not is_real(level)]
    for level in integers:
        if not x64 and not np.array_equal(level, np.asarray(level).astype(np.int32)):
            raise ValueError(f"without jax_enable_x64 levels must fit int32, got {level}")
    fq.fake_quantize(np.zeros((), dtype), 1 if scale is None else scale, *(levels if len(integers) == 3 else [0, 0, 0]))


# Once for numbers that come again.
_check_numbers = lru_cache(maxsize=1024, typed=True)(_check_values)


def _check_shapes(shape, shapes):
    for name, given in zip(NAMES, shapes, strict=True):
        if not broadcasts_into(given, shape):
            raise ValueError(f"{name} must broadcast into x, whose shape is {shape}, but has {given}")
        if name in ("qmin", "qmax") and shape and given and given[-1] != 1:
            raise ValueError(f"{name} must not vary along the last axis of x, but has shape {given}")


def as_integers(value):
    """Of 32 bits, or of 64 where JAX has them: uint32 is taken as it is."""
    if value.dtype == np.uint32 and not jax.config.jax_enable_x64:
        return value
    return value.astype(np.int32 if np.can_cast(value.dtype, np.int32) else np.int64)


def _alike(x, others):
    """All of x's rank, and, inside `jax.shard_map`, varying along the same axes of its mesh."""
    x, *others = _sharding.varying_alike(
        x, *(other.reshape((1,) * (x.ndim - other.ndim) + other.shape) for other in others)
    )
    return x, tuple(others)
