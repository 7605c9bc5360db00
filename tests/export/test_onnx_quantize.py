"""fq.onnx.quantize writes what was asked for, refuses the rest by name, and changes no given model."""

import contextlib
import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers import assert_same

pytest.importorskip("onnx", reason="onnx is not installed")
import networks
import onnx
from networks import model, one_matrix, random_feed, run, tensor, value
from onnx import TensorProto, helper

import fq
import fq.onnx
from fq.onnx import Weights

needs_runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def rng():
    return np.random.default_rng(0)


def values_of(quantized, names, feed=None):
    """The values of a tensor inside a model, or of several."""
    extended = onnx.ModelProto()
    extended.CopyFrom(quantized)
    several = [names] if isinstance(names, str) else names
    for name in several:
        if all(one.name != name for one in extended.graph.output):
            extended.graph.output.add(name=name)
    found = run(extended, feed or {}, several)
    return found[0] if isinstance(names, str) else found


def ops(of):
    return [node.op_type for node in of.graph.node]


def initializer(of, name):
    return next(one for one in of.graph.initializer if one.name == name)


GRIDS = [
    ("int2", fq.QParams(0.5, 0, -2, 1)),
    ("uint2", fq.QParams(0.5, 1, 0, 3)),
    ("int4", fq.QParams(0.25, 0, -8, 7)),
    ("int4", fq.QParams(0.25, 1, -3, 4)),
    ("uint4", fq.QParams(0.25, 8, 0, 15)),
    ("int8", fq.QParams(0.02, 3, -128, 127)),
    ("int8", fq.QParams(0.02, 0, -127, 127)),
    ("uint8", fq.QParams(0.02, 128, 0, 255)),
    ("int16", fq.QParams(0.0001, 0, -32768, 32767)),
    ("uint16", fq.QParams(0.0001, 32768, 0, 65535)),
]


@pytest.mark.parametrize(("kind", "grid"), GRIDS, ids=str)
@pytest.mark.parametrize("element", ["float32", "float16", "bfloat16"])
def test_a_weight_is_stored_in_the_smallest_type_and_has_the_values_of_fq(kind, grid, element):
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, {"float32": "FLOAT"}.get(element, element.upper())))
    w = rng().standard_normal((6, 5)).astype(dtype)
    given = model([helper.make_node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)], [], [value("y", [6, 5])], {"w": w})
    quantized = fq.onnx.quantize(given, {"w": grid})
    assert initializer(quantized, "w_quantized").data_type == getattr(TensorProto, kind.upper())
    assert_same(run(quantized, {})[0], fq.fake_quantize(w, *grid).astype(np.float32))


def test_scales_of_a_tensor_an_axis_and_blocks_reach_the_elements_that_they_reach_in_fq():
    w = rng().standard_normal((6, 8, 4)).astype(np.float32)
    given = model([helper.make_node("Identity", ["w"], ["y"])], [], [value("y", [6, 8, 4])], {"w": w})
    shapes = [(), (1,), (1, 1, 1), (6, 1, 1), (8, 1), (1, 8, 1), (4,), (1, 1, 4)]
    cut = {
        (6, 8, 2, 1): (6, 8, 2, 2),
        (6, 4, 1, 4): (6, 4, 2, 4),
        (3, 1, 8, 4): (3, 2, 8, 4),
        (1, 2, 1, 4): (6, 2, 4, 4),
    }
    for shape in [*shapes, *cut]:
        scale = rng().uniform(0.1, 0.4, shape).astype(np.float32)
        zero_point = rng().integers(-8, 8, shape)
        grid = fq.QParams(scale, zero_point, -8, 7)
        found = run(fq.onnx.quantize(given, {"w": grid}), {})[0]
        expected = fq.fake_quantize(w.reshape(cut.get(shape, w.shape)), *grid).reshape(w.shape)
        assert_same(found, expected)


