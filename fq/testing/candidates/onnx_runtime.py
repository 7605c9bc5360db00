"""ONNX Runtime's QuantizeLinear followed by DequantizeLinear, whose integer type is the range."""

from functools import cache
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from fq import reference
from fq.testing.quantizer import Quantizer
from fq.testing.subject import Candidate, Supports

_TYPES = {
    (-128, 127): (TensorProto.INT8, np.int8),
    (0, 255): (TensorProto.UINT8, np.uint8),
    (-32768, 32767): (TensorProto.INT16, np.int16),
    (0, 65535): (TensorProto.UINT16, np.uint16),
}
_ABOUT = """\
`QuantizeLinear` and `DequantizeLinear` with float32 x: an integer lies between, so NaN and -0.0 cannot come through."""

_TO_INTEGERS = """\
`QuantizeLinear` and `DequantizeLinear` with float32 x: NaN becomes the first level."""
_STORAGE = "The levels of `fq.reference`, in the bytes of an ONNX tensor."


def candidates(_arithmetic: str) -> list[Candidate]:
    """One."""
    supports = Supports(("float32",), tuple(_TYPES), channels=True)
    return [Candidate("ONNX Runtime", _forward, supports, _ABOUT, {"ONNX Runtime": onnxruntime.__version__})]


@cache
def _session(onnx_type: Any, axis: Any) -> Any:
    """x, scale and zero_point are its inputs; axis is None for one scale."""
    axes = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["q"], **axes),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero_point"], ["y"], **axes),
    ]
    return _session_of(nodes, "x", "y", onnx_type)


@cache
def _half(operation: Any, given: Any, found: Any, onnx_type: Any) -> Any:
    """One of the two operations, with one scale."""
    return _session_of([helper.make_node(operation, [given, "scale", "zero_point"], [found])], given, found, onnx_type)


def _session_of(nodes: Any, given: Any, found: Any, onnx_type: Any) -> Any:
    types = {"x": TensorProto.FLOAT, "y": TensorProto.FLOAT, "q": onnx_type}
    parameters = {"scale": TensorProto.FLOAT, "zero_point": onnx_type}
    inputs = [
        helper.make_tensor_value_info(name, kind, None) for name, kind in {given: types[given], **parameters}.items()
    ]
    outputs = [helper.make_tensor_value_info(found, types[found], None)]
    graph = helper.make_graph(nodes, "fake_quantize", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _forward(x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    onnx_type, numpy_type = _TYPES[qmin, qmax]
    axis = int(np.argmax(scale.shape)) if np.ndim(scale) else None
    shape = () if axis is None else (scale.size,)
    scale, zero_point = (np.array(one).reshape(shape) for one in (scale, zero_point))
    given = {"x": np.asarray(x), "scale": scale, "zero_point": zero_point.astype(numpy_type)}
    return _session(onnx_type, axis).run(None, given)[0]


def quantizers(_arithmetic: str) -> list[Quantizer]:
    """The runtime's operations, and the bytes in which ONNX stores integers of 4 bits."""
    versions = {"ONNX Runtime": onnxruntime.__version__}
    supports = Supports(("float32",), tuple(_TYPES))
    found = [Quantizer("ONNX Runtime", _quantized, supports, _TO_INTEGERS, versions, _dequantized)]
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        return found

    def pack(q: Any, _bits: Any) -> Any:
        dtype = ml_dtypes.int4 if q.min() < 0 else ml_dtypes.uint4
        return numpy_helper.from_array(q.astype(dtype), "q").raw_data

    return [*found, Quantizer("ONNX's storage", reference.quantize, Supports(), _STORAGE, versions, pack=pack)]


def _quantized(x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    return _run_half("QuantizeLinear", "x", "q", x, scale, zero_point, qmin, qmax)


def _dequantized(q: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    return _run_half("DequantizeLinear", "q", "y", q, scale, zero_point, qmin, qmax)


def _run_half(
    operation: Any, name: Any, found: Any, given: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any
) -> Any:
    onnx_type, numpy_type = _TYPES[qmin, qmax]
    values = {name: np.asarray(given), "scale": np.array(scale), "zero_point": np.array(zero_point, numpy_type)}
    return _half(operation, name, found, onnx_type).run(None, values)[0]
