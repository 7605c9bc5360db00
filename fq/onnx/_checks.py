"""What verify compares: the parts of a model to run, and the laws of each output."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

import fq
from fq.onnx import _grids, _model

__all__ = ["Check", "Piece", "Target", "pieces"]

Array = NDArray[Any]
Values = Mapping[str, Array]
Compared = tuple[Array, Array, Array]  # found, expected, and where nothing is compared

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_DOMAINS = "", "ai.onnx", "com.microsoft"
# Nodes that may stand between a weight, its two nodes, and the name that it has.
_BETWEEN = (*_PAIR, "Clip", "Cast", "Identity", "Constant")
_EXACT = 2**24
_BY_ELEMENT = {row.element: row for row in _grids.TYPES}


class Target(NamedTuple):
    """What a tensor should be: its grid, and the weight of the original model if it is one."""

    grid: fq.QParams
    weight: _model.Constant | None


class Check(NamedTuple):
    """A comparison."""

    tensor: str
    node: str
    law: str
    needs: tuple[str, ...]  # the values that are computed in the model
    compare: Callable[[Values], Compared]


@dataclass
class Piece:
    """A model to run, and what to compare in it."""

    model: _model.Model
    fed: bool  # whether it takes feeds
    checks: list[Check]

    @property
    def needs(self) -> set[str]:
        """The values to ask for."""
        return {name for check in self.checks for name in check.needs}


class _Scope:
    """A graph to run: its nodes, its constants, and the types of its values."""

    def __init__(self, model: _model.Model, held: Mapping[str, _model.Constant]) -> None:
        self.held = held
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.inputs = {one.name for one in model.graph.input}
        self._types = {name: element for name, (element, _) in _model.value_types(model).items()}
        self._types |= {name: one.tensor.data_type for name, one in held.items()}
        self._arrays: dict[str, Array] = {}

    def element(self, name: str) -> int:
        """The element type of a value."""
        return self._types.get(name, 0)  # TensorProto.UNDEFINED

    def needs(self, *names: str) -> tuple[str, ...]:
        """Those of the names that the model computes or is given."""
        return tuple(name for name in names if name and name not in self.held)

    def value(self, values: Values, name: str) -> Array:
        """What ONNX Runtime gave, or the model holds, in its own type."""
        if name in self.held:
            if name not in self._arrays:
                self._arrays[name] = self.held[name].array()
            return self._arrays[name]
        found = np.asarray(values[name])
        if self.element(name) == TensorProto.BFLOAT16:
            found = found.astype(onnx.helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16))
        return found

    def before(self, node: Any, op: str, through: str) -> Any:
        """The node of this kind that gives a node's first input, maybe through one of another kind; or None."""
        found = self.producer.get(node.input[0])
        if found is not None and found.op_type == through:
            found = self.producer.get(found.input[0])
        return found if found is not None and found.op_type == op else None


def pieces(model: _model.Model, targets: Mapping[str, Target], unchecked: dict[str, str]) -> list[Piece]:
    """The parts of a model that have something to compare. What cannot be compared is added to unchecked."""
    found: list[Piece] = []
    left = dict(targets)
    everywhere = _model.constants(model)
    for graph, where in _model.graphs(model):
        held = {one.name: one for one in everywhere} | {one.name: one for one in everywhere if one.where == where}
        closed = _closed(graph, held)
        found += [_weight_piece(model, node, closed, held, left, unchecked) for node in closed if node.op_type in _PAIR]
        by_constants = {name for node in closed for name in node.output}
        open_ = [node for node in graph.node if _is_pair(node) and node.output[0] not in by_constants]
        if not where:
            scope = _Scope(model, held)
            checks = [one for node in open_ for one in _of_node(scope, node, unchecked)]
            checks += _of_activations(scope, left, unchecked)
            found += [Piece(model, True, checks)] if checks else []
        else:
            unchecked |= dict.fromkeys(
                (node.output[0] for node in open_), f"it is in the {where}, whose values do not come out"
            )
    unchecked |= dict.fromkeys(left, "a rule names it, and it is not quantized in the model")
    return [piece for piece in found if piece.checks]


def _is_pair(node: Any) -> bool:
    return node.op_type in _PAIR and node.domain in _DOMAINS


def _closed(graph: _model.Graph, held: Mapping[str, _model.Constant]) -> list[Any]:
    """The nodes of a graph that compute with constants alone, and lie between a weight and its name."""
    names, found = set(held), []
    for node in graph.node:
        if node.op_type in _BETWEEN and node.domain in _DOMAINS and all(name in names for name in node.input if name):
            names.update(node.output)
            found.append(node)
    return found