@pytest.mark.parametrize("opset", [13, 21, 25])
@pytest.mark.parametrize("grid", [GRIDS[0][1], GRIDS[2][1], GRIDS[5][1]], ids=str)
def test_an_opset_decides_the_types_but_not_the_values(opset, grid):
    w = rng().standard_normal((6, 5)).astype(np.float32)
    quantized = fq.onnx.quantize(one_matrix(w, 13), {"w": grid}, opset=opset)
    assert fq.onnx._model.opset(quantized) == opset
    assert_same(values_of(quantized, "w", {"x": np.zeros((1, 6), np.float32)}), fq.fake_quantize(w, *grid))


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 21, 25])
def test_an_older_opset_is_upgraded_no_further_than_needed(opset):
    w = rng().standard_normal((6, 5)).astype(np.float32)
    given = one_matrix(w, opset)
    helper.set_model_props(given, {"characters": "abc"})
    for grid, needed in [(GRIDS[5][1], 13), (GRIDS[2][1], 21), (GRIDS[0][1], 25)]:
        quantized = fq.onnx.quantize(given, {"w": grid})
        assert quantized.metadata_props[0].value == "abc"
        assert fq.onnx._model.opset(quantized) == max(opset, needed)
        assert_same(values_of(quantized, "w", {"x": np.zeros((1, 6), np.float32)}), fq.fake_quantize(w, *grid))


def test_weights_lie_along_the_axes_that_their_operators_have():
    given = networks.convolutions(rng())
    shapes = {name: grid.scale.shape for name, grid in fq.onnx.choose_qparams(given, {"*": Weights(4)}).items()}
    assert shapes == {"conv.w": (8, 1, 1, 1), "up.w": (1, 6, 1, 1), "fc.w": (5, 1)}
    shapes = {
        name: grid.scale.shape for name, grid in fq.onnx.choose_qparams(given, {"*": Weights(4, group=2)}).items()
    }
    assert shapes == {"conv.w": (8, 2, 1, 3, 3), "up.w": (4, 1, 6, 2, 2), "fc.w": (5, 3, 1)}


@pytest.mark.parametrize(
    ("op", "place", "shape", "attributes", "channels", "summed"),
    [
        ("MatMul", 1, (4, 6), {}, 1, 0),
        ("MatMul", 1, (2, 4, 6), {}, 2, 1),
        ("MatMul", 0, (4, 6), {}, 0, 1),
        ("Gemm", 1, (4, 6), {}, 1, 0),
        ("Gemm", 1, (4, 6), {"transB": 1}, 0, 1),
        ("Gemm", 0, (4, 6), {}, 0, 1),
        ("Gemm", 0, (4, 6), {"transA": 1}, 1, 0),
        ("Gather", 0, (4, 6), {}, 0, 1),
        ("Gather", 0, (4, 6), {"axis": -1}, 1, 0),
        ("Gather", 0, (2, 4, 6), {"axis": 1}, 1, 2),
        ("Conv", 1, (4, 6, 3), {}, 0, 1),
        ("ConvTranspose", 1, (4, 6, 3), {}, 1, 0),
    ],
)
def test_a_rule_finds_channels_and_groups_of_each_operator(op, place, shape, attributes, channels, summed):
    names = ["x", "x"]
    names[place] = "w"
    element = TensorProto.INT64 if op == "Gather" else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "g",
        [value("x", None, element)],
        [value("y")],
        [tensor("w", rng().standard_normal(shape).astype(np.float32))],
    )
    given = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    w = onnx.numpy_helper.to_array(given.graph.initializer[0])
    found = fq.onnx.choose_qparams(given, {"*": Weights(4)})["w"]
    assert_same(found.scale, fq.calibrate(w, 4, axis=channels, symmetric=True).scale)
    found = fq.onnx.choose_qparams(given, {"*": Weights(4, group=2)})["w"]
    scale = fq.calibrate(np.moveaxis(w, summed, -1).copy(), 4, group=2, symmetric=True).scale
    assert_same(found.scale, np.moveaxis(scale, (-2, -1), (summed, summed + 1)))


def test_an_axis_that_is_no_multiple_of_a_group_gets_a_scale_for_each_channel():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    for group in (4, 6, 12):
        grids = fq.onnx.choose_qparams(one_matrix(w), {"*": Weights(4, group=group)})
        assert grids["w"].scale.shape == (1, 5)
    with pytest.raises(ValueError, match=r"'w' has shape \(6, 5\): groups of 4 do not cut axis 0 evenly"):
        fq.onnx.choose_qparams(one_matrix(w), {"w": Weights(4, axis=0, group=4)})


