"""Writes weights as integers, and QuantizeLinear and DequantizeLinear around activations."""

from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

import fq
from fq.onnx import _grids, _model, _weights

__all__ = ["quantize"]

Array = NDArray[Any]
_Types = dict[str, tuple[int, tuple[int | None, ...] | None]]


class _Plan(NamedTuple):
    """What is to be written for a tensor."""

    name: str
    grid: fq.QParams
    layout: _grids.Layout
    stored: _grids.IntType
    element: int  # the float type of the tensor
    clip: bool  # whether the integer type has levels that the grid has not


def quantize(model: _model.ModelLike, rules: _weights.Rules, *, opset: int | None = None) -> Any:
    """Write weights as integers behind a DequantizeLinear, and QuantizeLinear and DequantizeLinear after activations.

    What reads a tensor reads its quantized values from then on, by the name that the tensor has now; an output of the
    model too. The values are those of `fq.fake_quantize` with the same grid, bit for bit: see `verify`.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        The float model, which is not changed. Of a path, external data are read too.
    rules : dict of str to Weights or QParams
        As for `choose_qparams`. The grid of an activation, of the main graph, has one scale, one for each index of an
        axis, or one for each block.
    opset : int, optional
        The opset of the result: 25 has all integer types, 21 those of 4, 8 and 16 bits, 13 those of 8 bits with a scale
        for each tensor or each index of an axis. By default the model's, or the first that has the smallest types for
        these grids.

    Returns
    -------
    onnx.ModelProto
        With all data in memory: ``onnx.save(quantized, path)``, for more than 2 GB with ``save_as_external_data=True``.

    Raises
    ------
    TypeError
        If a rule is neither a `Weights` nor a QParams.
    ValueError
        As `choose_qparams`; if a tensor, or the opset, cannot be what was asked for. The message names it.

    Notes
    -----
    A tensor of float16 or bfloat16 is computed in float32 between two Casts, as fq computes. A grid with fewer levels
    than its integer type has a Clip between QuantizeLinear and DequantizeLinear. Zero points that are all 0 are left
    out of DequantizeLinear.

    Examples
    --------
    >>> import numpy as np, onnx, fq.onnx
    >>> model = onnx.parser.parse_model('''
    ... <ir_version: 10, opset_import: ["" : 21]>
    ... g (float[n, 3] x) => (float[n, 2] y)
    ... <float[3, 2] w = {1, 2, 3, 4, 5, 6}> { y = MatMul(x, w) }''')
    >>> rules = {"w": fq.onnx.Weights(bits=4), "x": fq.choose_qparams(-4, 4)}
    >>> [node.op_type for node in fq.onnx.quantize(model, rules).graph.node]
    ['QuantizeLinear', 'DequantizeLinear', 'DequantizeLinear', 'MatMul']
    """
    model = _model.read(model)
    grids = _weights.choose_of(model, rules)
    if not grids:
        raise ValueError("there are no rules: nothing would be quantized")
    plans = _plan(model, grids, opset)
    needed = [_needs(plan) for plan in plans] if opset is None else [opset]
    model = _model.upgrade(model, max(needed))
    names = _model.value_names(model)
    held = {one.name: one for one in _model.constants(model)}
    for plan in plans:
        if plan.name in held:
            _write_weight(held[plan.name], plan, names)
        elif plan.name in names:
            _write_activation(model, plan, names)
        else:
            raise ValueError(f"onnx.version_converter lost the tensor {plan.name!r}")
    return model


def _plan(model: _model.Model, grids: _weights.Grids, opset: int | None) -> list[_Plan]:
    """What to write for each tensor; all that can be refused is refused here."""
    before = _model.opset(model)
    if opset is not None and opset < before:
        raise ValueError(f"the model is in opset {before}, and cannot go back to {opset}")
    held = {one.name: one for one in _model.constants(model)}
    types = _model.value_types(model) if set(grids) - set(held) else {}
    plans = []
    for name, grid in grids.items():
        if name in held:
            _check_weight(model, held[name])
            element = held[name].tensor.data_type
            shape: _grids.Shape | None = held[name].shape
        else:
            element, shape = _check_activation(model, name, types)
        plans.append(_plan_one(name, grid, element, shape, opset, name in held))
    return plans


