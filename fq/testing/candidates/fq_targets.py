"""fq itself, on every SIMD target of this machine."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import fq
from fq import _core
from fq.testing.quantizer import Quantizer
from fq.testing.rounder import FORMATS, FloatSupports, Rounder
from fq.testing.subject import Candidate, Supports

_ABOUT = "The kernels of one SIMD target."


def candidates(arithmetic: str) -> list[Candidate]:
    """One for each target."""
    functions: Any = fq if arithmetic == "divide" else fq.reciprocal
    return [_on(target, functions, _supports()) for target in _core.targets()]


def quantizers(arithmetic: str) -> list[Quantizer]:
    """One for each target."""
    functions: Any = fq if arithmetic == "divide" else fq.reciprocal
    return [
        Quantizer(
            f"fq, {target}",
            partial(_run, target, functions.quantize),
            _supports(),
            _ABOUT,
            dequantize=partial(_run, target, _dequantize),
            pack=fq.pack,
        )
        for target in _core.targets()
    ]


def rounders(_arithmetic: str) -> list[Rounder]:
    """One for each target."""
    supports = FloatSupports(_supports().dtypes)
    return [Rounder(f"fq, {target}", partial(_run, target, _rounded), supports, _ABOUT) for target in _core.targets()]


def _rounded(x: Any, scale: Any, format: str) -> Any:
    return fq.floats.forward(x, scale, *FORMATS[format])


def _dequantize(q: Any, scale: Any, zero_point: Any, *_: Any) -> Any:
    return fq.dequantize(q, scale, zero_point)


def _supports() -> Supports:
    types = ("float32", "float16", "float64", *(["bfloat16"] if find_spec("ml_dtypes") else []))
    return Supports(types, channels=True, broadcast=True)


def _on(target: str, functions: Any, supports: Supports) -> Candidate:
    return Candidate(
        f"fq, {target}",
        partial(_run, target, functions.forward),
        supports,
        _ABOUT,
        gradient=partial(_run, target, functions.backward_recompute),
        learnable=partial(_run, target, functions.backward_learnable),
        residual=partial(_run, target, partial(_by_codes, functions.forward_residual, functions.backward_residual)),
        residual4=partial(_run, target, partial(_by_half_bytes, functions)),
    )


def _by_codes(forward: Callable[..., Any], backward: Callable[..., Any], dy: Any, x: Any, *qparams: Any) -> Any:
    return backward(dy, forward(x, *qparams)[1], *qparams)


def _by_half_bytes(functions: Any, dy: Any, x: Any, *qparams: Any) -> Any:
    """In one row, where there is no last axis to pack."""
    dx, *sums = _by_codes(
        functions.forward_residual_packed, functions.backward_residual_packed, *map(np.atleast_1d, (dy, x)), *qparams
    )
    return np.reshape(dx, np.shape(x)), *sums


def _run(target: str, function: Callable[..., Any], *args: Any) -> Any:
    before = _core.target()
    _core._set_target(target)
    try:
        return function(*args)
    finally:
        _core._set_target(before)
