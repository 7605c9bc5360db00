"""Float formats and blocks in XLA's own operations: the bits of fq.floats, and of fq.blocks but for subnormal numbers.

Multiplications by powers of two are exact, and a quotient is corrected by its rest, as in `_formula`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from fq.formats import e4m3fn
from fq.jax import _formula


def operands(grid, x, scale):
    """A format as arrays of x's rank, which fq's C takes behind scale."""
    kinds = np.int32, np.int32, scale.dtype, np.bool_
    return [jnp.full((1,) * x.ndim, value, kind) for value, kind in zip(grid, kinds, strict=True)]


def fake_quantize(grid, x, scale):
    """(y,)."""
    return (_forward(grid, x, scale)[0],)


def forward_packed(grid, x, scale):
    """(y, bits)."""
    y, inside = _forward(grid, x, scale)
    return y, packed(inside)


def packed(inside):
    """A mask as a bit per element, along its last axis."""
    return _formula._packed(inside)


def _forward(grid, x, scale):
    power, good = _formula.Power(jax.lax.optimization_barrier(scale)), _formula.is_scale(scale)
    step = jnp.where(good, power.nearer(scale), np.nan)
    near = power.nearer(_formula.widened(x))
    point = _rounded(grid, near, step)
    largest = point.dtype.type(grid.max)
    size = jnp.minimum(jnp.abs(point), largest)
    return _signed(grid, power.back(size * step), x), jnp.abs(point) <= largest


def _rounded(grid, x, scale):
    """The number of the format nearest to x / scale as rounded to its type, as if the format went on."""
    number, quotient = x.dtype.type, jnp.abs(x / scale)
    beyond = grid.max + math.ldexp(1.0, max(math.frexp(grid.max)[1] - 1, grid.min_exponent) - grid.mantissa_bits)
    size = jnp.minimum(quotient, number(beyond))
    infinity = _formula._bits(number(np.inf))
    power = _formula._of_bits(_formula._bits(size) & infinity, x.dtype)
    unit = jnp.maximum(power, number(2.0**grid.min_exponent)) * number(2.0**-grid.mantissa_bits)
    level = _formula.corrected(jnp.rint(quotient / unit), jnp.abs(x), scale * unit)
    return jnp.where(jnp.isnan(quotient), np.nan, level * unit)


def _signed(grid, size, x):
    """size in x's type with the sign of x; 0.0 in the place of -0.0 where the format has none."""
    bits, sign = _formula._bits(_formula.stored(size, x.dtype)), _formula._bits(x) < 0
    least = jnp.iinfo(bits.dtype).min
    negative = sign if grid.signed_zero else sign & (bits != 0)
    return _formula._of_bits(jnp.where(negative, bits | least, bits), x.dtype)


def blocks(format, axis, x, tensor_scale):
    """y and the mask of blocks along an axis; tensor_scale is an array, of scales of E4M3."""
    grid, wide = format.grid, jnp.moveaxis(_formula.widened(x), axis, -1)
    n = wide.shape[-1]
    padded = jnp.pad(wide, [(0, 0)] * (wide.ndim - 1) + [(0, -n % format.block)])
    padded = padded.reshape(*wide.shape[:-1], -(-n // format.block), format.block)
    amax = jnp.abs(padded).max(-1, keepdims=True)
    scale = _e4m3_scale(grid, amax, tensor_scale) if format.scale == "e4m3" else _power_of_two(format, amax)
    point = _rounded(grid, padded, jax.lax.optimization_barrier(scale))
    largest = point.dtype.type(grid.max)
    size = jnp.where(jnp.isnan(scale), np.nan, jnp.minimum(jnp.abs(point), largest) * scale)
    size, inside = (
        jnp.moveaxis(one.reshape(*wide.shape[:-1], -1)[..., :n], -1, axis)
        for one in (size, (jnp.abs(point) <= largest) & ~jnp.isnan(scale))
    )
    return _signed(grid, size, x), inside


def _power_of_two(format, amax):
    """2**k by the rule; NaN where amax is not finite."""
    grid, info = format.grid, jnp.finfo(amax.dtype)
    bits, least = _formula._bits(amax), math.frexp(grid.max)[1] - 1
    fraction = bits & ((1 << info.nmant) - 1)
    one = _formula._bits(amax.dtype.type(1))
    number = _formula._of_bits(fraction | one, amax.dtype) * 2.0**least  # amax, brought into the binade of max
    above = number > grid.max
    if format.rule == "fit":
        above = _rounded(grid, number, jnp.ones_like(number)) > grid.max
    k = (bits >> info.nmant) - (info.maxexp - 1) - least + (above if format.rule != "floor" else 0)
    k = jnp.where(bits == 0, -127, jnp.clip(k, -127, 127))
    half = k // 2
    powers = (
        _formula._of_bits((one_half + info.maxexp - 1) << info.nmant, amax.dtype) for one_half in (half, k - half)
    )
    return jnp.where(jnp.isfinite(amax), jnp.prod(jnp.stack(list(powers)), 0), np.nan)


def _e4m3_scale(grid, amax, tensor_scale):
    """b * tensor_scale, with b = amax / (max * tensor_scale) in E4M3."""
    b = _rounded(e4m3fn, amax, jax.lax.optimization_barrier(tensor_scale * amax.dtype.type(grid.max)))
    b = jnp.clip(b, 2.0**-9, e4m3fn.max)
    return jnp.where(jnp.isfinite(amax), b * tensor_scale, np.nan)


def found_tensor_scale(grid, x):
    """As `fq.blocks` finds that of x."""
    size = jnp.abs(_formula.widened(x))
    amax = jnp.where(jnp.isfinite(size), size, 0).max(initial=0).astype(np.float32)
    by = np.float32(np.float32(e4m3fn.max) * np.float32(grid.max))
    quotient = amax / jax.lax.optimization_barrier(by)
    rest = _formula.remainder(amax, quotient, by) / by
    found = jnp.maximum(quotient + rest, np.finfo(np.float32).tiny)
    return jnp.where(amax == 0, np.float32(1), found)