def test_names_come_before_patterns_and_the_first_pattern_decides():
    given = networks.convolutions(rng())
    rules = {"conv*": Weights(3), "*": Weights(8), "fc.w": Weights(2)}
    grids = fq.onnx.choose_qparams(given, rules)
    ends = {name: (grid.qmin, grid.qmax) for name, grid in grids.items()}
    assert ends == {"conv.w": (-4, 3), "fc.w": (-2, 1), "up.w": (-128, 127)}


def test_constant_nodes_are_weights_too():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor("", w)),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    given = model(nodes, [value("x", ["n", 6])], [value("y", ["n", 5])], {})
    quantized = fq.onnx.quantize(given, {"*": Weights(4)})
    assert ops(quantized) == ["DequantizeLinear", "MatMul"]
    grid = fq.onnx.choose_qparams(given, {"*": Weights(4)})["w"]
    x = rng().standard_normal((3, 6)).astype(np.float32)
    assert_same(values_of(quantized, "w", {"x": x}), fq.fake_quantize(w, *grid))


def test_a_weight_that_several_nodes_and_an_output_read_is_stored_once():
    w = rng().standard_normal((6, 6)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Add", ["b", "w"], ["y"]),
    ]
    given = model(nodes, [value("x", [6, 6])], [value("y", [6, 6]), value("w", [6, 6])], {"w": w})
    quantized = fq.onnx.quantize(given, {"*": Weights(4)})
    assert ops(quantized) == ["DequantizeLinear", "MatMul", "MatMul", "Add"]
    grid = fq.onnx.choose_qparams(given, {"*": Weights(4)})["w"]
    twin = model(
        nodes, [value("x", [6, 6])], [value("y", [6, 6]), value("w", [6, 6])], {"w": fq.fake_quantize(w, *grid)}
    )
    feed = random_feed(given, rng())
    for found, expected in zip(run(quantized, feed), run(twin, feed), strict=True):
        assert_same(found, expected)


def test_an_embedding_tied_to_a_matrix_is_refused_unless_it_is_told_an_axis():
    w = rng().standard_normal((6, 6)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["w", "i"], ["a"], name="look"), helper.make_node("MatMul", ["a", "w"], ["y"])]
    given = model(nodes, [value("i", ["n"], TensorProto.INT64)], [value("y", ["n", 6])], {"w": w})
    with pytest.raises(ValueError, match=r"'w' is read along different axes, by Gather 'look' \(channels on axis 0\)"):
        fq.onnx.quantize(given, {"*": Weights(4)})
    assert fq.onnx.choose_qparams(given, {"w": Weights(4, axis=0)})["w"].scale.shape == (6, 1)
    assert fq.onnx.choose_qparams(given, {"*": Weights(4, axis=None)})["w"].scale.size == 1


def branches(w, v, outer):
    """An If whose branches hold a weight each, or read that of the main graph."""

    def branch(name, weight):
        held = [] if outer else [tensor(f"w.{name}", weight)]
        nodes = [helper.make_node("MatMul", ["x", "w" if outer else f"w.{name}"], [f"y.{name}"])]
        return helper.make_graph(nodes, name, [], [value(f"y.{name}", ["n", w.shape[1]])], held)

    nodes = [helper.make_node("If", ["c"], ["y"], name="if", then_branch=branch("a", w), else_branch=branch("b", v))]
    inputs = [value("x", ["n", len(w)]), value("c", [], TensorProto.BOOL)]
    return model(nodes, inputs, [value("y", ["n", w.shape[1]])], {"w": w} if outer else {})


