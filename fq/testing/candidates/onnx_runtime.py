"""ONNX Runtime's QuantizeLinear followed by DequantizeLinear, whose integer type is the range."""

from functools import cache

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from fq.testing.subject import Candidate, Supports

_TYPES = {
    (-128, 127): (TensorProto.INT8, np.int8),
    (0, 255): (TensorProto.UINT8, np.uint8),
    (-32768, 32767): (TensorProto.INT16, np.int16),
    (0, 65535): (TensorProto.UINT16, np.uint16),
}
_ABOUT = """\
`QuantizeLinear` and `DequantizeLinear` with float32 x: an integer lies between, so NaN and -0.0 cannot come through."""


def candidates(_arithmetic):
    """One."""
    supports = Supports(("float32",), tuple(_TYPES), channels=True)
    return [Candidate("ONNX Runtime", _forward, supports, _ABOUT, {"ONNX Runtime": onnxruntime.__version__})]


@cache
def _session(onnx_type, axis):
    """x, scale and zero_point are its inputs; axis is None for one scale."""
    axes = {} if axis is None else {"axis": axis}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["q"], **axes),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero_point"], ["y"], **axes),
    ]
    types = {"x": TensorProto.FLOAT, "scale": TensorProto.FLOAT, "zero_point": onnx_type}
    inputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "fake_quantize", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _forward(x, scale, zero_point, qmin, qmax):
    onnx_type, numpy_type = _TYPES[qmin, qmax]
    axis = int(np.argmax(scale.shape)) if np.ndim(scale) else None
    shape = () if axis is None else (scale.size,)
    scale, zero_point = (np.array(one).reshape(shape) for one in (scale, zero_point))
    given = {"x": np.asarray(x), "scale": scale, "zero_point": zero_point.astype(numpy_type)}
    return _session(onnx_type, axis).run(None, given)[0]
