"""The names of fq.jax, for type checkers."""

from typing import Literal

import jax
from jax.typing import ArrayLike

__all__ = ["fake_quantize", "fake_quantize_learnable"]

def fake_quantize(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    via: Literal["ffi", "callback"] | None = None,
) -> jax.Array: ...
def fake_quantize_learnable(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    via: Literal["ffi", "callback"] | None = None,
) -> jax.Array: ...
