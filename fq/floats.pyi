"""The names of fq.floats, for type checkers."""

from fq._core import _FloatsBackwardRecompute, _FloatsForward, _FloatsForwardPacked, _FloatsQuantize

backward_recompute: _FloatsBackwardRecompute
fake_quantize: _FloatsQuantize
forward: _FloatsForward
forward_packed: _FloatsForwardPacked

__all__ = ["backward_recompute", "fake_quantize", "forward", "forward_packed"]
