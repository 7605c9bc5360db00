"""Whole networks, the demo's and those in the wheels of other packages: quantized, and verified to differ nowhere."""

import numpy as np
import pytest
from helpers import assert_same

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
import networks
import onnx
from networks import model, run, value
from onnx import helper

import fq
import fq.onnx
from fq._demo_net import Network
from fq.onnx import Weights

# The lengths of inputs that the files leave open.
SIZES = {
    "ocr-cls": {"x": {0: 2, 1: 3, 2: 48, 3: 192}},
    "ocr-det": {"x": {0: 1, 1: 3, 2: 64, 3: 96}},
    "ocr-rec": {"x": {0: 1, 1: 3, 2: 48, 3: 96}},
    "silero": {"input": {0: 1, 1: 576}, "state": {0: 2, 1: 1, 2: 128}},
    "silero-16k": {"input": {0: 1, 1: 576}, "state": {0: 2, 1: 1, 2: 128}},
    "silero-half": {"input": {0: 1, 1: 576}, "state": {0: 2, 1: 1, 2: 128}},
    "magika": {"bytes": {0: 1, 1: 2048}},
    "nudenet": {"images": {0: 1, 1: 3, 2: 320, 3: 320}},
}
FOUR_BITS = {"*": Weights(4)}


def demo(rng, learn_scale):
    """The demo's network, quantized, and an ONNX model of its layers in float with the grids of all tensors."""
    x = rng.standard_normal((32, 20)).astype(np.float32)
    network = Network.random((20, 16, 12, 5), rng).quantized(4, x, learn_scale)
    nodes, held, rules, last = [], {}, {}, "x"
    for k, layer in enumerate(network.layers):
        held |= {f"w{k}": layer.weight, f"b{k}": layer.bias}
        rules[f"w{k}"] = layer.weight_quantizer.qparams
        rules[last] = layer.input_quantizer.qparams
        nodes.append(helper.make_node("Gemm", [last, f"w{k}", f"b{k}"], [f"z{k}"], transB=1))
        if k + 1 < len(network.layers):
            nodes.append(helper.make_node("Relu", [f"z{k}"], [f"x{k}"]))
            last = f"x{k}"
    given = model(nodes, [value("x", ["n", 20])], [value(nodes[-1].output[0], ["n", 5])], held)
    return network, given, rules, x


@pytest.mark.parametrize("learn_scale", [False, True])
def test_the_network_of_the_demo_is_the_same_in_onnx_runtime(learn_scale):
    network, given, rules, x = demo(np.random.default_rng(0), learn_scale)
    quantized = fq.onnx.quantize(given, rules)
    report = fq.onnx.verify(quantized, {"x": x}, given, rules)
    assert report.ok, report
    y = x
    for layer in network.layers[:-1]:
        y = np.maximum(layer.evaluate(y), 0)
    # Sums of products are added in another order than NumPy's.
    np.testing.assert_allclose(run(quantized, {"x": x})[0], network.layers[-1].evaluate(y), rtol=1e-4, atol=1e-5)


def twin(given, grids):
    """The float model, each weight in the place of which has its fake-quantized values."""
    made = fq.onnx._model.read(given)
    for one in fq.onnx._model.constants(made):
        if one.name in grids:
            array = one.array()
            spread = fq.onnx._grids.spread(array, grids[one.name])
            values = fq.fake_quantize(spread, *grids[one.name]).reshape(array.shape)
            one.tensor.CopyFrom(onnx.numpy_helper.from_array(values, one.tensor.name))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.FILES)
def test_weights_of_four_bits_are_those_of_fq_and_so_are_the_outputs(name):
    path = networks.file_of(name)
    given = fq.onnx._model.read(path)
    quantized = fq.onnx.quantize(path, FOUR_BITS)
    grids = fq.onnx.choose_qparams(path, FOUR_BITS)
    assert grids
    report = fq.onnx.verify(quantized, (), path, FOUR_BITS)
    assert report.ok, report
    assert report.tensors == len(grids)
    feed = networks.random_feed(given, np.random.default_rng(0), SIZES[name])
    same = fq.onnx._model.upgrade(twin(given, grids), fq.onnx._model.opset(quantized))
    for found, expected in zip(run(quantized, feed), run(same, feed), strict=True):
        assert_same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", networks.FILES)
def test_activations_differ_nowhere(name):
    path = networks.file_of(name)
    given = fq.onnx._model.read(path)
    rng = np.random.default_rng(0)
    feeds = [networks.random_feed(given, rng, SIZES[name]) for _ in range(2)]
    try:
        observers = fq.onnx.calibrate(path, feeds)
    except ValueError as error:
        assert "has no activation" in str(error)  # noqa: PT017
        pytest.skip("all operators are in subgraphs")
    rules = {key: one.qparams(8, signed=False) for key, one in observers.items()} | {"*": Weights(8)}
    report = fq.onnx.verify(fq.onnx.quantize(path, rules), feeds, path, rules)
    assert report.ok, report


@pytest.mark.slow
def test_an_ocr_network_of_four_bits_is_a_third_of_its_size_and_equals_its_twin():
    path = networks.file_of("ocr-cls")
    quantized = fq.onnx.quantize(path, {"*": Weights(4, method="mse")})
    assert 3 * quantized.ByteSize() <= path.stat().st_size
