"""Bytes as ONNX stores them, and levels as ONNX Runtime's QuantizeLinear gives them."""

import numpy as np
import pytest
from stored import STORAGES, TYPES, assert_integers, ends_of

import fq

onnx = pytest.importorskip("onnx")


def few_bits():
    return [one for one in TYPES if STORAGES[one][0] < 8 and hasattr(onnx.TensorProto, str(one).upper())]


@pytest.mark.parametrize("dtype", few_bits(), ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 8, 101])
def test_packed_bytes_are_those_of_onnx(dtype, n):
    bits, signed = STORAGES[dtype]
    low, high = ends_of(bits, signed)
    q = np.resize(np.arange(low, high + 1), n).astype(dtype)
    raw = onnx.numpy_helper.from_array(q, "w").raw_data
    assert fq.pack(q, bits).tobytes() == raw
    x = q.astype(np.float32) / 4
    assert fq.quantize_packed(x, 0.25, 0, low, high, bits).tobytes() == raw
    stored = np.frombuffer(raw, np.uint8)
    np.testing.assert_array_equal(fq.dequantize_packed(stored, 0.25, 0, bits, n, signed), x)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_levels_are_those_of_onnx_runtime(dtype):
    onnxruntime = pytest.importorskip("onnxruntime")
    kind = getattr(onnx.TensorProto, np.dtype(dtype).name.upper())
    helper, info = onnx.helper, np.iinfo(dtype)
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["q"])
    types = {"x": onnx.TensorProto.FLOAT, "scale": onnx.TensorProto.FLOAT, "zero_point": kind}
    inputs = [helper.make_tensor_value_info(name, one, None) for name, one in types.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("q", kind, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(5000) * 20, [np.inf, -np.inf, 1e9, -1e9, 0.5, 1.5, -0.0]]).astype(
        np.float32
    )
    for scale, zero_point in [(0.25, 0), (0.5, info.max), (1 / 3, info.min), (0.01, 5)]:
        given = {"x": x, "scale": np.array(scale, np.float32), "zero_point": np.array(zero_point, dtype)}
        found = fq.quantize(x, np.float32(scale), zero_point, info.min, info.max, dtype)
        assert_integers(found, session.run(None, given)[0])