def _plan_one(
    name: str, grid: fq.QParams, element: int, shape: _grids.Shape | None, opset: int | None, stored: bool
) -> _Plan:
    grid = _grids.check(name, grid)
    layout = _grids.fit(name, grid, shape)
    of = None if stored else _grids.integer_type(*grid[2:], opset, exactly=True)
    clip = not stored and of is None
    # Clip takes integers of 8 bits, so grids of activations that have fewer levels are in them.
    of = of or _grids.integer_type(*grid[2:], 13 if clip else opset)
    if of is None:
        ways = (
            "activations of 9 to 15 bits would need a Clip that ONNX Runtime lacks"
            if clip
            else f"opset {opset} is too low"
        )
        raise ValueError(f"{name!r}: no integer type for levels from {grid.qmin} to {grid.qmax}: {ways}")
    if layout.block and opset is not None and opset < _grids.BLOCKS_FROM:
        raise ValueError(f"{name!r}: blocks need opset {_grids.BLOCKS_FROM}, asked for was {opset}")
    return _Plan(name, grid, layout, of, element, clip)


def _needs(plan: _Plan) -> int:
    """The opset that has the types, axes and blocks of this plan."""
    return max(plan.stored.opset, _grids.BLOCKS_FROM if plan.layout.block else 0)


def _check_weight(model: _model.Model, one: _model.Constant) -> None:
    """Refuse a default value, which callers may replace. Before IR version 4 every initializer was an input."""
    if model.ir_version >= 4 and any(value.name == one.name for value in one.graph.input):
        raise ValueError(
            f"{one.name!r} is an input of the model with a default value, which callers may replace: take it out of "
            "model.graph.input"
        )


def _check_activation(model: _model.Model, name: str, types: _Types) -> tuple[int, _grids.Shape | None]:
    """The element type and shape of an activation of the main graph; refused where none can be quantized."""
    graph = model.graph
    produced = any(name in node.output for node in graph.node)
    is_input = any(name == one.name for one in graph.input)
    if not produced and not is_input:
        where = [place for inner, place in _model.graphs(model) if place and _names_in(inner, name)]
        place = f"a value of the {where[0]}" if where else "no float tensor of the model"
        raise ValueError(f"{name!r} is {place}: activations of the main graph and weights can be quantized")
    if is_input and any(name == one.name for inner, _ in _model.graphs(model) for one in inner.output):
        raise ValueError(
            f"{name!r} is an input that is an output too, and an output keeps its name: put an Identity between"
        )
    element, shape = types.get(name, (TensorProto.UNDEFINED, None))
    if element == TensorProto.UNDEFINED:
        raise ValueError(f"the type of {name!r} cannot be inferred: add it to model.graph.value_info")
    if element not in _model.FLOATS:
        raise ValueError(
            f"{name!r} is of type {_model.type_name(element)}; float16, bfloat16 and float32 can be quantized"
        )
    return element, shape


def _names_in(graph: _model.Graph, name: str) -> bool:
    return any(name in node.output for node in graph.node) or any(name == one.name for one in graph.input)


