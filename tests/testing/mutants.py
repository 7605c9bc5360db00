"""The reference with one thing wrong, and the laws that must catch it; all others must hold."""

import ctypes

import numpy as np

import fq
from fq.testing import Supports

ALL_TYPES = ("float32", "float16", "bfloat16", "float64")


class Reference:
    """The reference as a candidate."""

    name = "reference"
    supports = Supports(dtypes=ALL_TYPES, channels=True, broadcast=True)

    def forward(self, x, *qparams):
        return fq.reference.fake_quantize(x, *qparams)

    def mask(self, x, *qparams):
        return fq.reference.forward(x, *qparams)[1]

    def gradient(self, dy, x, *qparams):
        return fq.reference.backward_recompute(dy, x, *qparams)

    def learnable(self, dy, x, *qparams):
        return fq.reference.backward_learnable(dy, x, *qparams)

    def residual(self, dy, x, *qparams):
        return by_codes(dy, x, *qparams)

    def residual4(self, dy, x, *qparams):
        return by_codes(dy, x, *qparams, suffix="_packed")


def formula(x, scale, zero_point, qmin, qmax, *, rint=np.rint, divide=np.divide, unclamped=None):
    """The formula with a part replaced; `unclamped` gives the level without its zero_point from x / scale."""
    compute = np.float64 if x.dtype == np.float64 else np.float32
    scale = np.asarray(scale, compute)
    low, high = (np.asarray(end - np.asarray(zero_point), compute) for end in (qmin, qmax))
    level = rint(divide(x.astype(compute), scale))
    level = np.clip(level if unclamped is None else unclamped(level), low, high)
    return ((level * scale).astype(x.dtype) + x.dtype.type(0))[()]


def half_away(quotient):
    whole = np.trunc(quotient)
    return np.where(np.abs(quotient - whole) == 0.5, whole + np.sign(quotient), np.rint(quotient))


def clamp_before_zero_point(x, scale, zero_point, qmin, qmax):
    return formula(x, scale, zero_point if np.ndim(zero_point) else 0, qmin, qmax)


def zero_point_before_rounding(x, scale, zero_point, qmin, qmax):
    def rint(quotient):
        return np.rint(quotient + zero_point) - zero_point

    return formula(x, scale, zero_point, qmin, qmax, rint=rint)


def mask_by_range(x, scale, zero_point, qmin, qmax):
    low, high = (np.float64(scale) * (end - zero_point) for end in (qmin, qmax))
    return (low <= x) & (x <= high)


def multiplied(x, scale):
    return x * (scale.dtype.type(1) / scale)


def minus_zero(x, scale, zero_point, qmin, qmax):
    y = fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)
    return np.where((y == 0) & np.signbit(x), -y, y)


def nan_to_qmin(x, scale, zero_point, qmin, qmax):
    y = fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)
    return np.where(np.isnan(x), ((qmin - zero_point) * scale).astype(x.dtype), y)


def cast_to_int32(level):
    return np.where(np.isnan(level) | (np.abs(level) < 2**31), level, np.copysign(2.0**31, -1))


def half_at_an_end(dy, x, scale, zero_point, qmin, qmax):
    dx = fq.reference.backward_recompute(dy, x, scale, zero_point, qmin, qmax)
    return np.where(np.isin(x, [(qmin - zero_point) * scale, (qmax - zero_point) * scale]), dx / 2, dx)


def dropped_tail(x, *qparams):
    y = np.array(fq.reference.fake_quantize(x, *qparams), order="C")
    if y.size > 8:
        y.reshape(-1)[y.size - y.size % 8 :] = 0
    return y


# The mutants that the laws were written for, and one more for each other law.


def last_bit(x, scale, zero_point, qmin, qmax):
    y = fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)
    return np.nextafter(y, y.dtype.type(np.inf))


def wraps_beyond(x, scale, zero_point, qmin, qmax):
    y = fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)
    if x.dtype != np.float32 or np.ndim(scale) or np.any(zero_point):
        return y
    return np.where(np.rint(x / scale) > qmax, (qmax - 1) * scale, y)


