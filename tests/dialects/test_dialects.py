"""Each dialect beside its framework, bit for bit, and by every law that the framework keeps or breaks."""

import importlib
import os
import sys

import numpy as np
import pytest
from helpers import assert_same

import fq
from fq import dialects

GRIDS = [(0.1, 0, -128, 127), (0.05, 128, 0, 255), (1 / 3, 1, -2, 1), (0.1, 3, 0, 15), (0.003, -7, -32768, 32767)]
ENDS = [(-6.0, 6.0, 8), (-1.0, 3.0, 4), (0.0, 5.0, 8), (-0.3, 2.7, 2), (-12.8, 12.7, 8), (-3.0, 1.0, 16)]


def values(dtype=np.float32):
    """Ordinary values, ties of 0.1 and 0.05 with their neighbours, and the extremes."""
    rng = np.random.default_rng(0)
    ties = np.arange(-400, 400) * np.array([[0.05], [0.025]])
    with np.errstate(all="ignore"):
        ties = ties.ravel().astype(dtype)
        near = np.concatenate([ties, np.nextafter(ties, dtype(np.inf)), np.nextafter(ties, dtype(-np.inf))])
        extremes = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, -0.0, 3e38, 1e-40]
        return np.concatenate([rng.standard_normal(20_000).astype(dtype) * 3, near, np.array(extremes).astype(dtype)])