@pytest.mark.parametrize("outer", [False, True])
def test_weights_of_subgraphs_are_quantized(outer):
    w, v = rng().standard_normal((2, 6, 5)).astype(np.float32)
    given = branches(w, v, outer)
    quantized = fq.onnx.quantize(given, {"*": Weights(4)})
    grids = fq.onnx.choose_qparams(given, {"*": Weights(4)})
    assert sorted(grids) == (["w"] if outer else ["w.a", "w.b"])
    x = rng().standard_normal((3, 6)).astype(np.float32)
    for taken, (name, weight) in {True: ("w.a", w), False: ("w.b", w if outer else v)}.items():
        grid = grids["w" if outer else name]
        twin = one_matrix(fq.fake_quantize(weight, *grid))
        assert_same(run(quantized, {"x": x, "c": np.array(taken)})[0], run(twin, {"x": x})[0])
    assert fq.onnx.verify(quantized, (), given, {"*": Weights(4)}).ok


def test_an_input_is_quantized_for_subgraphs_too():
    w, v = rng().standard_normal((2, 6, 5)).astype(np.float32)
    quantized = fq.onnx.quantize(branches(w, v, False), {"x": fq.QParams(0.3, 1, -8, 7)})
    x = rng().standard_normal((3, 6)).astype(np.float32)
    for taken, weight in {True: w, False: v}.items():
        expected = run(one_matrix(weight), {"x": fq.fake_quantize(x, 0.3, 1, -8, 7)})[0]
        assert_same(run(quantized, {"x": x, "c": np.array(taken)})[0], expected)


def test_functions_are_inlined():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    function = helper.make_function("mine", "Times", ["a", "b"], ["c"], body, imports[:1])
    graph = helper.make_graph(
        [helper.make_node("Times", ["x", "w"], ["y"], domain="mine")],
        "g",
        [value("x", ["n", 6])],
        [value("y", ["n", 5])],
        [tensor("w", w)],
    )
    given = helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=10)
    assert ops(fq.onnx.quantize(given, {"*": Weights(4)})) == ["DequantizeLinear", "MatMul"]


ACTIVATIONS = [
    fq.QParams(0.1, 3, -128, 127),
    fq.QParams(0.1, 100, 0, 255),
    fq.QParams(0.2, 0, -8, 7),
    fq.QParams(0.2, 4, 0, 15),
    fq.QParams(0.7, 1, 0, 3),
    fq.QParams(1e-4, 0, -32768, 32767),
    fq.QParams(0.1, 0, -127, 127),
    fq.QParams(0.1, 5, 0, 127),
    fq.QParams(0.4, 0, -4, 3),
    fq.QParams(np.float32([[0.1], [0.2], [0.3], [0.4]]).reshape(4, 1, 1), np.arange(4).reshape(4, 1, 1), -8, 7),
    fq.QParams(np.float32([[0.1], [0.2], [0.3], [0.4]]).reshape(1, 4, 1, 1), 0, -100, 100),
    fq.QParams(np.linspace(0.1, 0.5, 8, dtype=np.float32), 0, -128, 127),
]


@pytest.mark.parametrize("grid", ACTIVATIONS, ids=str)
@pytest.mark.parametrize("element", [np.float32, np.float16])
def test_activations_have_the_values_of_fq_for_all_that_read_them(grid, element):
    given = networks.convolutions(rng(), element=element)
    of_r = fq.QParams(0.1, 0, -8, 7) if np.ndim(grid.scale) else grid
    rules = {"x": grid, "r": of_r, "*": Weights(8)}
    quantized = fq.onnx.quantize(given, rules)
    feed = {"x": (rng().standard_normal((2, 4, 8, 8)) * 20).astype(element)}
    report = fq.onnx.verify(quantized, feed, given, rules)
    assert report.ok, report
    assert report.tensors == (3 + 2 * 2 if element == np.float32 else 3 * 2 + 2 * 3)  # a Cast is an output too
    if (
        element == np.float32
    ):  # for float16, ONNX Runtime computes in float32 and may leave out to round between two nodes
        r, of_relu = values_of(quantized, ["r", "r_float"], feed)
        assert_same(r, fq.fake_quantize(of_relu, *of_r))


