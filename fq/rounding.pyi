"""The names of fq.rounding, for type checkers."""

from fq._core import _BackwardRecompute, _Forward, _ForwardPacked, _Quantize

class Rounding:
    name: str
    fake_quantize: _Quantize
    forward: _Forward
    forward_packed: _ForwardPacked
    backward_recompute: _BackwardRecompute

    def __init__(self, name: str) -> None: ...

half_away: Rounding
half_up: Rounding
floor: Rounding
ceil: Rounding
toward_zero: Rounding

__all__ = ["Rounding", "ceil", "floor", "half_away", "half_up", "toward_zero"]
