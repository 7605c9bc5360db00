"""The formula in NumPy, as one would write it."""

from typing import Any

import numpy as np

from fq.testing.quantizer import Quantizer
from fq.testing.subject import Candidate, Supports

_ABOUT = """\
Written in four lines. Arrays of an integer type make float64 of float32, so a zero_point for each channel changes the
type of y, and float16 divided by a float32 scale is float32."""
_TO_INTEGERS = """\
Written in two lines. Beyond what int64 holds, and for infinities and NaN, the cast gives its first level."""


def candidates(arithmetic: str) -> list[Candidate]:
    """One, in either arithmetic."""

    def forward(x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
        level = np.rint(x / scale if arithmetic == "divide" else x * (1 / scale)) + zero_point
        mask = (level >= qmin) & (level <= qmax)
        return (np.clip(level, qmin, qmax) - zero_point) * scale, mask

    def gradient(dy: Any, x: Any, *qparams: Any) -> Any:
        return dy * forward(x, *qparams)[1]

    supports = Supports(dtypes=("float32", "float16", "float64"), channels=True)
    return [Candidate("NumPy formula", forward, supports, _ABOUT, gradient=gradient)]


def quantizers(arithmetic: str) -> list[Quantizer]:
    """One, which casts before it clamps."""

    def quantize(x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
        level = np.rint(x / scale if arithmetic == "divide" else x * (1 / scale)).astype(np.int64) + zero_point
        return np.clip(level, qmin, qmax)

    def dequantize(q: Any, scale: Any, zero_point: Any, *_: Any) -> Any:
        return ((q - zero_point) * scale).astype(np.float32)

    def pack(q: Any, _bits: Any) -> Any:
        nibbles = np.append(q, np.zeros(q.size % 2, q.dtype)) & 15
        return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8)

    supports = Supports(channels=True)
    return [Quantizer("NumPy formula", quantize, supports, _TO_INTEGERS, {}, dequantize, pack)]
