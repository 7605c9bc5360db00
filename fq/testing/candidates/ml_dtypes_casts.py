"""ml_dtypes: a cast to a float format and back, as JAX casts too; and the same of values that were clipped before."""

from typing import Any

import ml_dtypes
import numpy as np

from fq.testing.rounder import FORMATS, FloatSupports, Rounder

_VERSIONS = {"ml_dtypes": str(ml_dtypes.__version__)}
_CAST = """\
A cast makes NaN or an infinity of what lies beyond the largest number, but in formats of 4 and 6 bits, which saturate
and have no NaN: there NaN becomes -0.0."""
_CLIPPED = "Clipped to the largest number, then cast. NaN becomes -0.0 in formats of 4 and 6 bits."


def dtype_of(name: str) -> Any:
    """The type of a format of `fq.formats`, or None."""
    bits = {"e2m1fn": 4, "e2m3fn": 6, "e3m2fn": 6}.get(name, 8)
    return getattr(ml_dtypes, f"float{bits}_{name}", None)


def rounders(_arithmetic: str) -> list[Rounder]:
    """Two."""
    formats = tuple(name for name in FORMATS if dtype_of(name) is not None)
    supports = FloatSupports(("float32", "float16", "bfloat16", "float64"), formats=formats, scales=False)
    return [
        Rounder("ml_dtypes cast", _cast, supports, _CAST, _VERSIONS),
        Rounder("ml_dtypes clipped cast", _clipped, supports, _CLIPPED, _VERSIONS),
    ]


def _cast(x: Any, _scale: Any, format: str) -> Any:
    return x.astype(dtype_of(format)).astype(x.dtype)


def _clipped(x: Any, scale: Any, format: str) -> Any:
    largest = x.dtype.type(FORMATS[format].max)
    return _cast(np.clip(x, -largest, largest), scale, format)
