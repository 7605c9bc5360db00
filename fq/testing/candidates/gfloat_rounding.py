"""gfloat: `round_ndarray`, half to even and saturating."""

from importlib.metadata import version
from typing import Any

import gfloat
import numpy as np
from gfloat import formats

from fq.testing.rounder import FloatSupports, Rounder

_ABOUT = "`gfloat.round_ndarray` in float64, ties to even, saturating; the formats of 4 and 6 bits have no NaN."
_INFO = {"e4m3fn": "ocp_e4m3", "e5m2": "ocp_e5m2", "e2m3fn": "ocp_e2m3", "e3m2fn": "ocp_e3m2", "e2m1fn": "ocp_e2m1"}


def rounders(_arithmetic: str) -> list[Rounder]:
    """One."""
    supports = FloatSupports(("float32", "float16", "float64"), formats=tuple(_INFO), scales=False)
    return [Rounder("gfloat", _rounded, supports, _ABOUT, {"gfloat": version("gfloat")})]


def _rounded(x: Any, _scale: Any, format: str) -> Any:
    info = getattr(formats, f"format_info_{_INFO[format]}")
    y = gfloat.round_ndarray(info, np.asarray(x, np.float64), gfloat.RoundMode.TiesToEven, sat=True)
    return y.astype(x.dtype)
