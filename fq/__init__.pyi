"""The public names of fq, for type checkers."""

from fq import blocks, dialects, floats, formats, gradcheck, reciprocal, reference, rounding, stochastic
from fq._core import (
    _Backward,
    _BackwardPacked,
    _BackwardRecompute,
    _Forward,
    _ForwardPacked,
    _ForwardResidual,
    _Quantize,
)
from fq.calibration import MovingAverage, calibrate, grouped, sqnr
from fq.integers import dequantize, dequantize_packed, pack, quantize, quantize_packed, unpack
from fq.learnable import (
    backward_learnable,
    backward_residual,
    backward_residual_packed,
    scale_gradient_factor,
)
from fq.observer import Observer
from fq.qparams import QParams, choose_qparams

backward: _Backward
backward_packed: _BackwardPacked
backward_recompute: _BackwardRecompute
fake_quantize: _Quantize
forward: _Forward
forward_packed: _ForwardPacked
forward_residual: _ForwardResidual
forward_residual_packed: _ForwardPacked

def get_num_threads() -> int: ...
def set_num_threads(n: int, /) -> None: ...

__version__: str
__all__ = [
    "MovingAverage",
    "Observer",
    "QParams",
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "backward_residual",
    "backward_residual_packed",
    "blocks",
    "calibrate",
    "choose_qparams",
    "dequantize",
    "dequantize_packed",
    "dialects",
    "fake_quantize",
    "floats",
    "formats",
    "forward",
    "forward_packed",
    "forward_residual",
    "forward_residual_packed",
    "get_num_threads",
    "gradcheck",
    "grouped",
    "pack",
    "quantize",
    "quantize_packed",
    "reciprocal",
    "reference",
    "rounding",
    "scale_gradient_factor",
    "set_num_threads",
    "sqnr",
    "stochastic",
    "unpack",
]