def _weight_piece(
    model: _model.Model,
    node: Any,
    closed: list[Any],
    held: Mapping[str, _model.Constant],
    left: dict[str, Target],
    unchecked: dict[str, str],
) -> Piece:
    """A model of a node of constants alone, what it needs, and the Cast behind it."""
    nodes, wanted = [node], set(node.input)
    for one in reversed(closed[: next(k for k, each in enumerate(closed) if each.output[0] == node.output[0])]):
        if wanted & set(one.output) and not set(one.output) & set(held):  # the values of a Constant node are held
            nodes.insert(0, one)
            wanted |= set(one.input)
    nodes += [one for one in closed if one.op_type in ("Cast", "Identity") and one.input[0] == node.output[0]]
    used = {name for one in nodes for name in one.input if name in held}
    graph = onnx.helper.make_graph(nodes, "weight", [], [])
    for name in sorted(used):
        graph.initializer.add().CopyFrom(held[name].tensor)
        graph.initializer[-1].name = name
    piece = onnx.ModelProto(ir_version=max(model.ir_version, 4), graph=graph, opset_import=model.opset_import)
    scope = _Scope(piece, {name: held[name] for name in used})
    checks = _of_node(scope, node, unchecked)
    for name in [name for one in nodes for name in one.output if name in left and left[name].weight is not None]:
        if node.op_type == "DequantizeLinear":
            checks.append(_of_target(scope, node, name, name, left.pop(name), None))
    return Piece(piece, False, checks)


def _of_node(scope: _Scope, node: Any, unchecked: dict[str, str]) -> list[Check]:
    """The laws of a QuantizeLinear or a DequantizeLinear."""
    quantizes = node.op_type == "QuantizeLinear"
    attributes = {one.name: one.i for one in node.attribute}
    element = _integers_of(scope, node, attributes)
    if (reason := _why_not(scope, node, attributes, element)) is not None:
        unchecked[node.output[0]] = reason
        return []
    x, scale, zero_point = node.input[0], *_parameters(node)

    def compare(values: Values) -> Compared:
        given, found = scope.value(values, x), scope.value(values, node.output[0])
        grid = _grid(scope, node, attributes, element, given.shape, values)
        if quantizes:
            return found, fq.quantize(given, *grid, dtype=np.int32), _nan(given)
        q = given.astype(np.int32)
        if element == TensorProto.INT32 and np.abs(q.astype(np.int64) - grid[1]).max(initial=0) > _EXACT:
            raise ValueError(
                f"{_called(node)} has levels further than 2**24 from zero_point, which float32 does not hold"
            )
        return found, fq.dequantize(q, *grid[:2], dtype=found.dtype), np.zeros(q.shape, bool)

    law = "fq.quantize" if quantizes else "fq.dequantize"
    checks = [Check(node.output[0], _called(node), law, scope.needs(x, scale, zero_point, node.output[0]), compare)]
    before = None if quantizes else scope.before(node, "QuantizeLinear", "Clip")
    if before is not None and _is_pair(before):
        checks += _of_pair(scope, before, node, unchecked)
    return checks


def _of_pair(scope: _Scope, before: Any, node: Any, unchecked: dict[str, str]) -> list[Check]:
    """The law of a QuantizeLinear and the DequantizeLinear behind it."""
    attributes = {one.name: one.i for one in before.attribute}
    element = _integers_of(scope, before, attributes)
    ends = _ends(scope, before, node)
    if _why_not(scope, before, attributes, element) is not None:
        return []  # the reason is given where the QuantizeLinear is looked at
    if ends is None:
        unchecked[node.output[0]] = f"the ends of the Clip before {_called(node)} are computed"
        return []

    def compare(values: Values) -> Compared:
        x = scope.value(values, before.input[0])
        scale, zero_point, qmin, qmax = _grid(scope, before, attributes, element, x.shape, values)
        qmin, qmax = max(qmin, ends[0]), min(qmax, ends[1])
        found = scope.value(values, node.output[0])
        return found, fq.fake_quantize(x, scale, zero_point, qmin, qmax), _nan(x)

    needs = scope.needs(before.input[0], *_parameters(before), node.output[0])
    law = f"fq.fake_quantize with the parameters of {_called(before)}"
    return [Check(node.output[0], _called(node), law, needs, compare)]


def _of_activations(scope: _Scope, left: dict[str, Target], unchecked: dict[str, str]) -> list[Check]:
    """The laws of the activations that have grids."""
    checks = []
    for name in [name for name, target in left.items() if target.weight is None]:
        chain = _chain(scope, name)
        if chain is not None:
            node, x, y = chain
            checks.append(_of_target(scope, node, x, y, left.pop(name), name))
    return checks