def smallest_scale(x, scale, *grid):
    return fq.reference.fake_quantize(x, np.maximum(scale, scale.dtype.type(1e-10)), *grid)


def flushed(x, scale, *grid):
    y = fq.reference.fake_quantize(x, scale, *grid)
    return np.where(np.abs(y) < np.finfo(np.float32).tiny, y.dtype.type(0), y) if x.dtype == np.float32 else y


def first_channel(x, scale, zero_point, qmin, qmax):
    if np.shape(scale) == np.shape(zero_point):
        scale, zero_point = np.ravel(scale)[0], np.ravel(zero_point)[0]
    return fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)


def in_its_own_type(name):
    def forward(x, scale, zero_point, qmin, qmax):
        if x.dtype.name != name:
            return fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)
        compute = np.float32 if name == "float64" else x.dtype.type
        scale = compute(scale)
        level = np.clip(np.rint(x.astype(compute) / scale), compute(qmin - zero_point), compute(qmax - zero_point))
        return (level * scale).astype(x.dtype) + x.dtype.type(0)

    return forward


def always_float32(x, *qparams):
    return fq.reference.fake_quantize(x, *qparams).astype(np.float64)


def inexact_quotient(x, *qparams):
    return fq.reference.forward(x, *qparams, arithmetic="reciprocal")[1]


def drifts(x, scale, zero_point, qmin, qmax):
    """A step less each time, from the middle of the range: further from 0 than half a step."""
    y = fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)
    return np.where(y == 3 * scale, 2 * scale, np.where(y == 2 * scale, scale, y)).astype(x.dtype)


def swaps_two(x, scale, zero_point, qmin, qmax):
    y = fq.reference.fake_quantize(x, scale, zero_point, qmin, qmax)
    return np.where(y == scale, 2 * scale, np.where(y == 2 * scale, scale, y)).astype(x.dtype)


def passes(*parts):
    """A gradient that passes, or is halved, in places where it should not."""

    def gradient(dy, x, scale, zero_point, qmin, qmax):
        dx = fq.reference.backward_recompute(dy, x, scale, zero_point, qmin, qmax)
        level = np.rint(x / scale)
        ends = (level == qmin - zero_point) | (level == qmax - zero_point)
        if "halved inside" in parts:
            dx = np.where((dx != 0) & ~ends, dx / 2, dx)
        if "outside" in parts:
            dx = np.where(np.isfinite(x), dy, dx)
        return np.where(np.isfinite(x), dx, dy) if "infinite" in parts else dx

    return gradient


def refuses_empty(x, *qparams):
    if not x.size:
        raise ValueError("zero-size array to reduction operation maximum which has no identity")
    return fq.reference.fake_quantize(x, *qparams)


def at_least_1d(x, *qparams):
    return np.atleast_1d(fq.reference.fake_quantize(x, *qparams))


def reads_memory(x, *qparams):
    return fq.reference.fake_quantize(_in_memory(x), *qparams)


def _in_memory(x):
    """The elements as they lie there, gaps included."""
    if x.flags.c_contiguous:
        return x
    low, high = np.lib.array_utils.byte_bounds(x)
    memory = np.array((ctypes.c_char * (high - low)).from_address(low))
    return np.resize(np.frombuffer(memory.tobytes(), x.dtype), x.shape)


def in_place(x, *qparams):
    x[...] = fq.reference.fake_quantize(x, *qparams)
    return x.copy()


# The learnable backward with one thing wrong. Each says for which inputs, since every value takes part in the sums.


def plain(x, scale, zero_point):
    """Whether the types, zero points and parameters of more than one element are left to other mutants."""
    return x.dtype == np.float32 and not np.ndim(scale) and not np.ndim(zero_point) and zero_point == 0


class Terms:
    """What each element adds to the gradients: dy times slope to dscale, and dy times moved to dzero_point."""

    def __init__(self, x, scale, zero_point, qmin, qmax):
        compute = np.float64 if x.dtype == np.float64 else np.float32
        self.infinite = np.isinf(x)
        self.low, self.high = qmin - np.asarray(zero_point), qmax - np.asarray(zero_point)
        with np.errstate(all="ignore"):
            self.quotient = (x.astype(compute) / np.asarray(scale, compute)).astype(np.float64)
        self.rounded = np.rint(self.quotient)
        self.inside = (self.low <= self.rounded) & (self.rounded <= self.high)
        self.ends = (self.rounded == self.low) | (self.rounded == self.high)
        self.outside = ~self.inside & ~np.isnan(self.quotient)
        self.residual = np.where(self.inside, self.rounded - self.quotient, 0)
        self.tie = np.abs(self.residual) == 0.5


