"""The names of fq.reciprocal, for type checkers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from fq._types import _Backward, _BackwardPacked, _BackwardRecompute, _Forward, _ForwardPacked, _Quantize

backward: _Backward
backward_packed: _BackwardPacked
backward_recompute: _BackwardRecompute
fake_quantize: _Quantize
forward: _Forward
forward_packed: _ForwardPacked

def backward_learnable(
    dy: npt.ArrayLike,
    x: npt.ArrayLike,
    scale: npt.ArrayLike,
    zero_point: npt.ArrayLike,
    qmin: npt.ArrayLike,
    qmax: npt.ArrayLike,
    *,
    out: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None] | None = None,
) -> tuple[Any, Any, Any]: ...

__all__ = [
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "fake_quantize",
    "forward",
    "forward_packed",
]