class _Writer:
    """Adds what a plan needs to a graph: constants at once, nodes at the end and all together."""

    def __init__(self, graph: _model.Graph, plan: _Plan, names: set[str]) -> None:
        self.plan, self._graph, self._names = plan, graph, names
        self._nodes: list[Any] = []
        self._axes = {} if plan.layout.axis is None else {"axis": plan.layout.axis}
        if plan.layout.block:
            self._axes["block_size"] = plan.layout.block

    def _fresh(self, kind: str) -> str:
        return _model.fresh(self._names, f"{self.plan.name}_{kind}")

    def integers(self, kind: str, values: Array) -> str:
        """A constant of the integer type of the plan; returns its name."""
        stored = self.plan.stored
        raw = _grids.raw_bytes(values.astype(_numpy_type(stored)), stored.bits)
        return _model.add_constant(self._graph, self._fresh(kind), values, stored.element, raw)

    def parameters(self, leave_out_zeros: bool) -> list[str]:
        """The names of scale and zero point; of scale alone where all zero points are 0 and may be left out."""
        scale, zero_point = self.plan.layout[:2]
        found = [_model.add_constant(self._graph, self._fresh("scale"), scale, TensorProto.FLOAT)]
        if zero_point.any() or not leave_out_zeros:
            found.append(self.integers("zero_point", zero_point))
        return found

    def node(self, op: str, inputs: list[str], output: str | None = None, **attributes: int) -> str:
        """Another node; returns the name of its output."""
        name = self._fresh(op)
        output = self._fresh(f"{op}_output") if output is None else output
        attributes |= self._axes if op in ("QuantizeLinear", "DequantizeLinear") else {}
        self._nodes.append(onnx.helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def dequantized(self, inputs: list[str], output: str) -> None:
        """The nodes from integers to the tensor of this name, of the type of the plan."""
        if self.plan.element == TensorProto.FLOAT:
            self.node("DequantizeLinear", inputs, output)
        else:
            self.node("Cast", [self.node("DequantizeLinear", inputs)], output, to=self.plan.element)

    def insert(self, place: int) -> None:
        """Put the nodes before the one at this place."""
        for node in reversed(self._nodes):
            self._graph.node.insert(place, node)


def _write_weight(one: _model.Constant, plan: _Plan, names: set[str]) -> None:
    """The tensor as integers, and the nodes that give its values, at the front of its graph."""
    array = one.array()
    spread = _grids.spread(array, plan.grid)
    q = fq.quantize(spread, *plan.grid, dtype=_numpy_type(plan.stored)).reshape(array.shape)
    _drop(one)
    writer = _Writer(one.graph, plan, names)
    stored = writer.integers("quantized", q)
    writer.dequantized([stored, *writer.parameters(leave_out_zeros=True)], plan.name)
    writer.insert(0)


def _drop(one: _model.Constant) -> None:
    """Take a constant out of its graph, its name remaining."""
    graph = one.graph
    if one.node is not None:
        del graph.node[next(k for k, node in enumerate(graph.node) if one.name in node.output)]
        return
    for among in (graph.initializer, graph.input):
        for k, each in enumerate(among):
            if each.name == one.name:
                del among[k]
                break


def _write_activation(model: _model.Model, plan: _Plan, names: set[str]) -> None:
    """QuantizeLinear and DequantizeLinear behind what gives an activation."""
    graph, name = model.graph, plan.name
    producer = next((k for k, node in enumerate(graph.node) if name in node.output), None)
    if producer is None:  # an input, which keeps its name
        given, taken, place = name, _model.fresh(names, f"{name}_dequantized"), 0
        for inner, _ in _model.graphs(model):
            for node in inner.node:
                _replace(node.input, name, taken)
    else:
        given, taken, place = _model.fresh(names, f"{name}_float"), name, producer + 1
        _replace(graph.node[producer].output, name, given)
    writer = _Writer(graph, plan, names)
    if plan.element != TensorProto.FLOAT:
        given = writer.node("Cast", [given], to=TensorProto.FLOAT)
    parameters = writer.parameters(leave_out_zeros=False)
    q = writer.node("QuantizeLinear", [given, *parameters])
    if plan.clip:
        ends = [writer.integers(end, np.array(getattr(plan.grid, end))) for end in ("qmin", "qmax")]
        q = writer.node("Clip", [q, *ends])
    writer.dequantized([q, *parameters], taken)
    writer.insert(place)


def _replace(among: Any, name: str, other: str) -> None:
    for k, each in enumerate(among):
        if each == name:
            among[k] = other


def _numpy_type(stored: _grids.IntType) -> type[np.integer[Any]]:
    """The type of NumPy that holds its levels, one to an element."""
    if stored.qmin < 0:
        return np.int8 if stored.bits <= 8 else np.int16
    return np.uint8 if stored.bits <= 8 else np.uint16
