"""The names of fq.reference, for type checkers."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "fake_quantize",
    "forward",
    "forward_packed",
]

def fake_quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> NDArray[Any]: ...
def forward(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[np.bool_]]: ...
def backward(dy: ArrayLike, mask: ArrayLike) -> NDArray[Any]: ...
def backward_recompute(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> NDArray[Any]: ...
def forward_packed(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[np.uint8]]: ...
def backward_packed(dy: ArrayLike, bits: ArrayLike) -> NDArray[Any]: ...
def backward_learnable(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    arithmetic: str = "divide",
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