def _chain(scope: _Scope, name: str) -> tuple[Any, str, str] | None:
    """For an activation of this name: its DequantizeLinear, its float values, and its quantized values."""
    for node in scope.nodes:
        before = scope.before(node, "QuantizeLinear", "Clip") if node.op_type == "DequantizeLinear" else None
        if before is None:
            continue
        x, y = before.input[0], node.output[0]
        cast = scope.producer.get(x)
        if cast is not None and cast.op_type == "Cast" and scope.element(cast.input[0]) in _model.FLOATS:
            behind = [one for one in scope.nodes if one.op_type == "Cast" and one.input[0] == y]
            x, y = cast.input[0], behind[0].output[0] if behind else y
        if name == y or (name == x and name in scope.inputs):
            return node, x, y
    return None


def _of_target(scope: _Scope, node: Any, x: str, y: str, target: Target, called: str | None) -> Check:
    """The law of a tensor whose grid is known; called is its name where x is computed in the model."""

    def compare(values: Values) -> Compared:
        given = scope.value(values, x) if target.weight is None else target.weight.array()
        expected = fq.fake_quantize(_grids.spread(given, target.grid), *target.grid).reshape(given.shape)
        return scope.value(values, y), expected, _nan(given)

    law = f"fq.fake_quantize of {called or x!r} with its grid"
    return Check(y, _called(node), law, scope.needs(y) if target.weight is not None else scope.needs(x, y), compare)


def _called(node: Any) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else str(node.op_type)


def _nan(x: Array) -> Array:
    return np.asarray(np.isnan(x))


def _parameters(node: Any) -> tuple[str, str]:
    """The names of scale and zero point, "" if there is none."""
    return node.input[1], node.input[2] if len(node.input) > 2 else ""


def _integers_of(scope: _Scope, node: Any, attributes: Mapping[str, int]) -> int:
    """The element type of the integers of a node."""
    if node.op_type == "DequantizeLinear":
        return scope.element(node.input[0])
    _, zero_point = _parameters(node)
    return scope.element(zero_point) if zero_point else attributes.get("output_dtype", 0) or TensorProto.UINT8


def _why_not(scope: _Scope, node: Any, attributes: Mapping[str, int], element: int) -> str | None:
    """Why a node cannot be compared, or None."""
    if element not in _BY_ELEMENT and not (element == TensorProto.INT32 and node.op_type == "DequantizeLinear"):
        return f"{_called(node)} has integers of type {_model.type_name(element)}"
    if attributes.get("precision", 0) not in (TensorProto.UNDEFINED, TensorProto.FLOAT):
        return f"{_called(node)} divides in {_model.type_name(attributes['precision'])}"
    floats = node.input[0] if node.op_type == "QuantizeLinear" else node.output[0]
    if (given := scope.element(floats)) not in (*_model.FLOATS, TensorProto.UNDEFINED):
        return f"{_called(node)} has values of type {_model.type_name(given)}"
    return None


def _grid(
    scope: _Scope, node: Any, attributes: Mapping[str, int], element: int, shape: tuple[int, ...], values: Values
) -> tuple[Array, Array, int, int]:
    """The parameters of a node as fq takes them, for x of this shape."""
    row = _BY_ELEMENT.get(element)
    qmin, qmax = (row.qmin, row.qmax) if row else (-(2**31), 2**31 - 1)
    name, of_zero = _parameters(node)
    scale = scope.value(values, name).astype(np.float32)
    zero_point = scope.value(values, of_zero).astype(np.int64) if of_zero else np.zeros(scale.shape, np.int64)
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    return _against(scale, shape, axis, block), _against(zero_point, shape, axis, block), qmin, qmax


def _against(parameter: Array, shape: tuple[int, ...], axis: int, block: int) -> Array:
    """A parameter of ONNX, shaped to broadcast against x of this shape."""
    if block and parameter.ndim == len(shape):
        repeated = np.repeat(parameter, block, axis)
        return repeated[(*(slice(None),) * (axis % len(shape)), slice(shape[axis]))]
    if parameter.size == 1:
        return parameter.reshape(())
    axis %= len(shape)
    return parameter.reshape(*parameter.shape, *(1,) * (len(shape) - axis - 1))


def _ends(scope: _Scope, before: Any, node: Any) -> tuple[int, int] | None:
    """The ends of a Clip between the two nodes; all of int64 without one; None if they are computed."""
    clip = scope.producer[node.input[0]]
    info = np.iinfo(np.int64)
    ends = [int(info.min), int(info.max)]
    if clip.op_type == "Clip":
        for k, name in enumerate(clip.input[1:]):
            if name and name not in scope.held:
                return None
            if name:
                ends[k] = int(scope.value({}, name))
    return ends[0], ends[1]