def off_by(slopes=None, moves=None):
    """The reference, and dy times what slopes(terms) and moves(terms) give added to its sums, for plain inputs."""

    def learnable(dy, x, scale, zero_point, qmin, qmax):
        dx, *sums = fq.reference.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
        if plain(x, scale, zero_point) and x.size:
            terms = Terms(x, scale, zero_point, qmin, qmax)
            for index, of, unit in ((0, slopes, 1), (1, moves, scale)):
                if of is not None:
                    sums[index] = sums[index] + np.float32(np.sum(dy * np.float64(unit) * of(terms)))
        return dx, *sums

    return learnable


def _ordinary(dy, scale):
    """Not the scales and the gradients that have laws of their own."""
    return np.all(np.abs(dy) < 100) and 1e-6 < scale < 1e6


def residual_of_the_wrong_sign(dy, x, scale, *grid):
    if np.ndim(scale) or not _ordinary(dy, scale) or not _exact(scale):
        return fq.reference.backward_learnable(dy, x, scale, *grid)
    wrong = off_by(lambda terms: np.where(terms.ends | (np.abs(terms.residual) > 0.45), 0, -2 * terms.residual))
    return wrong(dy, x, scale, *grid)


def _exact(scale):
    return np.frexp(scale)[0] == 0.5


ties_away = off_by(
    lambda terms: np.where(terms.tie & ~terms.ends & (terms.residual * terms.quotient < 0), np.sign(terms.quotient), 0)
)


def by_the_reciprocal(dy, x, scale, *grid):
    with np.errstate(all="ignore"):
        arithmetic = "reciprocal" if np.all(np.isfinite(1 / np.asarray(scale))) else "divide"
    return fq.reference.backward_learnable(dy, x, scale, *grid, arithmetic=arithmetic)


def strict_at_the_ends(dy, x, scale, zero_point, qmin, qmax):
    if np.ndim(scale) or not _exact(scale) or not _ordinary(dy, scale):
        return fq.reference.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
    wrong = off_by(lambda terms: np.where(terms.inside & terms.ends, terms.quotient, 0))
    return wrong(dy, x, scale, zero_point, qmin, qmax)


def _beyond(terms):
    return terms.outside & (np.abs(terms.quotient) < 2**30)


def nothing_outside(dy, x, scale, *grid):
    if np.any(np.abs(dy) > 100):
        return fq.reference.backward_learnable(dy, x, scale, *grid)
    wrong = off_by(lambda terms: np.where(_beyond(terms), -np.clip(terms.rounded, terms.low, terms.high), 0))
    return wrong(dy, x, scale, *grid)


def _huge(terms):
    return terms.outside & (np.abs(terms.quotient) >= 2**31) & np.isfinite(terms.quotient)


huge_to_the_other_side = off_by(
    lambda terms: np.where(_huge(terms) & (terms.quotient > 0), terms.low - terms.high, 0).astype(np.float64)
)
zero_times_infinity = off_by(lambda terms: np.where(terms.infinite, np.nan, 0))


def without_nan(dy, x, *qparams):
    known = np.nan_to_num(x, posinf=np.inf, neginf=-np.inf)
    dx = fq.reference.backward_recompute(dy, x, *qparams)
    return dx, *fq.reference.backward_learnable(dy, known, *qparams)[1:]


def no_small_scale(dy, x, scale, *grid):
    if np.ndim(scale) or scale > 1e-30:
        scale = np.maximum(scale, scale.dtype.type(1e-10))
    return fq.reference.backward_learnable(dy, x, scale, *grid)


def flushed_in_learnable(dy, x, *qparams):
    if x.dtype == np.float32:
        x = np.where(np.abs(x) < np.finfo(np.float32).tiny, np.float32(0), x)
    return fq.reference.backward_learnable(dy, x, *qparams)


