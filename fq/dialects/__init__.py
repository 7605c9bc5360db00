"""The fake quantization of other frameworks, for those who export to them or test against them.

::

    y, mask = fq.dialects.torch.forward(x, scale, zero_point, -128, 127)

Each module has ``fake_quantize``, ``forward`` and ``backward`` with the parameters of its framework, and says how these
differ from `fq`: the arithmetic, the rounding, NaN and the zero point. None imports the framework.
"""

from fq.dialects import onnx, openvino, tensorflow, torch

__all__ = ["onnx", "openvino", "tensorflow", "torch"]
