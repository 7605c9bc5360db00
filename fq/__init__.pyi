"""The public names of fq, for type checkers."""

from fq import gradcheck, reciprocal, reference
from fq._core import _Backward, _BackwardPacked, _BackwardRecompute, _Forward, _ForwardPacked, _Quantize
from fq.learnable import backward_learnable, scale_gradient_factor
from fq.qparams import QParams, choose_qparams

backward: _Backward
backward_packed: _BackwardPacked
backward_recompute: _BackwardRecompute
fake_quantize: _Quantize
forward: _Forward
forward_packed: _ForwardPacked

def get_num_threads() -> int: ...
def set_num_threads(n: int, /) -> None: ...

__version__: str
__all__ = [
    "QParams",
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "choose_qparams",
    "fake_quantize",
    "forward",
    "forward_packed",
    "get_num_threads",
    "gradcheck",
    "reciprocal",
    "reference",
    "scale_gradient_factor",
    "set_num_threads",
]