def test_blocks_of_an_activation_of_known_shape():
    given = one_matrix(rng().standard_normal((8, 5)).astype(np.float32))
    given.graph.input[0].CopyFrom(value("x", [3, 8]))
    grid = fq.QParams(rng().uniform(0.1, 0.4, (3, 2, 1)).astype(np.float32), 0, -8, 7)
    quantized = fq.onnx.quantize(given, {"x": grid})
    x = rng().standard_normal((3, 8)).astype(np.float32)
    found = values_of(quantized, "x_dequantized", {"x": x})
    assert_same(found, fq.fake_quantize(x.reshape(3, 2, 4), *grid).reshape(3, 8))
    with pytest.raises(ValueError, match=r"'x' has shape \(None, 8\): blocks need every length"):
        fq.onnx.quantize(one_matrix(np.ones((8, 5), np.float32)), {"x": grid})


def test_an_axis_needs_a_shape_that_can_be_inferred():
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
    nodes = [helper.make_node("Foo", ["x"], ["f"], domain="mine"), helper.make_node("Cast", ["f"], ["y"], to=1)]
    graph = helper.make_graph(nodes, "g", [value("x", ["n", 6])], [value("y")])
    given = helper.make_model(graph, opset_imports=imports, ir_version=10)
    per_row = fq.QParams(np.ones((6, 1)), 0, -8, 7)
    with pytest.raises(ValueError, match="the type of 'f' cannot be inferred"):
        fq.onnx.quantize(given, {"f": per_row})
    with pytest.raises(ValueError, match="the shape of 'y' cannot be inferred, so no axis is known"):
        fq.onnx.quantize(given, {"y": per_row})
    assert "QuantizeLinear" in ops(fq.onnx.quantize(given, {"y": fq.QParams(np.ones((1, 1)), 0, -8, 7)}))


def test_two_tensors_of_one_name_are_refused():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    given = branches(w, w, False)
    for attribute in given.graph.node[0].attribute:
        attribute.g.initializer[0].name = attribute.g.node[0].input[1] = "w"
    with pytest.raises(ValueError, match=r"several tensors are called 'w', in .* of If 'if' and .* of If 'if'"):
        fq.onnx.quantize(given, {"*": Weights(4)})


def test_an_activation_that_is_an_output_is_quantized_there_too():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    quantized = fq.onnx.quantize(one_matrix(w), {"y": fq.QParams(0.5, 0, -8, 7)})
    x = rng().standard_normal((3, 6)).astype(np.float32)
    assert_same(run(quantized, {"x": x})[0], fq.fake_quantize(run(one_matrix(w), {"x": x})[0], 0.5, 0, -8, 7))


def test_the_given_model_is_not_changed_and_new_names_are_not_taken():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["w_scale"]),
        helper.make_node("Relu", ["w_scale"], ["w_quantized"]),
    ]
    given = model(nodes, [value("x", ["n", 6])], [value("w_quantized", ["n", 5])], {"w": w})
    before = given.SerializeToString()
    quantized = fq.onnx.quantize(given, {"*": Weights(4), "x": fq.QParams(0.1, 0, -8, 7)})
    assert given.SerializeToString() == before
    onnx.checker.check_model(quantized, full_check=True)
    outputs = [name for node in quantized.graph.node for name in node.output]
    assert len(outputs) == len(set(outputs))


def test_a_path_bytes_and_a_model_give_the_same(tmp_path):
    given = networks.convolutions(rng())
    path = tmp_path / "m.onnx"
    onnx.save(given, path)
    rules = {"*": Weights(4)}
    made = [fq.onnx.quantize(one, rules).SerializeToString() for one in (path, str(path), path.read_bytes(), given)]
    assert made[1:] == made[:-1]


def test_external_data_are_read_of_a_path_and_refused_of_a_model_without_them(tmp_path):
    given = networks.convolutions(rng())
    path = tmp_path / "m.onnx"
    onnx.save(networks.convolutions(rng()), path, save_as_external_data=True, location="data", size_threshold=0)
    rules = {"*": Weights(4), "x": fq.QParams(0.1, 0, -128, 127)}
    quantized = fq.onnx.quantize(path, rules)
    feed = random_feed(given, rng())
    assert_same(run(quantized, feed)[0], run(fq.onnx.quantize(given, rules), feed)[0])
    onnx.save(quantized, tmp_path / "q.onnx", save_as_external_data=True, location="qdata", size_threshold=0)
    assert fq.onnx.verify(tmp_path / "q.onnx", feed, path, rules).ok
    with pytest.raises(
        ValueError, match=r"the data of 'conv\.w' are in a file that was not read: give the model's path"
    ):
        fq.onnx.quantize(onnx.load(path, load_external_data=False), rules)
    (tmp_path / "data").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match="data"):
        fq.onnx.quantize(path, rules)


