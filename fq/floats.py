"""Fake quantization to the grid of a float format: ufuncs as fq's, with a format of `fq.formats` for the levels.

::

    y, mask = fq.floats.forward(x, scale, *fq.formats.e4m3fn)
    dx = fq.backward(dy, mask)

The grid is that of the format times scale. Numbers beyond the largest one become it, as on a grid of integers, and so
do infinities: their mask is False. ml_dtypes, JAX and PyTorch differ there, and from each other.
"""

from fq import _core, _docs

_docs.describe(_core.floats, "fq.floats", "floats")

fake_quantize = _core.floats["fake_quantize"]
forward = _core.floats["forward"]
backward_recompute = _core.floats["backward_recompute"]
forward_packed = _core.floats["forward_packed"]

__all__ = ["backward_recompute", "fake_quantize", "forward", "forward_packed"]