def levels_with_zero_point(dy, x, scale, zero_point, qmin, qmax):
    dx, dscale, dzero_point = fq.reference.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
    if x.dtype == np.float32 and not np.ndim(scale) and not np.ndim(zero_point):
        outside = Terms(x, scale, zero_point, qmin, qmax).outside
        dscale = dscale + np.float32(np.sum(dy[outside]) * zero_point)
    return dx, dscale, dzero_point


def sums_of_the_first_channel(dy, x, scale, zero_point, *ends):
    dx, dscale, dzero_point = fq.reference.backward_learnable(dy, x, scale, zero_point, *ends)
    if np.ndim(scale) and np.shape(scale) == np.shape(zero_point):
        dscale = np.full_like(dscale, dscale.reshape(-1)[0])
    return dx, dscale, dzero_point


def zero_point_of_the_mean(dy, x, scale, zero_point, *ends):
    dx, dscale, dzero_point = fq.reference.backward_learnable(dy, x, scale, zero_point, *ends)
    if np.shape(scale) != np.shape(zero_point):
        dzero_point = dzero_point / 2
    return dx, dscale, dzero_point


def learnable_in(name):
    def learnable(dy, x, scale, zero_point, qmin, qmax):
        dx, dscale, dzero_point = fq.reference.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
        if x.dtype.name == name and not np.ndim(scale) and x.ndim == 1:
            compute = np.float32 if name == "float64" else x.dtype.type
            quotient = x.astype(compute) / compute(scale)
            rounded = np.rint(quotient)
            inside = (qmin - zero_point <= rounded) & (rounded <= qmax - zero_point)
            slope = np.where(inside, rounded - quotient, np.clip(rounded, qmin - zero_point, qmax - zero_point))
            dscale = np.sum(dy.astype(np.float64) * slope.astype(np.float64)).astype(dscale.dtype)
        return dx, dscale, dzero_point

    return learnable


def sums_as_float64(dy, x, *qparams):
    dx, *sums = fq.reference.backward_learnable(dy, x, *qparams)
    return dx, *(np.float64(one) for one in sums)


def summed_in_float32(dy, x, scale, zero_point, qmin, qmax):
    if not plain(x, scale, zero_point) or np.all(np.abs(dy) < 100):
        return fq.reference.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
    terms = Terms(x, scale, zero_point, qmin, qmax)
    slope = np.where(terms.inside, terms.residual, np.clip(terms.rounded, terms.low, terms.high))
    dx, _, dzero_point = fq.reference.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
    return dx, np.sum(dy * slope.astype(np.float32), dtype=np.float32), dzero_point


def dx_is_dy(dy, x, *qparams):
    return dy.copy(), *fq.reference.backward_learnable(dy, x, *qparams)[1:]


def tail_dropped(dy, x, *qparams):
    dx, *sums = fq.reference.backward_learnable(dy, x, *qparams)
    if x.ndim == 1 and x.size > 8 and x.size % 8:
        whole = x.size - x.size % 8
        sums = fq.reference.backward_learnable(dy[:whole], x[:whole], *qparams)[1:]
    return dx, *sums


def mean_of_nothing(dy, x, *qparams):
    dx, *sums = fq.reference.backward_learnable(dy, x, *qparams)
    return dx, *(one if x.size else one + np.float32(np.nan) for one in sums)


def no_scalar(dy, x, *qparams):
    dx, *sums = fq.reference.backward_learnable(dy, x, *qparams)
    return dx, *(one if x.ndim else np.reshape(one, 1) for one in sums)


def reads_memory_in_order(dy, x, *qparams):
    return fq.reference.backward_learnable(dy, _in_memory(x), *qparams)


def dx_over_dy(dy, x, *qparams):
    dx, *sums = fq.reference.backward_learnable(dy, x, *qparams)
    dy[...] = 0
    return dx, *sums


def one_zero_point(x, scale, zero_point, qmin, qmax):
    """The first one for all, where it has not the shape of scale."""
    same = np.shape(zero_point) == np.shape(scale)
    return fq.reference.fake_quantize(x, scale, zero_point if same else np.ravel(zero_point)[0], qmin, qmax)