def test_initializers_of_the_oldest_format_are_inputs_and_leave_them():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    given = one_matrix(w, 9)
    given.graph.input.append(value("w", [6, 5]))
    with pytest.raises(ValueError, match=r"'w' is an input of the model with a default value"):
        fq.onnx.quantize(given, {"*": Weights(8)})
    given.ir_version = 3
    quantized = fq.onnx.quantize(given, {"*": Weights(8)})
    assert [one.name for one in quantized.graph.input] == ["x"]
    assert fq.onnx.verify(quantized, {"x": np.ones((1, 6), np.float32)}, given, {"*": Weights(8)}).ok


def refused_rules():
    """Rules for a matrix, and what the message says."""
    yield {"v*": Weights(4)}, r"the rule 'v\*' matches no weight"
    yield {"W": Weights(4)}, r"the rule 'W' matches no weight"
    yield {"*": Weights(4), "w*": Weights(8)}, r"the rule 'w\*' decides nothing"
    yield {"ww": Weights(4)}, r"the rule 'ww' matches no weight; there is 'w'"
    yield {"ww": fq.QParams(0.1, 0, -8, 7)}, r"the model has no tensor 'ww'; there is 'w'"
    yield {}, r"there are no rules"
    yield (
        {"w": fq.QParams(np.ones(6), 0, -8, 7)},
        r"'w' has shape \(6, 5\): scales of shape \(6,\) do not fit; .* \(6, 1\)",
    )
    yield {"w": fq.QParams(np.ones((6, 5)), 0, -8, 7)}, r"'w': its scales of shape \(6, 5\) vary along 2 axes"
    yield {"w": fq.QParams(np.ones((4, 5, 1)), 0, -8, 7)}, r"'w' has shape \(6, 5\): scales of shape \(4, 5, 1\)"
    yield {"w": fq.QParams(0.0, 0, -8, 7)}, r"'w': scale must be positive and finite in float32, got 0"
    yield {"w": fq.QParams(np.float32([1, 1, -1, 1, 1]), 0, -8, 7)}, r"'w': scale must be .* got -1 at index"
    yield {"w": fq.QParams(0.1, 9, -8, 7)}, r"'w': .*zero_point"
    yield {"w": fq.QParams(0.1, 0, -(2**20), 7)}, r"'w': levels from -1048576 to 7 fit no integer type"
    yield {"x": fq.QParams(0.1, 0, -512, 511)}, r"'x': no integer type for levels from -512 to 511: .*Clip"
    yield (
        {"x": fq.QParams(np.ones((5,)), 0, -8, 7)},
        r"'x' has shape \(None, 6\): scales of shape \(5,\) do not fit",
    )


def refused_tensors():
    """A model, rules for a tensor that cannot be quantized, and what the message says."""
    w = rng().standard_normal((6, 5)).astype(np.float32)
    grid = fq.QParams(0.1, 0, -8, 7)
    with_nan = one_matrix(np.where(np.arange(30).reshape(6, 5) == 11, np.nan, w).astype(np.float32))
    of_int = model(
        [helper.make_node("Add", ["x", "i"], ["y"])], [value("x", [2], 7)], [value("y", [2], 7)], {"i": np.arange(2)}
    )
    double = model(
        [helper.make_node("Add", ["x", "d"], ["y"])], [value("x", [2], 11)], [value("y", [2], 11)], {"d": np.ones(2)}
    )
    yield with_nan, {"*": Weights(4)}, r"'w' holds NaN at index \(2, 1\)"
    yield of_int, {"i": grid}, r"'i' is of type int64; float16, bfloat16 and float32 can be quantized"
    yield of_int, {"x": grid}, r"'x' is of type int64"
    yield double, {"d": grid}, r"'d' is of type double"
    yield double, {"y": grid}, r"'y' is of type double"
    yield branches(w, w, False), {"y.a": grid}, r"'y.a' is a value of the then_branch of If 'if'"
    yield (
        model([helper.make_node("Add", ["x", "v"], ["y"])], [value("x", [5])], [value("y", [5])], {"v": w[0]}),
        {"v": Weights(4)},
        r"'v' is read by no Conv, .*give Weights\(axis=...\)",
    )


