"""The functions of fq in XLA's own operations, for devices that fq's C does not reach: the same bits.

Things that XLA does, or may do, would change bits. A division by one value for many elements becomes a product with
its inverse on CPUs, and errs in the last places on GPUs. Subnormal numbers are taken for 0. And XLA's rules allow
x * b / a for x / (a / b), and to leave out a conversion to 16 bits and back. What is done about each is below.
"""

import jax
import jax.numpy as jnp
import numpy as np

FAR = 64  # beyond 2**-FAR and 2**FAR numbers are used nearer to 1, by this power
LATER = {"float32": 12, "float64": 27}  # the second half of a number's digits


def fake_quantize(reciprocal, x, *qparams):
    """(y,)."""
    return (_forward(reciprocal, x, qparams)[0],)


def forward_packed(reciprocal, x, *qparams):
    """(y, bits)."""
    y, inside = _forward(reciprocal, x, qparams)
    return y, _packed(inside)


def backward_packed(_, dy, bits):
    """(dx,)."""
    return (_masked(dy, _unpacked(bits, dy.shape[-1])),)


def backward_learnable(reciprocal, dy, x, scale, zero_point, qmin, qmax):
    """(dx, dscale, dzero_point)."""
    inside, *slopes = derivatives(reciprocal, x, scale, zero_point, qmin, qmax)
    products = [widened(dy) * slope for slope in slopes]
    return _masked(dy, inside), *map(summed, products, (scale.shape, zero_point.shape))


def forward_residual(bits, reciprocal, x, *qparams):
    """(y, residual). A code may be the one next to C's where the residual lies between two."""
    wide, grid = widened(x), Grid(reciprocal, *qparams)
    quotient, last = _quotient(reciprocal, wide, grid), _last_code(bits)
    inside, rest = _inside(quotient, grid), remainder(grid.nearer(wide), _clamped(quotient, grid), grid.step)
    code = jnp.where(inside, jnp.rint(-rest / grid.step * (2 * last)), jnp.where(quotient < 0, -last - 1, last + 1))
    code = jnp.where(jnp.isnan(quotient + grid.lo), -last - 2, code).astype(np.int8)
    return _forward(reciprocal, x, qparams)[0], code if bits == 8 else _paired(code)


def backward_residual(bits, _, dy, codes, scale, zero_point, qmin, qmax):
    """(dx, dscale, dzero_point)."""
    codes, last = codes if bits == 8 else _unpaired(codes, dy.shape[-1]), _last_code(bits)
    grid, inside = Grid(False, scale, zero_point, qmin, qmax), (codes >= -last) & (codes <= last)
    ends = jnp.where(codes > last, grid.hi, jnp.where(codes == -last - 1, grid.lo, np.nan))
    of_scale = jnp.where(inside, codes.astype(scale.dtype) / (2 * last), ends)
    of_zero_point = jnp.where(inside | (codes == -last - 2), 0, -grid.scale)
    products = [widened(dy) * slope for slope in (of_scale, of_zero_point)]
    return _masked(dy, inside), *map(summed, products, (scale.shape, zero_point.shape))


def _last_code(bits):
    """The largest code of what was in range."""
    return 2 ** (bits - 1) - 2


def learnable_tangent(reciprocal, dx, dscale, dzero_point, x, *qparams):
    """(dy,): what `backward_learnable` is the transpose of."""
    inside, of_scale, of_zero_point = derivatives(reciprocal, x, *qparams)
    dy = jnp.where(inside, widened(dx), 0) + (dscale * of_scale + dzero_point * of_zero_point)
    return (dy.astype(x.dtype),)


def quantize(dtype, x, scale, zero_point, qmin, qmax):
    """Levels of this type of integers, clamped to what it holds; zero_point where fq would refuse the parameters."""
    grid = Grid(False, scale, zero_point, qmin, qmax)
    away = _clamped(_quotient(False, widened(x), grid), grid)
    level = jnp.where(jnp.isnan(away), 0, away).astype(np.int32).astype(zero_point.dtype) + zero_point
    info = jnp.iinfo(dtype)
    least = 0 if jnp.issubdtype(level.dtype, np.unsignedinteger) else info.min
    return jnp.clip(level, max(least, jnp.iinfo(level.dtype).min), min(info.max, jnp.iinfo(level.dtype).max)).astype(
        dtype
    )


