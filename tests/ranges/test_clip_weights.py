"""The clip of least error on the weights of real networks, as far as packages that carry some are installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from tensors import BITS, error, least_error

import fq

PACKAGES = "rapidocr_onnxruntime", "silero_vad", "magika", "nudenet"
FEWEST, MOST = 1000, 50_000  # values of a tensor: with fewer, a bin holds too few to know where they lie

pytestmark = pytest.mark.slow


def graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from graphs(inner)


def weights(package):
    """The different tensors of floats in the package's ONNX files, a part of each."""
    onnx = pytest.importorskip("onnx")
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.onnx"))
    assert files
    found = {}
    for graph in (graph for file in files for graph in graphs(onnx.load(file).graph)):
        constants = [
            a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"
        ]
        for tensor in (*graph.initializer, *constants):
            if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
                x = onnx.numpy_helper.to_array(tensor).astype(np.float32).ravel()[:MOST]
                if x.size >= FEWEST and x.any():
                    found[x.tobytes()] = x
    return list(found.values())


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("package", PACKAGES)
def test_mse_is_within_a_hundredth_of_the_best_that_trying_finds(package, symmetric):
    tensors = weights(package)
    assert tensors
    for x in tensors:
        for bits in BITS:
            found = error(x, fq.calibrate(x, bits, method="mse", symmetric=symmetric))
            assert found <= 1.01 * least_error(x, bits, symmetric), (x.shape, bits)
