"""The names of fq.gradcheck, for type checkers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "GradientMismatch",
    "GradientReport",
    "check_input_gradient",
    "check_parameter_gradients",
    "numerical_gradient",
]

class GradientMismatch(AssertionError): ...

@dataclass(frozen=True)
class GradientReport:
    checked: dict[str, int]
    excluded: dict[str, int]
    failed: dict[str, int]
    worst: tuple[Any, ...] | None

    @property
    def ok(self) -> bool: ...
    def raise_if_failed(self) -> Self: ...

def numerical_gradient(
    f: Callable[[NDArray[np.float64]], ArrayLike], x: ArrayLike, step: ArrayLike
) -> NDArray[np.float64]: ...
def check_input_gradient(
    forward: Callable[..., Any], backward: Callable[..., Any], x: ArrayLike, qparams: Sequence[ArrayLike]
) -> GradientReport: ...
def check_parameter_gradients(
    backward: Callable[..., Any],
    x: ArrayLike,
    qparams: Sequence[ArrayLike],
    *,
    dy: ArrayLike | None = None,
    factor: float = 1.0,
) -> GradientReport: ...