def dequantize(dtype, q, scale, zero_point):
    """The values of levels; NaN where scale is refused."""
    power = Power(scale)
    y = power.back(difference(q, zero_point, scale.dtype) * power.nearer(scale))
    return stored(jnp.where(is_scale(scale), y, np.nan), dtype)


def difference(q, zero_point, dtype):
    """q - zero_point as a real number, NaN where it is not one of the type."""
    above = at_most(zero_point, q)
    size = jnp.where(above, distance(zero_point, q), distance(q, zero_point))
    real = jnp.where(above, 1, -1) * size.astype(dtype)
    return jnp.where(_is_exact(size, dtype), real, np.nan)


def derivatives(reciprocal, x, *qparams):
    """The mask, and the derivatives of y with respect to scale and zero_point, in the type computed in."""
    wide, grid = widened(x), Grid(reciprocal, *qparams)
    quotient = _quotient(reciprocal, wide, grid)
    level, inside = _clamped(quotient, grid), _inside(quotient, grid)
    rest = remainder(grid.nearer(wide), level, grid.step) / grid.step
    of_scale = jnp.where(inside, -rest, level)
    return inside, of_scale, jnp.where(inside, 0, -grid.scale)


def summed(products, shape):
    """The sums over the axes along which the shape is 1."""
    return products.sum([axis for axis, size in enumerate(shape) if size == 1], keepdims=True)


class Power:
    """A power of 2 that brings tiny and huge numbers near to 1, where the machine computes with all their digits."""

    def __init__(self, size):
        number = size.dtype.type
        self.tiny, self.huge = (_bits(size) < _bits(number(2.0**-FAR))), size > 2.0**FAR

    def nearer(self, x):
        """x, times the power; also of subnormal x, which the machine may take for 0."""
        info, number = jnp.finfo(x.dtype), x.dtype.type
        size = _bits(x) & np.iinfo(_bits(x).dtype).max
        digits = jnp.where(_bits(x) < 0, -size, size).astype(x.dtype)
        subnormal = digits * number(2.0 ** (info.minexp - info.nmant + FAR))
        larger = jnp.where(size < 2**info.nmant, subnormal, x * number(2.0**FAR))
        return jnp.where(self.tiny, larger, jnp.where(self.huge, x * number(2.0**-FAR), x))

    def back(self, y):
        """What is computed from such an x; where it becomes subnormal it is a multiple of the smallest such number."""
        info, number = jnp.finfo(y.dtype), y.dtype.type
        digits = jnp.abs(y) * number(2.0 ** (info.nmant - info.minexp - FAR))
        is_subnormal = digits < 2.0**info.nmant
        size = jnp.where(is_subnormal, digits, 0).astype(_bits(y).dtype)
        subnormal = _of_bits(jnp.where(y < 0, size | _bits(number(-0.0)), size), y.dtype)
        smaller = jnp.where(is_subnormal, subnormal, y * number(2.0**-FAR))
        return jnp.where(self.tiny, smaller, jnp.where(self.huge, y * number(2.0**FAR), y))


class Grid(Power):
    """The parameters, as they are computed with.

    lo and hi are the ends relative to the zero point, NaN where fq would refuse the parameters: y is then NaN, and the
    mask False. The step is scale, which a tiny or huge one is not: it is brought near to 1, as x is beside it.
    """

    def __init__(self, reciprocal, scale, zero_point, qmin, qmax):
        info = jnp.finfo(scale.dtype)
        self.scale = scale = jax.lax.optimization_barrier(scale)  # what it was computed from may not be seen
        super().__init__(scale)
        self.step = self.nearer(scale)
        self.inverse = jax.lax.optimization_barrier(_inverse(self)) if reciprocal else None
        below, above = distance(qmin, zero_point), distance(zero_point, qmax)
        good = is_scale(scale) & at_most(qmin, zero_point) & at_most(zero_point, qmax)
        good &= _is_exact(below, scale.dtype) & _is_exact(above, scale.dtype)
        if reciprocal:
            good &= ~self.tiny | (self.inverse < 2.0 ** (info.maxexp - FAR))
        self.lo = jnp.where(good, -below.astype(scale.dtype), np.nan)
        self.hi = jnp.where(good, above.astype(scale.dtype), np.nan)


