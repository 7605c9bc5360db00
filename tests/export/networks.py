"""Networks to export: small ones built here, and those in the wheels of other packages."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

# In the wheels: the package that holds it, the file, and the shape of each input where the file leaves it open.
FILES = {
    "ocr-cls": ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    "ocr-det": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx"),
    "ocr-rec": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx"),
    "silero": ("silero_vad", "data/silero_vad.onnx"),
    "silero-16k": ("silero_vad", "data/silero_vad_16k_op15.onnx"),
    "silero-half": ("silero_vad", "data/silero_vad_half.onnx"),
    "magika": ("magika", "models/standard_v3_3/model.onnx"),
    "nudenet": ("nudenet", "320n.onnx"),
}


def file_of(name):
    """The path of a network in a wheel, or a skip."""
    package, inside = FILES[name]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    path = Path(found.submodule_search_locations[0]) / inside
    if not path.exists():
        pytest.skip(f"this version of {package} has no {inside}")
    return path


def tensor(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def value(name, shape=None, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def model(nodes, inputs, outputs, constants, opset=21, ir_version=None):
    """A model of nodes, values and {name: array}."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, [tensor(*one) for one in constants.items()])
    imports = [helper.make_opsetid("", opset)]
    ir_version = ir_version or helper.find_min_ir_version_for(imports)
    made = helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
    onnx.checker.check_model(made)
    return made


def one_matrix(w, opset=21):
    """y = x @ w"""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="mul")]
    return model(nodes, [value("x", ["n", w.shape[0]])], [value("y", ["n", w.shape[1]])], {"w": w}, opset)


def convolutions(rng, opset=21, element=np.float32):
    """A Conv, a Relu and a ConvTranspose, and a Gemm behind them, that reads its weights by columns or rows."""
    constants = {
        "conv.w": rng.standard_normal((8, 4, 3, 3)),
        "up.w": rng.standard_normal((8, 6, 2, 2)),
        "fc.w": rng.standard_normal((5, 6)),
        "fc.b": rng.standard_normal(5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.w"], ["a"], name="conv"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("ConvTranspose", ["r", "up.w"], ["u"], name="up", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["u"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "fc.w", "fc.b"], ["y"], name="fc", transB=1),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(element))
    constants = {name: one.astype(element) for name, one in constants.items()}
    inputs, outputs = [value("x", ["n", 4, 8, 8], kind)], [value("y", ["n", 5], kind)]
    return model(nodes, inputs, outputs, constants, opset)


def run(of, feed, names=None):
    """The outputs, by ONNX Runtime without optimization.

    Nor are constants packed in advance: a matrix product adds in another order where its weights are constants.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    given = of if isinstance(of, bytes) else of.SerializeToString()
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    return session.run(names, feed)


def random_feed(of, rng, sizes=None):
    """Values for every input of a model; open lengths are those of sizes, or 1."""
    held = {one.name for one in of.graph.initializer}
    feed = {}
    for one in of.graph.input:
        if one.name in held:
            continue
        kind = one.type.tensor_type
        given = (sizes or {}).get(one.name, {})
        shape = [given.get(k) or max(d.dim_value, 1) for k, d in enumerate(kind.shape.dim)]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        values = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 256, shape)
        if one.name == "sr":  # a sampling rate, by which silero's networks choose a branch
            values = 16000
        feed[one.name] = np.asarray(values).astype(dtype)
    return feed
