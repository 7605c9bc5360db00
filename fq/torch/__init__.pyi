"""The names of fq.torch, for type checkers."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike
from torch.ao import quantization

from fq.formats import BlockFormat, FloatGrid
from fq.qparams import QParams

__all__ = [
    "FakeQuantize",
    "FixedQParamsFakeQuantize",
    "FusedMovingAvgObsFakeQuantize",
    "LearnableFakeQuantize",
    "calibrate",
    "choose_qparams",
    "dequantize",
    "fake_quantize",
    "fake_quantize_blocks",
    "fake_quantize_float",
    "fake_quantize_learnable",
    "get_default_qat_qconfig",
    "get_default_qat_qconfig_mapping",
    "grouped",
    "onnx_translations",
    "quantize",
]

class FakeQuantize(quantization.FakeQuantize):
    inplace: bool | Literal["results"]
    def __init__(self, *args: Any, inplace: bool | Literal["results"] = False, **kwargs: Any) -> None: ...

class FixedQParamsFakeQuantize(quantization.FixedQParamsFakeQuantize):
    inplace: bool | Literal["results"]
    def __init__(self, observer: Any, *, inplace: bool | Literal["results"] = False) -> None: ...

class FusedMovingAvgObsFakeQuantize(quantization.FusedMovingAvgObsFakeQuantize):
    inplace: bool | Literal["results"]
    def __init__(self, *args: Any, inplace: bool | Literal["results"] = False, **kwargs: Any) -> None: ...

class LearnableFakeQuantize(torch.nn.Module):
    quant_min: int
    quant_max: int
    axis: int | None
    group: int | None
    rule: str
    gradient_factor: bool
    eps: float
    keep: str
    scale: torch.nn.Parameter
    zero_point: torch.Tensor
    started: torch.Tensor
    def __init__(
        self,
        quant_min: int,
        quant_max: int,
        *,
        axis: int | None = None,
        channels: int | None = None,
        group: int | None = None,
        shape: Sequence[int] | None = None,
        learn_zero_point: bool = False,
        rule: Literal["lsq", "lsq+", "minmax"] | None = None,
        gradient_factor: bool = True,
        eps: float = 1e-8,
        keep: Literal["x", "residual", "residual4"] = "x",
    ) -> None: ...
    def forward(self, x: torch.Tensor) -> torch.Tensor: ...
    def start(self, x: torch.Tensor) -> None: ...

def fake_quantize(
    x: torch.Tensor,
    scale: torch.Tensor | ArrayLike,
    zero_point: torch.Tensor | ArrayLike,
    qmin: int,
    qmax: int,
    *,
    reciprocal: bool = False,
    inplace: bool = False,
) -> torch.Tensor: ...
def fake_quantize_float(x: torch.Tensor, scale: torch.Tensor | ArrayLike, format: FloatGrid) -> torch.Tensor: ...
def fake_quantize_blocks(
    x: torch.Tensor, format: BlockFormat, *, axis: int = -1, tensor_scale: float | None = None
) -> torch.Tensor: ...
def fake_quantize_learnable(
    x: torch.Tensor,
    scale: torch.Tensor | ArrayLike,
    zero_point: torch.Tensor | ArrayLike,
    qmin: int,
    qmax: int,
    *,
    eps: float | None = None,
    reciprocal: bool = False,
    keep: Literal["x", "residual", "residual4"] = "x",
) -> torch.Tensor: ...
def choose_qparams(
    xmin: torch.Tensor | ArrayLike,
    xmax: torch.Tensor | ArrayLike,
    bits: int = 8,
    *,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    eps: float | None = None,
    formula: Literal["cover", "torch"] = "cover",
) -> QParams: ...
def calibrate(
    x: torch.Tensor,
    bits: int = 8,
    axis: int | tuple[int, ...] | None = None,
    group: int | None = None,
    method: Literal["minmax", "percentile", "mse"] = "minmax",
    *,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    eps: float | None = None,
    p: float = 99.99,
    formula: Literal["cover", "torch"] = "cover",
) -> QParams: ...
def grouped(x: torch.Tensor, size: int) -> torch.Tensor: ...
def quantize(
    x: torch.Tensor,
    scale: torch.Tensor | ArrayLike,
    zero_point: torch.Tensor | ArrayLike,
    qmin: int,
    qmax: int,
    dtype: torch.dtype | None = None,
) -> torch.Tensor: ...
def dequantize(
    q: torch.Tensor, scale: torch.Tensor | ArrayLike, zero_point: torch.Tensor | ArrayLike, dtype: torch.dtype = ...
) -> torch.Tensor: ...
def get_default_qat_qconfig(
    backend: str = "x86", version: int = 1, *, inplace: bool = False
) -> quantization.QConfig: ...
def get_default_qat_qconfig_mapping(
    backend: str = "x86", version: int = 1, *, inplace: bool = False
) -> quantization.QConfigMapping: ...
def onnx_translations() -> dict[Any, Any]: ...
