"""The names of fq.dask, for type checkers."""

from typing import Any, Literal

from numpy.typing import DTypeLike

from fq.qparams import QParams

__all__ = [
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "backward_residual",
    "backward_residual_packed",
    "calibrate",
    "choose_qparams",
    "dequantize",
    "dequantize_packed",
    "fake_quantize",
    "forward",
    "forward_packed",
    "forward_residual",
    "forward_residual_packed",
    "grouped",
    "observe",
    "pack",
    "quantize",
    "quantize_packed",
    "sqnr",
    "unpack",
]

# Dask has no types of its own to tell: an array is a dask.array.Array, of numbers or NumPy's arrays too.
_Array = Any
_Axis = int | tuple[int, ...] | None
_Nonfinite = Literal["skip", "raise"]

def fake_quantize(
    x: _Array, scale: _Array, zero_point: _Array, qmin: _Array, qmax: _Array, *, reciprocal: bool = False
) -> _Array: ...
def forward(
    x: _Array, scale: _Array, zero_point: _Array, qmin: _Array, qmax: _Array, *, reciprocal: bool = False
) -> tuple[_Array, _Array]: ...
def backward(dy: _Array, mask: _Array) -> _Array: ...
def backward_recompute(
    dy: _Array, x: _Array, scale: _Array, zero_point: _Array, qmin: _Array, qmax: _Array, *, reciprocal: bool = False
) -> _Array: ...
def forward_packed(
    x: _Array, scale: _Array, zero_point: _Array, qmin: _Array, qmax: _Array, *, reciprocal: bool = False
) -> tuple[_Array, _Array]: ...
def backward_packed(dy: _Array, bits: _Array) -> _Array: ...
def backward_learnable(
    dy: _Array, x: _Array, scale: _Array, zero_point: _Array, qmin: _Array, qmax: _Array, *, reciprocal: bool = False
) -> tuple[_Array, _Array, _Array]: ...
def forward_residual(
    x: _Array, scale: _Array, zero_point: _Array, qmin: _Array, qmax: _Array, *, reciprocal: bool = False
) -> tuple[_Array, _Array]: ...
def forward_residual_packed(
    x: _Array, scale: _Array, zero_point: _Array, qmin: _Array, qmax: _Array, *, reciprocal: bool = False
) -> tuple[_Array, _Array]: ...
def backward_residual(
    dy: _Array,
    residual: _Array,
    scale: _Array,
    zero_point: _Array,
    qmin: _Array,
    qmax: _Array,
    *,
    reciprocal: bool = False,
) -> tuple[_Array, _Array, _Array]: ...
def backward_residual_packed(
    dy: _Array,
    residual: _Array,
    scale: _Array,
    zero_point: _Array,
    qmin: _Array,
    qmax: _Array,
    *,
    reciprocal: bool = False,
) -> tuple[_Array, _Array, _Array]: ...
def quantize(
    x: _Array,
    scale: _Array,
    zero_point: _Array,
    qmin: _Array,
    qmax: _Array,
    dtype: DTypeLike | None = None,
    *,
    reciprocal: bool = False,
) -> _Array: ...
def dequantize(q: _Array, scale: _Array, zero_point: _Array, dtype: DTypeLike = ...) -> _Array: ...
def pack(q: _Array, bits: int) -> _Array: ...
def unpack(packed: _Array, bits: int, n: int, signed: bool = True) -> _Array: ...
def quantize_packed(
    x: _Array,
    scale: _Array,
    zero_point: _Array,
    qmin: _Array,
    qmax: _Array,
    bits: int = 4,
    *,
    reciprocal: bool = False,
) -> _Array: ...
def dequantize_packed(
    packed: _Array,
    scale: _Array,
    zero_point: _Array,
    bits: int,
    n: int,
    signed: bool = True,
    dtype: DTypeLike = ...,
) -> _Array: ...
def observe(
    x: _Array,
    axis: _Axis = None,
    group: int | None = None,
    distribution: bool = True,
    nonfinite: _Nonfinite = "skip",
) -> Any: ...
def calibrate(
    x: _Array,
    bits: int = 8,
    axis: _Axis = None,
    group: int | None = None,
    method: Literal["minmax", "percentile", "mse", "entropy"] = "minmax",
    *,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    eps: float | None = None,
    p: float = 99.99,
    nonfinite: _Nonfinite = "skip",
    formula: Literal["cover", "torch"] = "cover",
) -> QParams: ...
def choose_qparams(xmin: _Array, xmax: _Array, bits: int = 8, **options: Any) -> QParams: ...
def grouped(x: _Array, size: int) -> _Array: ...
def sqnr(x: _Array, y: _Array, axis: _Axis = None) -> _Array: ...
