"""The names of fq.learnable, for type checkers."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["backward_learnable", "scale_gradient_factor"]

# The two sums are arrays, or scalars where scale and zero_point are.
def backward_learnable(
    dy: ArrayLike,
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] | None = None,
) -> tuple[Any, Any, Any]: ...
def scale_gradient_factor(n: int, qmax: int) -> float: ...