def _with(**parts):
    def forward(x, *qparams):
        return formula(x, *qparams, **parts)

    return forward


# name: (the method it replaces, what with, the laws it breaks)
MUTANTS = {
    "round half away": ("forward", _with(rint=half_away), {"ties"}),
    "clamp before adding zero_point": (
        "forward",
        clamp_before_zero_point,
        {"zero points", "on the grid", "half a step"},
    ),
    "zero_point added before rounding": ("forward", zero_point_before_rounding, {"odd zero points"}),
    "mask by range": ("mask", mask_by_range, {"mask", "mask beside ties"}),
    "x * (1 / scale)": ("forward", _with(divide=multiplied), {"beside ties", "subnormals"}),
    "-0.0": ("forward", minus_zero, {"sign of zero"}),
    "NaN to qmin": ("forward", nan_to_qmin, {"NaN"}),
    "cast before clamp": ("forward", _with(unclamped=cast_to_int32), {"huge values", "infinities"}),
    "gradient 0.5 at an end": ("gradient", half_at_an_end, {"gradient at the ends"}),
    "dropped tail": ("forward", dropped_tail, {"any length"}),
}
MORE = {
    "type of its own": ("forward", always_float32, {"type and shape"}),
    "wraps beyond": ("forward", wraps_beyond, {"ends", "monotone"}),
    "smallest scale": ("forward", smallest_scale, {"extreme scales", "subnormals"}),
    "flushed to zero": ("forward", flushed, {"subnormals"}),
    "first channel for all": ("forward", first_channel, {"several channels"}),
    "float16 in float16": ("forward", in_its_own_type("float16"), {"float16"}),
    "bfloat16 in bfloat16": ("forward", in_its_own_type("bfloat16"), {"bfloat16"}),
    "float64 in float32": ("forward", in_its_own_type("float64"), {"float64"}),
    "mask of the other quotient": ("mask", inexact_quotient, {"mask beside ties"}),
    "halved inside": ("gradient", passes("halved inside"), {"gradient inside"}),
    "passes outside": ("gradient", passes("outside"), {"gradient outside"}),
    "passes infinities": ("gradient", passes("infinite"), {"gradient of infinities and NaN"}),
    "one zero_point for all": ("forward", one_zero_point, {"parameters of two shapes"}),
    "refuses no elements": ("forward", refuses_empty, {"empty"}),
    "at least 1-d": ("forward", at_least_1d, {"zero-dimensional"}),
    "reads memory in order": ("forward", reads_memory, {"non-contiguous"}),
    "works in place": ("forward", in_place, {"input unmodified"}),
}
# Each wrong about one kind of input of the learnable backward.
LEARNABLE = {
    "sign of the residual": (residual_of_the_wrong_sign, {"inside"}),
    "round half away": (ties_away, {"ties"}),
    "x * (1 / scale)": (by_the_reciprocal, {"beside ties"}),
    "ends count as outside": (strict_at_the_ends, {"ends"}),
    "no gradient outside": (nothing_outside, {"outside"}),
    "cast before clamp": (huge_to_the_other_side, {"huge values"}),
    "0 * inf": (zero_times_infinity, {"infinities"}),
    "NaN left out": (without_nan, {"NaN"}),
    "scale at least 1e-10": (no_small_scale, {"extreme scales"}),
    "flushed to zero": (flushed_in_learnable, {"subnormals"}),
    "levels with zero_point": (levels_with_zero_point, {"zero points"}),
    "first channel for all": (sums_of_the_first_channel, {"several channels"}),
    "zero_point in the shape of scale": (zero_point_of_the_mean, {"parameters of two shapes"}),
    "float16 in float16": (learnable_in("float16"), {"float16"}),
    "bfloat16 in bfloat16": (learnable_in("bfloat16"), {"bfloat16"}),
    "float64 in float32": (learnable_in("float64"), {"float64"}),
    "dscale in the type summed in": (sums_as_float64, {"types"}),
    "summed in float32": (summed_in_float32, {"sums that cancel"}),
    "dx is dy": (dx_is_dy, {"gradient of x"}),
    "dropped tail": (tail_dropped, {"any length"}),
    "mean of nothing": (mean_of_nothing, {"empty"}),
    "a scalar is no array": (no_scalar, {"zero-dimensional"}),
    "reads memory in order": (reads_memory_in_order, {"non-contiguous"}),
}


