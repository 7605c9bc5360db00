"""Fake quantization for PyTorch, which keeps at most the packed mask between forward and backward.

::

    y = fq.torch.fake_quantize(x, scale, zero_point, qmin, qmax)

On the CPU, fq's C computes; elsewhere, the same formula in PyTorch's operations. The functions work under
``torch.compile`` without a graph break, and the modules take the place of those of ``torch.ao.quantization``.
"""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError(
        'fq.torch needs PyTorch: pip install torch, or in a checkout of fq pip install ".[torch]"'
    ) from error

from fq.torch._formats import fake_quantize_blocks, fake_quantize_float
from fq.torch._functions import fake_quantize, fake_quantize_learnable
from fq.torch._integers import dequantize, quantize
from fq.torch._learned import LearnableFakeQuantize
from fq.torch._modules import (
    FakeQuantize,
    FixedQParamsFakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    get_default_qat_qconfig,
    get_default_qat_qconfig_mapping,
)
from fq.torch._onnx import onnx_translations
from fq.torch._ranges import calibrate, choose_qparams, grouped

__all__ = [
    "FakeQuantize",
    "FixedQParamsFakeQuantize",
    "FusedMovingAvgObsFakeQuantize",
    "LearnableFakeQuantize",
    "calibrate",
    "choose_qparams",
    "dequantize",
    "fake_quantize",
    "fake_quantize_blocks",
    "fake_quantize_float",
    "fake_quantize_learnable",
    "get_default_qat_qconfig",
    "get_default_qat_qconfig_mapping",
    "grouped",
    "onnx_translations",
    "quantize",
]