def is_scale(scale):
    """Whether it is positive and finite."""
    return (_bits(scale) > 0) & (_bits(scale) < _bits(scale.dtype.type(np.inf)))


def _forward(reciprocal, x, qparams):
    grid = Grid(reciprocal, *qparams)
    quotient = _quotient(reciprocal, widened(x), grid)
    return stored(grid.back(_clamped(quotient, grid) * grid.step), x.dtype), _inside(quotient, grid)


def _clamped(quotient, grid):
    return jnp.minimum(jnp.maximum(quotient, grid.lo), grid.hi)


def _inside(quotient, grid):
    return (quotient >= grid.lo) & (quotient <= grid.hi)


def _masked(dy, inside):
    """dy * mask, where a subnormal dy is kept."""
    return jnp.where(inside, dy, dy * 0)


# Numbers and their bits


def _bits(x):
    """The bits as a signed integer, which has the order of positive numbers."""
    bits = f"int{8 * x.dtype.itemsize}"
    return jax.lax.bitcast_convert_type(x, bits) if isinstance(x, jax.Array) else x.view(bits)


def _of_bits(bits, dtype):
    return jax.lax.bitcast_convert_type(bits, dtype)


def widened(x):
    """x in the type computed in. Sign and size go apart, as XLA may leave out a conversion beside its inverse."""
    if x.dtype.itemsize > 2:
        return x
    bits = _bits(x)
    size = _of_bits(bits & np.int16(0x7FFF), x.dtype).astype(np.float32)
    return jnp.where(bits < 0, -size, size)


def in_type(x, dtype):
    """x in a larger type, subnormal numbers too."""
    if x.dtype == dtype:
        return x
    info, size = jnp.finfo(x.dtype), _bits(x) & np.iinfo(_bits(x).dtype).max
    digits = jnp.where(_bits(x) < 0, -size, size).astype(dtype)
    return jnp.where(size < 2**info.nmant, digits * 2.0 ** (info.minexp - info.nmant), x.astype(dtype))


def negative(x, where):
    """x where it is below 0 and wanted, else 0; by its bits, as a subnormal number may be taken for 0."""
    bits = _bits(x)
    return _of_bits(jnp.where(where & (bits < 0) & (bits != np.iinfo(bits.dtype).min), bits, 0), x.dtype)


def positive(x, where):
    """x where it is above 0 and wanted, else 0, likewise."""
    return _of_bits(jnp.where(where & (_bits(x) > 0), _bits(x), 0), x.dtype)


def are_zero(*arrays):
    """Where all are 0.0, likewise."""
    return jnp.stack([_bits(x) == 0 for x in arrays]).all(0)


def stored(y, dtype):
    """y in its type, and 0 for -0.0: told from subnormal numbers by its bits."""
    bits = _bits(y.astype(dtype))
    return _of_bits(jnp.where(bits == jnp.iinfo(bits.dtype).min, 0, bits), dtype)


# Quotients


def _quotient(reciprocal, x, grid):
    """The integer nearest to x / scale as rounded to its type, or to x * (1 / scale), half to even."""
    x = grid.nearer(x)
    if reciprocal:
        return jnp.rint(x * grid.inverse)
    return corrected(jnp.rint(x / grid.step), x, grid.step)


