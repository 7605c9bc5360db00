"""QuantizeLinear and DequantizeLinear of ONNX Runtime give the bits of fq, for every type and granularity."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from helpers import assert_same, hard_values

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
import onnx
from networks import run, value
from onnx import TensorProto, helper

import fq
import fq.onnx
from fq.onnx import _grids

SHAPE = (3, 8, 4)


@st.composite
def cases(draw):
    """A type, an opset, an axis and a block, and parameters."""
    row = draw(st.sampled_from(_grids.TYPES))
    opset = draw(st.sampled_from([21, 25] if row.opset <= 21 else [25]))
    kind = draw(st.sampled_from(["tensor", "axis", "block"]))
    axis = draw(st.integers(0, 2))
    block = draw(st.sampled_from([n for n in (1, 2, 4, 8, 3) if SHAPE[axis] % n == 0])) if kind == "block" else 0
    shape = () if kind == "tensor" else (SHAPE[axis],)
    if block:
        shape = (*SHAPE[:axis], SHAPE[axis] // block, *SHAPE[axis + 1 :])
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = (2.0 ** rng.uniform(-100, 100, shape) if draw(st.booleans()) else rng.uniform(0.01, 1, shape)).astype(
        np.float32
    )
    zero_point = rng.integers(row.qmin, row.qmax + 1, shape)
    return row, opset, None if kind == "tensor" else axis, block, scale, zero_point, rng


def against(parameter, axis, block):
    """A parameter of a node as fq takes it."""
    if block:
        return np.repeat(parameter, block, axis)
    return parameter if axis is None else parameter.reshape([-1 if k == axis else 1 for k in range(3)])


def one_node(case, op, given, element, result):
    """A model of one node, of which integers come out as int32 and go in as what they are."""
    row, opset, axis, block, scale, zero_point, _ = case
    axes = ({} if axis is None else {"axis": axis}) | ({"block_size": block} if block else {})
    narrow = np.int32 if row.bits > 8 else np.int16
    held = [onnx.numpy_helper.from_array(scale, "scale")]
    stored = zero_point.astype(narrow).astype(f"{'i' if row.qmin else 'u'}{max(row.bits, 8) // 8}")
    raw = _grids.raw_bytes(stored, row.bits)
    held.append(onnx.TensorProto(name="zero", data_type=row.element, dims=scale.shape, raw_data=raw))
    nodes = [helper.make_node("Cast", ["x"], ["given"], to=element)]
    nodes.append(helper.make_node(op, ["given", "scale", "zero"], ["found"], **axes))
    nodes.append(helper.make_node("Cast", ["found"], ["y"], to=result))
    inputs = [value("x", given.shape, helper.np_dtype_to_tensor_dtype(given.dtype))]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", given.shape, result)], held)
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10 if opset == 21 else 13
    )
    return run(made, {"x": given})[0]


@hypothesis.given(cases())
def test_quantize_linear_gives_the_levels_of_fq(case):
    row, _, axis, block, scale, zero_point, _ = case
    x = values(case)
    found = one_node(case, "QuantizeLinear", x, TensorProto.FLOAT, TensorProto.INT32)
    grid = against(scale, axis, block), against(zero_point, axis, block), row.qmin, row.qmax
    assert_same(found, fq.quantize(x, *grid, dtype=np.int32))


@hypothesis.given(cases())
def test_dequantize_linear_gives_the_values_of_fq(case):
    row, _, axis, block, scale, zero_point, rng = case
    q = rng.integers(row.qmin, row.qmax + 1, SHAPE).astype(np.int32)
    found = one_node(case, "DequantizeLinear", q, row.element, TensorProto.FLOAT)
    parameters = against(scale, axis, block), against(zero_point, axis, block)
    assert_same(found, fq.dequantize(q, *parameters))
    x = values(case)
    q = fq.quantize(x, *parameters, row.qmin, row.qmax, dtype=np.int32)
    found = one_node(case, "DequantizeLinear", q, row.element, TensorProto.FLOAT)
    assert_same(found, fq.fake_quantize(x, *parameters, row.qmin, row.qmax))


def values(case):
    """Ties, levels, ends and extremes of the grids, but NaN, for which ONNX has no integer."""
    row, _, axis, block, scale, zero_point, rng = case
    scale, zero_point = (np.broadcast_to(against(one, axis, block), SHAPE) for one in (scale, zero_point))
    x = np.empty(SHAPE, np.float32)
    for index in np.ndindex(SHAPE):
        grid = scale[index], zero_point[index], row.qmin, row.qmax
        x[index] = hard_values(np.float32, grid, rng, 1)[0]
    return np.where(np.isnan(x), np.float32(0.5), x)
