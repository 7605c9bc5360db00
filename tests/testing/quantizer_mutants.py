"""The reference as a quantizer with one thing wrong, and the one law that must catch it; all others must hold."""

import numpy as np
from mutants import ALL_TYPES

import fq
from fq.testing import Supports


class Reference:
    """The reference as a quantizer."""

    name = "reference"
    supports = Supports(dtypes=ALL_TYPES, channels=True, broadcast=True)

    def quantize(self, x, scale, zero_point, qmin, qmax):
        return fq.reference.quantize(x, scale, zero_point, qmin, qmax)

    def dequantize(self, q, scale, zero_point, qmin, qmax):
        return fq.reference.dequantize(q, scale, zero_point)

    def pack(self, q, bits):
        return fq.reference.pack(q, bits)


def parts(x, scale, zero_point, qmin, qmax):
    """The right levels as int64, the quotient, and where it is inside the range and away from ties."""
    right = np.asarray(fq.reference.quantize(x, scale, zero_point, qmin, qmax)).astype(np.int64)
    quotient = x.astype(np.float64) / np.asarray(scale, np.float64)
    tie = np.abs(np.abs(quotient - np.rint(quotient)) - 0.5) < 1e-3
    inside = (np.rint(quotient) >= qmin - zero_point) & (np.rint(quotient) <= qmax - zero_point)
    return right, quotient, inside & ~tie


def is_ordinary(x, zero_point, qmin, qmax):
    return x.dtype == np.float32 and not np.ndim(zero_point) and zero_point == min(max(0, qmin), qmax)


def wrong_by_one(x, scale, zero_point, qmin, qmax):
    right, _, inside = parts(x, scale, zero_point, qmin, qmax)
    beside = np.where(right < qmax, right + 1, right - 1)
    return np.where(inside & is_ordinary(x, zero_point, qmin, qmax), beside, right)


def wrong_by_one_at_other_zero_points(x, scale, zero_point, qmin, qmax):
    right, _, inside = parts(x, scale, zero_point, qmin, qmax)
    other = not np.ndim(zero_point) and not is_ordinary(x, zero_point, qmin, qmax) and x.dtype == np.float32
    return np.where(inside & other, np.where(right < qmax, right + 1, right - 1), right)


def half_away(x, scale, zero_point, qmin, qmax):
    right, quotient, _ = parts(x, scale, zero_point, qmin, qmax)
    exact = np.abs(quotient - np.trunc(quotient)) == 0.5
    away = np.clip(np.trunc(quotient) + np.sign(quotient) + zero_point, qmin, qmax)
    return np.where(exact & (np.abs(quotient) < 2**30), away, right).astype(np.int64)


def not_clamped(x, scale, zero_point, qmin, qmax):
    right, quotient, _ = parts(x, scale, zero_point, qmin, qmax)
    near = np.isfinite(quotient) & (np.abs(quotient) < 2**20) & (np.abs(quotient % 1 - 0.5) > 1e-3)
    near &= x.dtype == np.float32
    return np.where(near, np.rint(np.where(near, quotient, 0)) + zero_point, right).astype(np.int64)


def cast_to_int32(x, scale, zero_point, qmin, qmax):
    right, quotient, _ = parts(x, scale, zero_point, qmin, qmax)
    return np.where(np.isfinite(quotient) & (np.abs(quotient) >= 2**31), qmin + (right == qmin), right)


def infinities_to_zero_point(x, scale, zero_point, qmin, qmax):
    right, *_ = parts(x, scale, zero_point, qmin, qmax)
    return np.where(np.isinf(x), zero_point, right)


def nan_to_qmin(x, scale, zero_point, qmin, qmax):
    right, *_ = parts(x, scale, zero_point, qmin, qmax)
    return np.where(np.isnan(x), qmin, right)


def first_channel(x, scale, zero_point, qmin, qmax):
    scale, zero_point = (np.ravel(one)[0] for one in (scale, zero_point))
    return fq.reference.quantize(x, scale, zero_point, qmin, qmax)


def wrong_in(name):
    def quantize(x, scale, zero_point, qmin, qmax):
        right, _, inside = parts(x, scale, zero_point, qmin, qmax)
        return np.where(inside & (x.dtype.name == name), np.where(right < qmax, right + 1, right - 1), right)

    return quantize


def smallest_type(x, scale, zero_point, qmin, qmax):
    right, *_ = parts(x, scale, zero_point, qmin, qmax)
    return right.astype(np.result_type(np.min_scalar_type(right.min()), np.min_scalar_type(right.max())))


def rounded_more_often(q, scale, zero_point, qmin, qmax):
    scale = np.float32(scale)
    return np.float32(1) * q.astype(np.float32) * scale - np.float32(zero_point) * scale


def minus_zero(q, scale, zero_point, qmin, qmax):
    y = fq.reference.dequantize(q, scale, zero_point)
    return np.where(y == 0, np.float32(-0.0), y)


def high_bits_first(q, bits):
    packed = fq.reference.pack(q, bits)
    return packed << 4 | packed >> 4


# name: the method replaced, by what, and the law.
MUTANTS = {
    "wrong by one": ("quantize", wrong_by_one, "levels"),
    "half away": ("quantize", half_away, "level ties"),
    "not clamped": ("quantize", not_clamped, "levels stay in range"),
    "cast to int32 before clamping": ("quantize", cast_to_int32, "levels of huge values"),
    "infinities to zero_point": ("quantize", infinities_to_zero_point, "levels of infinities"),
    "NaN to qmin": ("quantize", nan_to_qmin, "level of NaN"),
    "wrong at other zero points": ("quantize", wrong_by_one_at_other_zero_points, "levels at zero points"),
    "first channel for all": ("quantize", first_channel, "levels of several channels"),
    "wrong in float16": ("quantize", wrong_in("float16"), "levels in float16"),
    "wrong in bfloat16": ("quantize", wrong_in("bfloat16"), "levels in bfloat16"),
    "wrong in float64": ("quantize", wrong_in("float64"), "levels in float64"),
    "smallest type of the values": ("quantize", smallest_type, "type of levels"),
    "dequantize rounds more often": ("dequantize", rounded_more_often, "round trip"),
    "dequantize gives -0.0": ("dequantize", minus_zero, "sign of zero after a round trip"),
    "high bits first": ("pack", high_bits_first, "packed bytes"),
}
