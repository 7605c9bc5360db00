"""The reference with one thing wrong, and the laws that must catch it; all others must hold."""

import numpy as np

import fq
from fq.testing import Supports

ALL_TYPES = ("float32", "float16", "bfloat16", "float64")


class Reference:
    """The reference as a candidate."""

    name = "reference"
    supports = Supports(dtypes=ALL_TYPES, channels=True)

    def forward(self, x, *qparams):
        return fq.reference.fake_quantize(x, *qparams)

    def mask(self, x, *qparams):
        return fq.reference.forward(x, *qparams)[1]

    def gradient(self, dy, x, *qparams):
        return fq.reference.backward_recompute(dy, x, *qparams)

    def learnable(self, dy, x, *qparams):
        return fq.reference.backward_learnable(dy, x, *qparams)


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
    return formula(x, scale, 0, qmin, qmax)


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
    if x.dtype != np.float32 or np.any(zero_point):
        return y
    return np.where(np.rint(x / scale) > qmax, (qmax - 1) * scale, y)


def smallest_scale(x, scale, *grid):
    return fq.reference.fake_quantize(x, np.maximum(scale, scale.dtype.type(1e-10)), *grid)


def flushed(x, scale, *grid):
    y = fq.reference.fake_quantize(x, scale, *grid)
    return np.where(np.abs(y) < np.finfo(np.float32).tiny, y.dtype.type(0), y) if x.dtype == np.float32 else y


def first_channel(x, scale, zero_point, qmin, qmax):
    return fq.reference.fake_quantize(x, np.ravel(scale)[0], np.ravel(zero_point)[0], qmin, qmax)


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


def wrong_sign(dy, x, *qparams):
    dx, dscale, dzero_point = fq.reference.backward_learnable(dy, x, *qparams)
    return dx, dscale, -dzero_point


def without_the_quotient(dy, x, scale, zero_point, qmin, qmax):
    dx, _, dzero_point = fq.reference.backward_learnable(dy, x, scale, zero_point, qmin, qmax)
    level = np.clip(np.rint(x / scale), qmin - zero_point, qmax - zero_point)
    return dx, np.sum(dy * level), dzero_point


def refuses_empty(x, *qparams):
    if not x.size:
        raise ValueError("zero-size array to reduction operation maximum which has no identity")
    return fq.reference.fake_quantize(x, *qparams)


def at_least_1d(x, *qparams):
    return np.atleast_1d(fq.reference.fake_quantize(x, *qparams))


def reads_memory(x, *qparams):
    base = x if x.base is None or x.flags.c_contiguous else np.resize(x.base, x.shape)
    return fq.reference.fake_quantize(base, *qparams)


def in_place(x, *qparams):
    x[...] = fq.reference.fake_quantize(x, *qparams)
    return x.copy()


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
    "sign of dzero_point": ("learnable", wrong_sign, {"learnable gradients"}),
    "dscale of the level": ("learnable", without_the_quotient, {"learnable gradients"}),
    "refuses no elements": ("forward", refuses_empty, {"empty"}),
    "at least 1-d": ("forward", at_least_1d, {"zero-dimensional"}),
    "reads memory in order": ("forward", reads_memory, {"non-contiguous"}),
    "works in place": ("forward", in_place, {"input unmodified"}),
}
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
