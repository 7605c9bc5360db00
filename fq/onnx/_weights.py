"""Rules for weights, and the grids that they choose."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fq
from fq._named import check_numbers
from fq.onnx import _grids, _model

__all__ = ["Grids", "Rules", "Weights", "choose_of", "choose_qparams"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Weights:
    """How the grids of weights are chosen: a rule for `quantize` and `choose_qparams`.

    Parameters
    ----------
    bits : int
        1 to 16. The integers are stored in the smallest type of ONNX that holds them: 2, 4, 8 or 16 bits.
    axis : "channel", int or None
        What shares a scale. "channel": a scale for each output channel, along the axis that the operator has it on: 0
        for Conv, 1 for ConvTranspose, the columns of a MatMul and, by transA and transB, a Gemm, and the axis of a
        Gather. An int: that axis. None: the whole tensor.
    group : int, optional
        So many elements in a row share a scale. They follow each other along the axis that the operator sums over (Conv
        1, ConvTranspose 0, the other one of a matrix; for a Gather the last), or along axis if that is an int. A
        weight whose axis is no longer than a group, or not a multiple of it, gets a scale for each channel.
    method : {"minmax", "percentile", "mse", "entropy"}
        How `fq.calibrate` finds the range.
    signed, symmetric, narrow_range : bool
        As for `fq.choose_qparams`.
    p : float
        The percentile of "percentile".

    Examples
    --------
    >>> import fq.onnx
    >>> fq.onnx.Weights(bits=4, group=32, method="mse").symmetric
    True
    """

    bits: int = 8
    axis: Literal["channel"] | int | None = "channel"
    group: int | None = None
    method: Literal["minmax", "percentile", "mse", "entropy"] = "minmax"
    signed: bool = True
    symmetric: bool = True
    narrow_range: bool = False
    p: float = 99.99

    def __post_init__(self) -> None:
        fq.choose_qparams(-1.0, 1.0, self.bits, signed=self.signed, narrow_range=self.narrow_range)  # refuses bits
        if isinstance(self.axis, str) and self.axis != "channel":
            raise ValueError(f"axis must be 'channel', an int or None, got {self.axis!r}")
        if self.group is not None and self.group < 2:
            raise ValueError(f"group must be 2 or more, got {self.group}")
        if self.group is not None and self.axis is None:
            raise ValueError("a group lies along an axis: leave axis out, or give an int")


Rules = Mapping[str, Weights | fq.QParams]
Grids = dict[str, fq.QParams]


class _Use(NamedTuple):
    """What an operator does with a weight."""

    reader: str
    channels: int  # the axis of output channels
    summed: int  # the axis that groups lie along


def choose_qparams(model: _model.ModelLike, rules: Rules) -> Grids:
    """Choose the grids of all tensors that rules name: what `quantize` then writes.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        The float model.
    rules : dict of str to Weights or QParams
        A QParams is the grid of the tensor of that name: a weight, or an activation. A `Weights` chooses the grids of
        weights: of the one of that name, or of all whose names match the pattern (``*``, ``?``, ``[...]``) and that are
        the second input of a Conv, ConvTranspose, Gemm or MatMul, the first input of a Gemm, MatMul or Gather. Names
        come before patterns, and the first pattern that matches decides.

    Returns
    -------
    dict of str to QParams
        A grid for each tensor, shaped to broadcast against it. Blocks of n elements along an axis broadcast against the
        tensor with that axis cut in two: (..., length / n, n, ...).

    Raises
    ------
    TypeError
        If a rule is neither a Weights nor a QParams.
    ValueError
        If a rule matches nothing, or a grid does not fit its tensor; if a weight is not of float16, bfloat16 or
        float32, holds NaN, or is read along different axes.

    Examples
    --------
    >>> import numpy as np, onnx, fq.onnx
    >>> w = onnx.numpy_helper.from_array(np.float32([[1, 2], [3, 4], [5, 6]]), "w")
    >>> model = onnx.parser.parse_model('''
    ... <ir_version: 10, opset_import: ["" : 21]> g (float[n, 3] x) => (float[n, 2] y) { y = MatMul(x, w) }''')
    >>> model.graph.initializer.extend([w])
    >>> fq.onnx.choose_qparams(model, {"*": fq.onnx.Weights(bits=4)})["w"].scale.shape
    (1, 2)
    """
    return choose_of(_model.read(model), rules)


def choose_of(model: _model.Model, rules: Rules) -> Grids:
    """choose_qparams, of a model that was read."""
    if not isinstance(rules, Mapping):
        raise TypeError(f"rules must be a dict of names or patterns, got {type(rules).__name__}")
    held: dict[str, list[_model.Constant]] = {}
    for one in _model.constants(model):
        held.setdefault(one.name, []).append(one)
    uses = _uses(model, held)
    values = _model.value_names(model)
    grids: Grids = {}
    for key, rule in rules.items():
        if not isinstance(rule, Weights):
            grids[key] = _given(key, rule, held, values)
        elif key in held:
            grids[key] = _choose(_only(held[key]), rule, uses.get(key, []), named=True)
    for key, rule in rules.items():
        if isinstance(rule, Weights) and key not in held:
            grids.update(_matching(key, rule, held, uses, set(rules), grids))
    return grids


def _given(key: str, rule: Any, held: Mapping[str, list[_model.Constant]], values: set[str]) -> fq.QParams:
    if isinstance(rule, str) or not hasattr(rule, "__len__"):
        raise TypeError(f"{key!r}: a rule is an fq.onnx.Weights or an fq.QParams, got {type(rule).__name__}")
    grid = _grids.check(key, rule)
    if key not in values:
        raise ValueError(f"the model has no tensor {key!r}{_like(key, values)}")
    if key in held:
        one = _only(held[key])
        _checked_array(one)
        _grids.fit(key, grid, one.shape)
    return grid


def _like(key: str, names: set[str]) -> str:
    close = get_close_matches(key, sorted(names), 1)
    return f"; there is {close[0]!r}" if close else ""


def _only(found: list[_model.Constant]) -> _model.Constant:
    if len(found) > 1:
        places = " and ".join(one.where or "the main graph" for one in found)
        raise ValueError(f"several tensors are called {found[0].name!r}, in {places}: give each a name of its own")
    return found[0]


def _matching(
    pattern: str,
    rule: Weights,
    held: Mapping[str, list[_model.Constant]],
    uses: Mapping[str, list[_Use]],
    keys: set[str],
    before: Grids,
) -> Grids:
    """The grids of the weights that match a pattern and that no name and no earlier pattern has taken."""
    matched = [name for name in held if name in uses and fnmatchcase(name, pattern)]
    if not matched:
        raise ValueError(f"the rule {pattern!r} matches no weight{_like(pattern, set(uses))}")
    free = [name for name in matched if name not in keys and name not in before]
    if not free:
        raise ValueError(
            f"the rule {pattern!r} decides nothing: names and earlier rules take all weights that it matches"
        )
    return {name: _choose(_only(held[name]), rule, uses[name], named=False) for name in free}


def _uses(model: _model.Model, held: Mapping[str, list[_model.Constant]]) -> dict[str, list[_Use]]:
    """How operators use each weight: of the operators and places that rules apply to, and of a float type."""
    found: dict[str, list[_Use]] = {}
    for graph, _ in _model.graphs(model):
        for node in graph.node:
            for place, name in enumerate(node.input[:2]):
                if name not in held or node.domain not in ("", "ai.onnx"):
                    continue
                one = held[name][0]
                if one.tensor.data_type in _model.FLOATS and 0 not in one.shape:
                    found.setdefault(name, []).extend(_use(node, place, len(one.shape)))
    return {name: uses for name, uses in found.items() if uses}


def _use(node: Any, place: int, rank: int) -> Iterator[_Use]:
    """The axes of a weight in this place of a node; nothing where rules do not apply."""
    attributes = {one.name: one.i for one in node.attribute}
    reader = f"{node.op_type} {node.name or node.output[0]!r}"
    if node.op_type in ("Conv", "ConvTranspose") and place == 1 and rank > 2:
        channels = 0 if node.op_type == "Conv" else 1
        yield _Use(reader, channels, 1 - channels)
    elif node.op_type == "Gemm" and rank == 2:
        turned = bool(attributes.get("transB" if place else "transA", 0))
        channels = int(turned != bool(place))
        yield _Use(reader, channels, 1 - channels)
    elif node.op_type == "MatMul" and rank >= 2:
        yield _Use(reader, rank - 2 + place, rank - 1 - place)
    elif node.op_type == "Gather" and place == 0 and rank >= 2:
        channels = attributes.get("axis", 0) % rank
        yield _Use(reader, channels, rank - 1 if channels != rank - 1 else rank - 2)


def _choose(one: _model.Constant, rule: Weights, uses: list[_Use], named: bool) -> fq.QParams:
    """The grid of a weight by a rule, given by its name or by a pattern."""
    array = _checked_array(one)
    options: dict[str, Any] = {name: getattr(rule, name) for name in ("signed", "symmetric", "narrow_range", "p")}
    channels, summed = _axes(one, rule, uses)
    if rule.group is not None and summed is not None:
        n = array.shape[summed]
        if n % rule.group == 0 and n > rule.group:
            moved = np.ascontiguousarray(np.moveaxis(array, summed, -1))
            grid = fq.calibrate(moved, rule.bits, group=rule.group, method=rule.method, **options)
            turned: list[Array] = [np.moveaxis(one, (-2, -1), (summed, summed + 1)) for one in grid[:2]]
            return grid._replace(scale=turned[0], zero_point=turned[1])
        if named and isinstance(rule.axis, int):
            raise ValueError(
                f"{one.name!r} has shape {one.shape}: groups of {rule.group} do not cut axis {summed} evenly"
            )
    return fq.calibrate(array, rule.bits, axis=channels, method=rule.method, **options)


def _axes(one: _model.Constant, rule: Weights, uses: list[_Use]) -> tuple[int | None, int | None]:
    """The axis for a scale per channel, and the axis for groups."""
    if rule.axis is None:
        return None, None
    if isinstance(rule.axis, int):
        if not -len(one.shape) <= rule.axis < len(one.shape):
            raise ValueError(f"{one.name!r} has shape {one.shape}, and no axis {rule.axis}")
        axis = rule.axis % len(one.shape)
        return axis, axis
    if not uses:
        raise ValueError(
            f"{one.name!r} is read by no Conv, ConvTranspose, Gemm, MatMul or Gather: give Weights(axis=...)"
        )
    axes: dict[tuple[int, int], str] = {}
    for use in uses:
        axes.setdefault((use.channels, use.summed), use.reader)
    if len(axes) > 1:
        told = " and ".join(f"{reader} (channels on axis {channels})" for (channels, _), reader in axes.items())
        raise ValueError(f"{one.name!r} is read along different axes, by {told}: give it a rule of its own with axis=")
    return next(iter(axes))


def _checked_array(one: _model.Constant) -> Array:
    """The values of a weight, refused where integers cannot stand for them."""
    if one.tensor.data_type not in _model.FLOATS:
        raise ValueError(
            f"{one.name!r} is of type {_model.type_name(one.tensor.data_type)}; float16, bfloat16 and float32 can be "
            "quantized"
        )
    array = one.array()
    check_numbers(one.name, array)
    return array
