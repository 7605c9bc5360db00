"""ONNX models whose weights are integers, and a proof that what they compute is what fq computes.

::

    observers = fq.onnx.calibrate("model.onnx", feeds)
    grids = {name: one.qparams(8, signed=False) for name, one in observers.items()}
    quantized = fq.onnx.quantize("model.onnx", {**grids, "*": fq.onnx.Weights(bits=4)})
    print(fq.onnx.verify(quantized, feeds))

A model is given as a path, as bytes or as an ``onnx.ModelProto``, which is never written to. `quantize` needs the
package ``onnx`` alone; `calibrate` and `verify` run the model in ONNX Runtime.
"""

try:
    import onnx  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "onnx":
        raise
    raise ImportError("fq.onnx needs the package onnx: pip install onnx onnxruntime, or fq[onnx]") from error

from fq.onnx._calibrate import calibrate
from fq.onnx._quantize import quantize
from fq.onnx._verify import Difference, Report, verify
from fq.onnx._weights import Weights, choose_qparams

__all__ = ["Difference", "Report", "Weights", "calibrate", "choose_qparams", "quantize", "verify"]