def assert_equal_bits(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    is_nan = np.isnan(expected)
    assert (np.isnan(found) == is_nan).all()
    assert found[~is_nan].tobytes() == expected[~is_nan].tobytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("grid", GRIDS)
def test_pytorch(grid, dtype):
    torch = pytest.importorskip("torch")
    x = values(dtype)
    tensor = torch.from_numpy(x)
    y, mask = dialects.torch.forward(x, *grid)
    assert_equal_bits(y, torch.fake_quantize_per_tensor_affine(tensor, *grid).numpy())
    assert_same(mask, torch.ops.aten.fake_quantize_per_tensor_affine_cachemask(tensor, *grid)[1].numpy())
    leaf = tensor.clone().requires_grad_()
    torch.fake_quantize_per_tensor_affine(leaf, *grid).backward(torch.ones_like(leaf))
    assert_same(dialects.torch.backward(np.ones_like(x), mask), leaf.grad.numpy())


def test_pytorch_in_every_value_of_bfloat16():
    torch, ml_dtypes = pytest.importorskip("torch"), pytest.importorskip("ml_dtypes")
    bits = np.arange(2**16, dtype=np.uint16)
    expected = torch.fake_quantize_per_tensor_affine(torch.from_numpy(bits).view(torch.bfloat16), *GRIDS[0])
    found = dialects.torch.fake_quantize(bits.view(ml_dtypes.bfloat16), *GRIDS[0])
    assert (found.view(np.uint16) == expected.view(torch.uint16).numpy()).all()


def test_pytorch_per_channel():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal((5, 70)).astype(np.float32)
    scale, zero_point = np.float32([0.1, 0.2, 0.05, 0.3, 0.01]), np.int32([0, 3, -2, 1, 5])
    expected = torch.fake_quantize_per_channel_affine(*map(torch.from_numpy, (x, scale, zero_point)), 0, -8, 7)
    assert_equal_bits(dialects.torch.fake_quantize(x, scale[:, None], zero_point[:, None], -8, 7), expected.numpy())


@pytest.mark.parametrize("grid", [grid for grid in GRIDS if grid[3] - grid[2] in (255, 65535)])
def test_onnx_runtime(grid):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    runtime = importlib.import_module("fq.testing.candidates.onnx_runtime")
    scale, zero_point, qmin, qmax = np.float32(grid[0]), *grid[1:]
    kind = {(-128, 127): np.int8, (0, 255): np.uint8, (-32768, 32767): np.int16}[qmin, qmax]
    x = values()
    given = x, scale, kind(zero_point)
    q = dialects.onnx.quantize(*given)
    assert_same(q, runtime._quantized(x, scale, zero_point, qmin, qmax))
    assert_equal_bits(dialects.onnx.fake_quantize(*given), runtime._forward(x, scale, zero_point, qmin, qmax))
    assert_equal_bits(dialects.onnx.dequantize(q, *given[1:]), runtime._dequantized(q, scale, zero_point, qmin, qmax))


@pytest.mark.parametrize(("low", "high", "bits"), ENDS)
@pytest.mark.parametrize("narrow", [False, True])
def test_tensorflow(low, high, bits, narrow):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = pytest.importorskip("tensorflow")
    x = values()
    x = x[(x == 0) | ~(abs(x) < np.finfo(x.dtype).tiny)]  # TensorFlow takes subnormal numbers for 0
    y, mask = dialects.tensorflow.forward(x, low, high, bits, narrow)
    with tf.GradientTape() as tape:
        tensor = tf.constant(x)
        tape.watch(tensor)
        expected = tf.quantization.fake_quant_with_min_max_vars(tensor, low, high, bits, narrow)
    assert_equal_bits(y, expected.numpy())
    assert ((tape.gradient(expected, tensor).numpy() != 0) == mask).all()


@pytest.mark.parametrize(("low", "high", "bits"), [one for one in ENDS if one[2] <= 8])
def test_openvino(low, high, bits):
    sys.modules.setdefault("openvino_telemetry", None)
    openvino = pytest.importorskip("openvino")
    from openvino import opset13

    x, ends = values(), [np.float32(one) for one in (low, high, low, high)]
    parameter = opset13.parameter(openvino.PartialShape([-1]), np.float32)
    model = openvino.Model([opset13.fake_quantize(parameter, *ends, 2**bits)], [parameter])
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    request.infer([x])
    y, step = request.get_output_tensor(0).data, (ends[1] - ends[0]) / (2**bits - 1)
    found = dialects.openvino.fake_quantize(x, *ends, 2**bits)
    assert (np.rint((found - ends[0]) / step) == np.rint((y - ends[0]) / step)).all()
    np.testing.assert_allclose(found, y, rtol=0, atol=4e-7 * max(-low, high))


# Where the frameworks have last bits, or overflows, of their own: see docs/guide/dialects.md.
LAST_BITS_OF_OPENVINO = {"extreme scales", "subnormals", "zero points", "several channels", "zero-dimensional"}


def of_torch(x, *grid):
    return dialects.torch.forward(x, *grid)


def of_onnx(x, scale, zero_point, qmin, qmax):
    kind = {(-128, 127): np.int8, (0, 255): np.uint8, (-32768, 32767): np.int16, (0, 65535): np.uint16}[qmin, qmax]
    return dialects.onnx.fake_quantize(x, scale, np.asarray(zero_point).astype(kind))


def of_tensorflow(x, scale, zero_point, qmin, qmax):
    levels = qmax - qmin + 1
    low, high = (np.float32((level - zero_point) * scale) for level in (qmin, qmax))
    return dialects.tensorflow.fake_quantize(x, low, high, levels.bit_length() - (levels % 2 == 0), levels % 2 == 1)


def of_openvino(x, scale, zero_point, qmin, qmax):
    low, high = (((level - np.int64(zero_point)) * np.float32(scale)).astype(np.float32) for level in (qmin, qmax))
    return dialects.openvino.fake_quantize(x, low, high, low, high, qmax - qmin + 1)


@pytest.mark.parametrize(
    ("module", "name", "dialect", "apart"),
    [
        ("pytorch", "PyTorch", of_torch, set()),
        ("onnx_runtime", "ONNX Runtime", of_onnx, set()),
        ("tensorflow_operation", "TensorFlow", of_tensorflow, {"extreme scales", "subnormals"}),
        ("openvino_operation", "OpenVINO", of_openvino, LAST_BITS_OF_OPENVINO),
    ],
)
def test_each_law_is_kept_or_broken_as_by_the_framework(module, name, dialect, apart):
    testing = pytest.importorskip("fq.testing")
    try:
        found = importlib.import_module(f"fq.testing.candidates.{module}").candidates("divide")
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    theirs = next(one for one in found if one.name == name)
    ours = testing.Candidate(f"dialect of {name}", dialect, theirs.supports)
    values_alone = [law for law in testing.ALL if not {"mask", "gradient", "learnable"} & set(law.needs)]
    judged = []
    for one in (testing.Candidate(name, theirs.forward, theirs.supports), ours):
        report = testing.check(one, values_alone, examples=60)
        judged.append({one.law: one.counterexample for one in report.results if one.law not in apart})
    assert judged[0] == judged[1]


# What the frameworks gave, so that these hold where they are not installed.


def test_what_each_framework_gives_of_some_values():
    x = np.float32([-0.375, 0.125, 0.375, 0.625, 99.0, np.nan])
    assert dialects.torch.fake_quantize(x, 0.25, 0, -8, 7).tolist() == [-0.5, 0, 0.5, 0.5, 1.75, -2]
    assert dialects.onnx.quantize(x, 0.25, np.int8(3)).tolist() == [1, 3, 5, 5, 127, -128]
    assert_same(dialects.tensorflow.fake_quantize(x, -2.0, 1.75, 4), np.float32([-0.25, 0.25, 0.5, 0.75, 1.75, np.nan]))
    found = dialects.openvino.fake_quantize(x, -2.0, 1.75, -2.0, 1.75, 16)
    assert found.tolist() == [-0.5, 0, 0.5, 0.5, 1.75, -2]


def test_masks_and_gradients_differ_where_the_pages_say():
    x = np.float32([0.72, 0.7, -0.84])
    assert fq.forward(x, 0.1, 0, -8, 7)[1].tolist() == [True, True, True]
    assert dialects.tensorflow.forward(x, -0.8, 0.7, 4)[1].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: dialects.torch.forward(np.ones(3, int), 1, 0, -8, 7), TypeError, "float16 or bfloat16"),
        (lambda: dialects.torch.forward(np.ones(3), 0.0, 0, -8, 7), ValueError, "scale must be positive"),
        (lambda: dialects.onnx.quantize(np.ones(3, np.float32), 1, 0), TypeError, "2 to 16 bits, got int64"),
        (lambda: dialects.onnx.quantize(np.ones(3, np.float32), 1, 0.0), TypeError, "got float64"),
        (lambda: dialects.onnx.quantize(np.ones(3), 1, np.int8(0)), TypeError, "float32 or float16, got float64"),
        (lambda: dialects.tensorflow.forward(np.ones(3, np.float32), 1, 1), ValueError, "min must be less than max"),
        (lambda: dialects.tensorflow.forward(np.ones(3, np.float32), 0, 1, 1), ValueError, r"\[2, 16\], got 1"),
        (lambda: dialects.openvino.forward(np.ones(3, np.float32), 0, 1, 0, 1, 1), ValueError, "2 or more, got 1"),
        (lambda: dialects.openvino.forward(np.ones(3, np.float32), 0, np.inf, 0, 1, 4), ValueError, "finite"),
    ],
)
def test_what_is_wrong_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
