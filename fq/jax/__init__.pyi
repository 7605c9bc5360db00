"""The names of fq.jax, for type checkers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.export
from jax.typing import ArrayLike, DTypeLike

from fq.formats import BlockFormat, FloatGrid
from fq.qparams import QParams

__all__ = [
    "Quantized",
    "Rule",
    "calibrate",
    "choose_qparams",
    "dequantize",
    "export_checks",
    "fake_quantize",
    "fake_quantize_blocks",
    "fake_quantize_float",
    "fake_quantize_learnable",
    "grouped",
    "quantize",
    "quantized",
]

@dataclass(frozen=True)
class Rule:
    pattern: str
    weights: int | None = None
    activations: int | None = None
    per: Literal["channel", "tensor"] | int = "channel"
    method: Literal["minmax", "percentile", "mse"] = "minmax"
    p: float = 99.99
    learned: bool = False
    eps: float | None = None
    but: tuple[str, ...] = ()
    def matches(self, path: str) -> bool: ...

class Quantized:
    def __init__(self, function: Callable[..., Any], rules: Sequence[Rule]) -> None: ...
    def __call__(self, parameters: Any, *args: Any, state: Mapping[str, Any] | None = None, **kwargs: Any) -> Any: ...
    def calibrate(
        self, parameters: Any, *args: Any, of: Literal["all", "weights", "inputs"] = "all", **kwargs: Any
    ) -> dict[str, dict[str, dict[str, jax.Array]]]: ...
    def paths(self, parameters: Any, *args: Any, **kwargs: Any) -> list[str]: ...

def quantized(function: Callable[..., Any], rules: Rule | Sequence[Rule]) -> Quantized: ...
def fake_quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    reciprocal: bool = False,
    via: Literal["c", "xla", "callback"] | None = None,
) -> jax.Array: ...
def fake_quantize_float(
    x: ArrayLike, scale: ArrayLike, format: FloatGrid, *, via: Literal["c", "xla", "callback"] | None = None
) -> jax.Array: ...
def fake_quantize_blocks(
    x: ArrayLike, format: BlockFormat, *, axis: int = -1, tensor_scale: ArrayLike | None = None
) -> jax.Array: ...
def fake_quantize_learnable(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    eps: float | None = None,
    reciprocal: bool = False,
    via: Literal["c", "xla", "callback"] | None = None,
    keep: Literal["x", "residual", "residual4"] = "x",
) -> jax.Array: ...
def choose_qparams(
    xmin: ArrayLike,
    xmax: ArrayLike,
    bits: int = 8,
    *,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    eps: float | None = None,
    formula: Literal["cover", "torch"] = "cover",
) -> QParams: ...
def calibrate(
    x: ArrayLike,
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
def grouped(x: ArrayLike, size: int) -> jax.Array: ...
def quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    dtype: DTypeLike | None = None,
) -> jax.Array: ...
def dequantize(q: ArrayLike, scale: ArrayLike, zero_point: ArrayLike, dtype: DTypeLike = ...) -> jax.Array: ...
def export_checks() -> list[jax.export.DisabledSafetyCheck]: ...
