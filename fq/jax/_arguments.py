"""Arguments of the functions for JAX: checked in NumPy's words, and made arrays of x's rank and fq's types."""

import jax
import jax.numpy as jnp
import numpy as np

import fq
from fq.jax import _sharding
from fq.learnable import broadcasts_into

NAMES = "scale", "zero_point", "qmin", "qmax"
TYPES = [np.dtype(name) for name in ("float16", jnp.bfloat16, "float32", "float64")]


def read(x, *qparams):
    """x and its four parameters as arrays that the calls take.

    Parameters
    ----------
    x, *qparams : array_like
        As a user gave them.

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
    x = jnp.asarray(x)
    if x.dtype not in TYPES:
        raise TypeError(f"x must be float16, bfloat16, float32 or float64, got {x.dtype}")
    _check_types(qparams)
    _check_values(x.dtype, qparams)
    _check_shapes(x.shape, [np.shape(p) for p in qparams])
    scale, *levels = qparams
    return _alike(x, [_of_type(scale, computed_in(x.dtype)), *(_integers(level) for level in levels)])


def computed_in(dtype):
    """float64 for float64, else float32."""
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def is_real(value):
    """Whether a zero point is to be learned."""
    return jnp.issubdtype(_dtype(value), np.floating)


def nearest_level(zero_point, qmin, qmax):
    """The integers nearest to a real zero point within [qmin, qmax], for NaN one that is outside any range; and the
    zero point, of the same shape."""
    real, qmin, qmax = jnp.broadcast_arrays(*map(jnp.asarray, (zero_point, qmin, qmax)))
    known = jax.lax.stop_gradient(real).astype(np.float32)
    level = jnp.clip(jnp.clip(jnp.rint(known), -(2.0**30), 2.0**30).astype(int), qmin, qmax).astype(int)
    return jnp.where(jnp.isnan(known), jnp.iinfo(np.int32).min, level), real


def gradient_of(value, x, qparams):
    """An array through which the gradient of a real value flows, made like the parameters beside it."""
    return _alike(x, [*qparams, _of_type(value, computed_in(x.dtype))])[1][-1]


def _is_known(value):
    return not isinstance(value, jax.Array)


def _dtype(value):
    return np.dtype(value.dtype) if isinstance(value, jax.Array) else np.asarray(value).dtype


def _check_types(qparams):
    accepted = (np.floating, np.integer, np.bool_), (np.integer, np.bool_)
    for name, value in zip(NAMES, qparams, strict=True):
        dtype = _dtype(value)
        kinds = accepted[name != "scale"]
        if not any(jnp.issubdtype(dtype, kind) for kind in kinds):
            what = "a real number" if name == "scale" else "an integer"
            raise TypeError(f"{name} must be {what} or an array of them, got {dtype}")


def _check_values(dtype, qparams):
    """Known values are refused at once, by the NumPy function; what is traced is refused when it runs."""
    scale, *levels = qparams
    levels = levels if all(map(_is_known, levels)) else [0, 0, 0]
    fq.fake_quantize(np.zeros((), dtype), scale if _is_known(scale) else 1, *levels)


def _check_shapes(shape, shapes):
    for name, given in zip(NAMES, shapes, strict=True):
        if not broadcasts_into(given, shape):
            raise ValueError(f"{name} must broadcast into x, whose shape is {shape}, but has {given}")
        if name in ("qmin", "qmax") and shape and given and given[-1] != 1:
            raise ValueError(f"{name} must not vary along the last axis of x, but has shape {given}")


def _of_type(value, dtype):
    return value.astype(dtype) if isinstance(value, jax.Array) else jnp.asarray(np.asarray(value).astype(dtype))


def _integers(value):
    """Of 32 bits, or of 64 where JAX has them: uint32 is taken as it is."""
    wide = jax.config.jax_enable_x64
    if isinstance(value, jax.Array):
        narrow = np.can_cast(value.dtype, np.int32) or (value.dtype == np.uint32 and not wide)
        return value.astype(np.uint32 if value.dtype == np.uint32 else np.int32) if narrow else value.astype(np.int64)
    value = np.asarray(value).astype(np.int64)
    if not wide and not np.array_equal(value, value.astype(np.int32)):
        raise ValueError(f"without jax_enable_x64 levels must fit int32, got {value}")
    return jnp.asarray(value if wide else value.astype(np.int32))


def _alike(x, others):
    """All of x's rank, and, inside `jax.shard_map`, varying along the same axes of its mesh."""
    x, *others = _sharding.varying_alike(
        x, *(other.reshape((1,) * (x.ndim - other.ndim) + other.shape) for other in others)
    )
    return x, tuple(others)