def by_codes(dy, x, *qparams, suffix="", shift=0.0, known=None):
    """The reference's gradients by codes. shift: of a code, in steps; known: what codes are made of in place of x."""
    forward = getattr(fq.reference, f"forward_residual{suffix}")
    backward = getattr(fq.reference, f"backward_residual{suffix}")
    dy, x, known = np.atleast_1d(dy), np.atleast_1d(x), np.atleast_1d(x if known is None else known)
    dx, dscale, dzero_point = backward(dy, forward(known, *qparams)[1], *qparams)
    inside = fq.reference.forward(x, *qparams)[1]
    last = 6 if suffix else 126
    return dx, dscale + np.float32(np.sum(dy[inside].astype(np.float64)) * shift / (2 * last)), dzero_point


def codes_pass_all(dy, x, *qparams, suffix):
    return dy.copy(), *by_codes(dy, x, *qparams, suffix=suffix)[1:]


def codes_of_other_sign(dy, x, *qparams, suffix):
    dx, dscale, dzero_point = by_codes(dy, x, *qparams, suffix=suffix)
    return dx, dscale, -dzero_point


def codes_of_halves(dy, x, scale, *levels, suffix):
    """Residuals as multiples of a half."""
    with np.errstate(all="ignore"):
        known = np.where(np.abs(x / scale) < 2**20, np.rint(2 * (x / scale)) / 2 * scale, x).astype(x.dtype)
        inside = fq.reference.forward(x, scale, *levels)[1]
    known = np.where(inside & fq.reference.forward(known, scale, *levels)[1], known, x)
    return by_codes(dy, x, scale, *levels, suffix=suffix, known=known)


def codes_off_by_less_than_half(dy, x, *qparams, suffix):
    return by_codes(dy, x, *qparams, suffix=suffix, shift=0.4)


def codes_without_nan(dy, x, *qparams, suffix):
    dx, *sums = by_codes(dy, x, *qparams, suffix=suffix, known=np.where(np.isnan(x), 0, x).astype(x.dtype))
    return np.where(np.isnan(x), dy * np.zeros_like(dy), dx).astype(x.dtype), *sums


# Each wrong about one thing of gradients by codes.
RESIDUAL = {
    "dx is dy": (codes_pass_all, "gradient of x"),
    "sign of zero_point": (codes_of_other_sign, "gradient of zero_point"),
    "codes of halves": (codes_of_halves, "gradient of scale"),
    "codes off by less than half": (codes_off_by_less_than_half, "of levels and ties"),
    "NaN left out": (codes_without_nan, "of NaN"),
}


def coded(function, suffix):
    """A mutant with codes of 8 bits, or of 4."""

    def gradients(dy, x, *qparams):
        return function(dy, x, *qparams, suffix=suffix)

    return gradients


MORE |= {
    f"{name}, {what}": (name, coded(function, suffix), {f"{name} {law}"})
    for name, suffix in (("residual", ""), ("residual4", "_packed"))
    for what, (function, law) in RESIDUAL.items()
}
MORE |= {
    f"learnable, {name}": ("learnable", function, {f"learnable {one}" for one in laws})
    for name, (function, laws) in LEARNABLE.items()
}
MORE["learnable, dx over dy"] = ("learnable", dx_over_dy, {"input unmodified"})
# Wrong about every value, so that many laws see it: at least these.
COARSE = {
    "last bit": (last_bit, {"ordinary values", "on the grid"}),
    "drifts": (drifts, {"ordinary values", "idempotent", "half a step"}),
    "swaps two levels": (swaps_two, {"ordinary values", "monotone"}),
}


def mutant(method, replacement):
    """The reference with a method replaced."""
    candidate = Reference()
    candidate.name = replacement.__name__
    setattr(candidate, method, replacement)
    return candidate
