"""Fake quantization for NumPy arrays: forward with a mask of what was in range, backward from the mask alone.

::

    y, mask = fq.forward(x, scale, zero_point, qmin, qmax)
    dx = fq.backward(dy, mask)

The element-wise functions are ufuncs: they broadcast, and take ``out=`` and ``where=``. ``fq.reciprocal`` has the
same functions in PyTorch's arithmetic, ``fq.reference`` the same formula in plain NumPy.
"""

try:
    import fq._core as _core
except ModuleNotFoundError as error:
    if error.name != "fq._core":
        raise
    raise ImportError(
        "fq's C extension is not built here. In the root of the checkout, run: pip install -e . "
        "(a plain 'pip install .' is hidden there by the source folder fq/)"
    ) from error

from fq import _docs, _errors, blocks, dialects, floats, formats, gradcheck, reciprocal, reference, rounding, stochastic
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

_core._help_with(_errors)
_docs.describe(_core.divide, "fq")

fake_quantize = _core.divide["fake_quantize"]
forward = _core.divide["forward"]
backward = _core.divide["backward"]
backward_recompute = _core.divide["backward_recompute"]
forward_packed = _core.divide["forward_packed"]
backward_packed = _core.divide["backward_packed"]
forward_residual = _core.divide["forward_residual"]
forward_residual_packed = _core.divide["forward_residual_packed"]

set_num_threads = _core.set_num_threads
get_num_threads = _core.get_num_threads

__version__ = "0.1.0"
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
