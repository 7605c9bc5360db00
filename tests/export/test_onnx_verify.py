"""fq.onnx.verify finds every difference, says where and how large it is, and what it could not compare."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
import networks
import onnx
from networks import model, one_matrix, tensor, value
from onnx import TensorProto, helper

import fq
import fq.onnx
from fq.onnx import Weights

SIDE = 6


def rng():
    return np.random.default_rng(0)


def squares():
    """A float model of square matrices, its rules, its quantized model, and feeds."""
    w = rng().standard_normal((SIDE, SIDE)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])]
    given = model(nodes, [value("x", [SIDE, SIDE])], [value("y", [SIDE, SIDE])], {"w": w, "v": w[::-1].copy()})
    channels = np.linspace(0.1, 0.4, SIDE, dtype=np.float32)
    rules = {"*": Weights(4), "x": fq.QParams(0.05, 3, -128, 127), "h": fq.QParams(channels, 0, -128, 127)}
    feeds = [{"x": rng().standard_normal((SIDE, SIDE)).astype(np.float32) * k} for k in (1, 2, 3)]
    return given, rules, fq.onnx.quantize(given, rules), feeds


def node_of(of, output):
    return next(node for node in of.graph.node if output in node.output)


def scaled(of, name, index, factor):
    """Change one number of a scale, of a copy that this node alone reads."""
    held = next(one for one in of.graph.initializer if one.name == name)
    array = onnx.numpy_helper.to_array(held).copy()
    array.reshape(-1)[index] *= factor
    held.CopyFrom(tensor(name, array))


def test_the_expected_answer_is_nowhere():
    given, rules, quantized, feeds = squares()
    for report in (fq.onnx.verify(quantized, feeds, given, rules), fq.onnx.verify(quantized, feeds)):
        assert report.ok
        report.raise_if_failed()
        assert report.tensors == 2 + 4
        assert report.values == 2 * SIDE**2 + 3 * 4 * SIDE**2
        assert str(report).startswith("nowhere: 504 values of 6 outputs are those of fq, bit for bit")


def test_one_changed_scale_of_a_weight_is_found_with_its_place_and_size():
    given, rules, quantized, feeds = squares()
    scaled(quantized, "w_scale", 2, 1.5)
    assert fq.onnx.verify(quantized, feeds).ok  # the file alone does not tell which scale was trained
    report = fq.onnx.verify(quantized, feeds, given, rules)
    assert not report.ok
    (difference,) = report.differences
    grid = fq.onnx.choose_qparams(given, rules)["w"]
    w = fq.fake_quantize(onnx.numpy_helper.to_array(given.graph.initializer[0]), *grid)
    assert difference.tensor == "w"
    assert difference.law == "fq.fake_quantize of 'w' with its grid"
    assert difference.index[1] == 2
    assert difference.index[0] == np.abs(w[:, 2]).argmax()
    assert difference.expected == w[difference.index]
    assert difference.found == pytest.approx(1.5 * w[difference.index], rel=1e-6)
    assert difference.largest == abs(difference.found - difference.expected)
    assert (difference.count, difference.of) == (np.count_nonzero(w[:, 2]), SIDE**2)
    assert "'w' (DequantizeLinear" in str(report)
    with pytest.raises(AssertionError, match="1 of 6 outputs differ"):
        report.raise_if_failed()


def test_a_wrong_axis_of_a_weight_is_found():
    given, rules, quantized, feeds = squares()
    node_of(quantized, "w").attribute[0].i = 0
    (difference,) = fq.onnx.verify(quantized, feeds, given, rules).differences
    assert (difference.tensor, difference.feed) == ("w", None)


def test_one_changed_scale_of_an_activation_is_found_without_the_original():
    _, _, quantized, feeds = squares()
    node = node_of(quantized, "x_dequantized")
    copied = onnx.TensorProto()
    copied.CopyFrom(next(one for one in quantized.graph.initializer if one.name == node.input[1]))
    copied.name = node.input[1] = "another"
    quantized.graph.initializer.append(copied)
    scaled(quantized, "another", 0, 2)
    (difference,) = fq.onnx.verify(quantized, feeds).differences
    assert difference.tensor == "x_dequantized"
    assert difference.law.startswith("fq.fake_quantize with the parameters of QuantizeLinear")
    assert difference.feed == 2
    assert difference.of == 3 * SIDE**2
    assert difference.found == 2 * difference.expected


def test_a_wrong_axis_of_an_activation_is_found_without_the_original():
    _, _, quantized, feeds = squares()
    node = node_of(quantized, "h")
    next(one for one in node.attribute if one.name == "axis").i = 0
    differences = fq.onnx.verify(quantized, feeds).differences
    assert [one.tensor for one in differences] == ["h"]


def test_both_scales_of_an_activation_changed_are_found_by_the_rules():
    given, rules, quantized, feeds = squares()
    scaled(quantized, "x_scale", 0, 2)
    assert fq.onnx.verify(quantized, feeds).ok
    (difference,) = fq.onnx.verify(quantized, feeds, given, rules).differences
    assert difference.law == "fq.fake_quantize of 'x' with its grid"


def test_a_changed_integer_is_found():
    given, rules, quantized, feeds = squares()
    held = next(one for one in quantized.graph.initializer if one.name == "v_quantized")
    held.raw_data = bytes([held.raw_data[0] ^ 1]) + held.raw_data[1:]
    (difference,) = fq.onnx.verify(quantized, feeds, given, rules).differences
    assert (difference.tensor, difference.index, difference.count) == ("v", (0, 0), 1)


def test_a_tensor_that_was_not_quantized_is_not_compared_and_not_ok():
    given, rules, quantized, feeds = squares()
    report = fq.onnx.verify(quantized, feeds, given, rules | {"y": fq.QParams(0.1, 0, -8, 7)})
    assert not report.ok
    assert report.unchecked == {"y": "a rule names it, and it is not quantized in the model"}


def test_nan_is_passed_over_and_counted():
    given, rules, quantized, feeds = squares()
    feeds[1]["x"][0, 0] = np.nan
    report = fq.onnx.verify(quantized, feeds, given, rules)
    assert report.ok
    assert report.nans == 1
    assert "passed over: 1 values, x being NaN" in str(report)


def test_without_feeds_weights_are_compared_and_the_rest_is_named():
    given, rules, quantized, _ = squares()
    report = fq.onnx.verify(quantized, (), given, rules)
    assert not report.ok
    assert not report.differences
    assert report.tensors == 2
    assert set(report.unchecked.values()) == {"it depends on the inputs, and there are no feeds"}
    assert fq.onnx.verify(fq.onnx.quantize(given, {"*": Weights(4)}), (), given, {"*": Weights(4)}).ok


def test_float_weights_between_the_two_nodes_are_compared_too():
    w = rng().standard_normal((SIDE, SIDE)).astype(np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=1),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    held = {"w": w, "s": np.linspace(0.01, 0.1, SIDE, dtype=np.float32), "z": np.zeros(SIDE, np.int8)}
    report = fq.onnx.verify(model(nodes, [value("x", ["n", SIDE])], [value("y", ["n", SIDE])], held))
    assert report.ok
    assert (report.tensors, report.values) == (2, 2 * SIDE**2)


def test_parameters_may_be_constant_nodes():
    w = rng().standard_normal((SIDE, SIDE)).astype(np.float32)
    held = {"w": w, "s": np.linspace(0.01, 0.1, SIDE, dtype=np.float32), "z": np.zeros(SIDE, np.int8)}
    nodes = [helper.make_node("Constant", [], [name], value=tensor("", one)) for name, one in held.items()]
    nodes += [helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}.q"]) for name in ("w", "x")]
    nodes += [helper.make_node("DequantizeLinear", [f"{name}.q", "s", "z"], [f"{name}.d"]) for name in ("w", "x")]
    nodes += [helper.make_node("MatMul", ["x.d", "w.d"], ["y"])]
    given = model(nodes, [value("x", ["n", SIDE])], [value("y", ["n", SIDE])], {})
    report = fq.onnx.verify(given, {"x": w[:2]})
    assert report.ok, report
    assert report.tensors == 4


def test_a_model_too_large_for_memory_goes_by_way_of_files(monkeypatch):
    given = one_matrix(rng().standard_normal((SIDE, 400)).astype(np.float32))
    rules = {"*": Weights(4), "y": fq.QParams(np.linspace(0.1, 0.2, 400), 0, -8, 7)}  # scales of more than a kilobyte
    quantized, feed = fq.onnx.quantize(given, rules), {"x": rng().standard_normal((2, SIDE)).astype(np.float32)}
    monkeypatch.setattr(fq.onnx._runtime, "_LARGEST", 0)
    assert fq.onnx.verify(quantized, feed, given, rules).ok
    assert fq.onnx.calibrate(given, feed)["x"].count == 2 * SIDE


def quantizer(element, scale, **attributes):
    """y = DequantizeLinear(QuantizeLinear(x))"""
    zero = helper.make_tensor("z", element, [], [0])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", [4])], [value("y", [4])], [tensor("s", np.float32(scale)), zero])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def test_what_fq_does_not_have_is_named():
    feed = {"x": np.zeros(4, np.float32)}
    report = fq.onnx.verify(quantizer(TensorProto.FLOAT8E4M3FN, 0.5), feed)
    assert not report.ok
    assert report.unchecked == {name: report.unchecked[name] for name in ("q", "y")}
    assert "integers of type float8e4m3fn" in report.unchecked["q"]
    report = fq.onnx.verify(quantizer(TensorProto.INT8, -0.5), feed)
    assert "scale must be positive" in report.unchecked["q"]
    assert "not compared: 'q'" in str(report)


@pytest.mark.parametrize("element", ["INT8", "UINT8", "INT16", "UINT16", "INT4", "UINT4"])
def test_a_quotient_of_float16_is_found_wherever_it_is_rounded_to_another_level(element):
    scale = np.float16(0.037)
    given = quantizer(getattr(TensorProto, element), scale)
    given.graph.initializer[0].CopyFrom(tensor("s", scale))
    for nodes in (given.graph.input, given.graph.output):
        nodes[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        nodes[0].type.tensor_type.shape.dim[0].dim_value = 2**16
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)  # all there are
    report = fq.onnx.verify(given, {"x": x})
    row = next(row for row in fq.onnx._grids.TYPES if row.element == getattr(TensorProto, element))
    with np.errstate(all="ignore"):
        in_float16 = np.clip(np.rint(x / scale).astype(np.float32), row.qmin, row.qmax)
        in_float32 = np.clip(np.rint(x.astype(np.float32) / np.float32(scale)), row.qmin, row.qmax)
    moved = np.count_nonzero((in_float16 != in_float32) & ~np.isnan(x))
    assert moved > 0
    assert {one.tensor: one.count for one in report.differences}["q"] == moved
    assert report.differences[0].largest >= 1
    assert report.nans == 2**11 - 2


def test_biases_of_32_bits_are_compared_where_float32_holds_them():
    for level, ok in ((2**24, True), (2**24 + 1, False)):
        nodes = [helper.make_node("DequantizeLinear", ["q", "s"], ["y"])]
        held = {"q": np.array([3, -level], np.int32), "s": np.float32(0.01)}
        report = fq.onnx.verify(model(nodes, [], [value("y", [2])], held))
        assert report.ok == ok, report
        assert ok or "further than 2**24" in report.unchecked["y"]


def test_a_weight_of_another_shape_is_named():
    _, _, quantized, feeds = squares()
    other = one_matrix(np.ones((SIDE, 2), np.float32))
    report = fq.onnx.verify(quantized, feeds, other, {"w": Weights(4)})
    assert report.unchecked == {"w": "it has shape (6, 6), expected (6, 2)"}


def test_a_model_without_the_two_nodes_is_refused():
    with pytest.raises(ValueError, match="the model has no QuantizeLinear and no DequantizeLinear"):
        fq.onnx.verify(one_matrix(np.ones((2, 2), np.float32)), {"x": np.ones((1, 2), np.float32)})


def test_bad_arguments_are_refused():
    given, _, quantized, feeds = squares()
    with pytest.raises(TypeError, match="original and rules belong together"):
        fq.onnx.verify(quantized, feeds, given)
    with pytest.raises(TypeError, match="a feed must be a dict from the model's inputs to arrays, got ndarray"):
        fq.onnx.verify(quantized, [np.ones(3)])
    with pytest.raises(ValueError, match="feed 1: the model has no input 'z'"):
        fq.onnx.verify(quantized, [feeds[0], {"z": feeds[0]["x"]}])
    with pytest.raises(ValueError, match="feed 0: the input 'x' is missing"):
        fq.onnx.verify(quantized, {})
    with pytest.raises(ValueError, match="feed 0: ONNX Runtime: "):
        fq.onnx.verify(quantized, {"x": feeds[0]["x"].astype(np.float64)})


def test_the_networks_of_every_float_type_are_verified():
    import ml_dtypes

    for element in (np.float32, np.float16, ml_dtypes.bfloat16):
        w = rng().standard_normal((SIDE, 4)).astype(element)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(element))
        nodes = [
            helper.make_node("Identity", ["x"], ["h"]),
            helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
        ]
        nodes.append(helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT))
        nodes.insert(0, helper.make_node("Cast", ["f"], ["x"], to=kind))
        given = model(nodes, [value("f", [9])], [value("y", [9]), value("v", [SIDE, 4])], {"w": w})
        rules = {"w": Weights(4, axis=0), "h": fq.QParams(0.3, 1, -8, 7)}
        quantized = fq.onnx.quantize(given, rules)
        report = fq.onnx.verify(quantized, {"f": np.linspace(-3, 3, 9, dtype=np.float32)}, given, rules)
        assert report.ok, report
        scaled(quantized, "h_scale", 0, 1.25)
        assert not fq.onnx.verify(quantized, {"f": np.linspace(-3, 3, 9, dtype=np.float32)}, given, rules).ok


def test_the_convolutions_are_verified_at_every_width():
    given = networks.convolutions(rng())
    feed = {"x": rng().standard_normal((2, 4, 8, 8)).astype(np.float32)}
    for bits in range(1, 17):
        rules = {"*": Weights(bits)} | ({"r": fq.choose_qparams(0, 3, bits, signed=False)} if bits <= 8 else {})
        report = fq.onnx.verify(fq.onnx.quantize(given, rules), feed, given, rules)
        assert report.ok, report