def _inverse(grid):
    """1 / step; that of a huge scale has the digits of a subnormal number."""
    inverse, info = 1 / grid.step, jnp.finfo(grid.step.dtype)
    inverse += inverse * remainder(jnp.ones_like(inverse), inverse, grid.step)
    digit = 2.0 ** (info.minexp - info.nmant + FAR)
    return jnp.where(grid.huge & (inverse < digit * 2.0**info.nmant), jnp.rint(inverse / digit) * digit, inverse)


def corrected(level, x, scale):
    """The integer nearest to x / scale, given one that may be the next to it.

    The rest x - level * scale tells: it is a number of the type. A quotient that is rounded to a tie is half a unit in
    its last place away from the tie, at most.
    """
    info = jnp.finfo(x.dtype)
    rest = remainder(x, level, scale)
    toward = jnp.where(rest < 0, -1, 1).astype(x.dtype)
    excess = 2 * jnp.abs(rest) - scale
    tie = level + toward / 2
    power = _of_bits(_bits(tie) & _bits(x.dtype.type(np.inf)), x.dtype)
    unit = power * x.dtype.type(2.0**-info.nmant)
    has_ties = jnp.abs(tie) < 2.0**info.nmant
    is_tie = has_ties & (jnp.abs(excess) <= scale * unit)
    moves = jnp.where(is_tie, jnp.rint(level / 2) * 2 != level, excess > 0)
    return jnp.where(moves & (jnp.abs(level) <= 2.0 ** (info.nmant + 1)), level + toward, level)


def remainder(x, level, scale):
    """x - level * scale, by products that are exact, so that fusing them changes nothing."""
    (level, few), (scale, more) = _halves(level), _halves(scale)
    return x - level * scale - level * more - few * scale - few * more


def _halves(x):
    first = _of_bits(_bits(x) & -(1 << LATER[x.dtype.name]), x.dtype)
    return first, x - first


# Levels, of 32 or 64 bits, some of them unsigned


def at_most(a, b):
    unsigned = _unsigned(a, b)
    if all(jnp.issubdtype(each.dtype, np.signedinteger) for each in (a, b)):
        return a.astype(unsigned[1:]) <= b.astype(unsigned[1:])
    return (a < 0) | (b >= 0) & (a.astype(unsigned) <= b.astype(unsigned))


def distance(a, b):
    """b - a where a <= b, as an unsigned number that holds every such difference."""
    return b.astype(_unsigned(a, b)) - a.astype(_unsigned(a, b))


def _is_exact(size, dtype):
    """Whether every integer up to this unsigned one is a number of the type."""
    most = 2 ** (jnp.finfo(dtype).nmant + 1)
    return size <= min(most, jnp.iinfo(size.dtype).max)  # JAX would wrap what its type does not hold


def _unsigned(a, b):
    return f"uint{8 * max(a.dtype.itemsize, b.dtype.itemsize)}"


# Packed masks


def _packed(inside):
    n = inside.shape[-1]
    padded = jnp.pad(inside, [(0, 0)] * (inside.ndim - 1) + [(0, -n % 8)])
    eights = padded.reshape(*inside.shape[:-1], -(-n // 8), 8).astype(np.uint8)
    return (eights << jnp.arange(8, dtype=np.uint8)).sum(-1, dtype=np.uint8)


def _unpacked(bits, n):
    eights = bits[..., None] >> jnp.arange(8, dtype=np.uint8)
    return (eights & 1).astype(bool).reshape(*bits.shape[:-1], bits.shape[-1] * 8)[..., :n]


def _paired(codes):
    """Two codes of four bits to a byte, the first one's lowest."""
    n = codes.shape[-1]
    padded = jnp.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, n % 2)]).astype(np.uint8)
    pairs = padded.reshape(*codes.shape[:-1], -(-n // 2), 2) & np.uint8(15)
    return pairs[..., 0] | pairs[..., 1] << np.uint8(4)


def _unpaired(packed, n):
    pairs = jnp.stack([packed & np.uint8(15), packed >> np.uint8(4)], -1).astype(np.int8)
    return ((pairs ^ np.int8(8)) - np.int8(8)).reshape(*packed.shape[:-1], packed.shape[-1] * 2)[..., :n]