MATRIX = one_matrix(np.linspace(-1, 1, 30, dtype=np.float32).reshape(6, 5))
REFUSED = [(MATRIX, *one) for one in refused_rules()] + list(refused_tensors())


@pytest.mark.parametrize(("given", "rules", "message"), REFUSED, ids=itertools.count())
def test_what_cannot_be_is_refused_by_name(given, rules, message):
    with pytest.raises(ValueError, match=message):
        fq.onnx.quantize(given, rules)


def test_an_opset_that_cannot_be_reached_is_refused():
    w = rng().standard_normal((6, 5)).astype(np.float32)
    with pytest.raises(ValueError, match="the model is in opset 21, and cannot go back to 13"):
        fq.onnx.quantize(one_matrix(w), {"*": Weights(8)}, opset=13)
    with pytest.raises(ValueError, match="'w': no integer type for levels from -32768 to 32767: opset 13 is too low"):
        fq.onnx.quantize(one_matrix(w, 13), {"*": Weights(16)}, opset=13)
    with pytest.raises(ValueError, match="'w': blocks need opset 21, asked for was 13"):
        fq.onnx.quantize(one_matrix(w, 13), {"*": Weights(8, group=2)}, opset=13)
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["u"], to="FLOAT"), helper.make_node("MatMul", ["u", "w"], ["y"])],
        "g",
        [value("x", [1, 6])],
        [value("y", [1, 5])],
        [tensor("w", w)],
    )
    given = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 5)], ir_version=4)
    with pytest.raises(
        ValueError, match=r"the model is in opset 5, these grids need 21, and onnx\.version_converter fails"
    ):
        fq.onnx.quantize(given, {"*": Weights(4)})


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07", bytes(range(256)) * 9], ids=len)
def test_a_file_that_is_not_onnx_is_refused(content, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    for given in (path, content):
        with pytest.raises(ValueError, match="is not an ONNX model"):
            fq.onnx.quantize(given, {"*": Weights(4)})
    with pytest.raises(FileNotFoundError):
        fq.onnx.quantize(tmp_path / "none.onnx", {"*": Weights(4)})


@hypothesis.given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_a_damaged_file_is_a_value_error_or_none(changes, cut):
    content = bytearray(networks.convolutions(rng()).SerializeToString())
    for place, byte in changes:
        content[place % len(content)] = byte
    if cut:
        del content[changes[0][0] % len(content) :]
    with contextlib.suppress(ValueError):
        quantized = fq.onnx.quantize(bytes(content), {"*": Weights(4), "r": fq.QParams(0.1, 0, -8, 7)})
        fq.onnx.verify(quantized, ())


def test_arguments_of_a_wrong_type_are_refused():
    given = one_matrix(np.ones((6, 5), np.float32))
    with pytest.raises(TypeError, match=r"the model must be a path, bytes or an onnx\.ModelProto, got int"):
        fq.onnx.quantize(3, {"*": Weights(4)})
    with pytest.raises(TypeError, match="rules must be a dict of names or patterns, got list"):
        fq.onnx.quantize(given, [Weights(4)])
    with pytest.raises(TypeError, match=r"'w': a rule is an fq\.onnx\.Weights or an fq\.QParams, got int"):
        fq.onnx.quantize(given, {"w": 4})
    with pytest.raises(TypeError, match="'w': a grid must be"):
        fq.onnx.quantize(given, {"w": (1, 2)})
    for wrong in ({"bits": 0}, {"bits": 17}, {"axis": "rows"}, {"group": 1}, {"axis": None, "group": 32}):
        with pytest.raises(ValueError, match=r"bits|axis|group"):
            Weights(**wrong)
