"""The names of fq.reciprocal, for type checkers."""

from fq._core import (
    _Backward,
    _BackwardPacked,
    _BackwardRecompute,
    _Forward,
    _ForwardPacked,
    _ForwardResidual,
    _Quantize,
)
from fq.integers import quantize, quantize_packed
from fq.learnable import backward_learnable, backward_residual, backward_residual_packed

backward: _Backward
backward_packed: _BackwardPacked
backward_recompute: _BackwardRecompute
fake_quantize: _Quantize
forward: _Forward
forward_packed: _ForwardPacked
forward_residual: _ForwardResidual
forward_residual_packed: _ForwardPacked

__all__ = [
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "backward_residual",
    "backward_residual_packed",
    "fake_quantize",
    "forward",
    "forward_packed",
    "forward_residual",
    "forward_residual_packed",
    "quantize",
    "quantize_packed",
]
