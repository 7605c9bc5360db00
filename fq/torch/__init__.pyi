"""The names of fq.torch, for type checkers."""

from typing import Any

import torch
from numpy.typing import ArrayLike
from torch.ao import quantization

__all__ = [
    "FakeQuantize",
    "FusedMovingAvgObsFakeQuantize",
    "fake_quantize",
    "fake_quantize_learnable",
    "get_default_qat_qconfig",
]

class FakeQuantize(quantization.FakeQuantize):
    inplace: bool
    def __init__(self, *args: Any, inplace: bool = False, **kwargs: Any) -> None: ...

class FusedMovingAvgObsFakeQuantize(quantization.FusedMovingAvgObsFakeQuantize):
    inplace: bool
    def __init__(self, *args: Any, inplace: bool = False, **kwargs: Any) -> None: ...

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
def fake_quantize_learnable(
    x: torch.Tensor,
    scale: torch.Tensor | ArrayLike,
    zero_point: torch.Tensor | ArrayLike,
    qmin: int,
    qmax: int,
    *,
    reciprocal: bool = False,
) -> torch.Tensor: ...
def get_default_qat_qconfig(
    backend: str = "x86", version: int = 1, *, inplace: bool = False
) -> quantization.QConfig: ...
