"""ONNX models: read, walked, and brought to a later opset."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter
from google.protobuf.message import DecodeError, EncodeError
from numpy.typing import NDArray
from onnx import AttributeProto, TensorProto

__all__ = [
    "FLOATS",
    "Constant",
    "Graph",
    "Model",
    "ModelLike",
    "add_constant",
    "constants",
    "fresh",
    "graphs",
    "opset",
    "read",
    "type_name",
    "upgrade",
    "value_names",
    "value_types",
]

Array = NDArray[Any]
Model = Any  # onnx.ModelProto
Graph = Any  # onnx.GraphProto
ModelLike = Model | bytes | str | os.PathLike[str]

# The types that QuantizeLinear can be given, by a Cast or as they are. fq computes all of them in float32.
FLOATS = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
_LARGE = 1024  # bytes; the values of smaller tensors may be shapes, which inference needs


class Constant(NamedTuple):
    """A tensor that the model holds: an initializer, or the value of a Constant node."""

    name: str
    graph: Graph
    tensor: Any
    node: Any  # the Constant node, or None
    where: str  # the subgraph in words, "" for the main graph

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.tensor.dims)

    def array(self) -> Array:
        """Its values."""
        found: Array = onnx.numpy_helper.to_array(self.tensor)
        return found


def read(model: ModelLike) -> Model:
    """A model of the caller's own, with all of its data, and without functions; refused if it is no ONNX model."""
    if isinstance(model, onnx.ModelProto):
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        name, model = "the model", copied
    else:
        name, model = _load(model)
    if not model.opset_import or not model.HasField("graph"):
        raise ValueError(f"{name} is not an ONNX model: it has no graph")
    if not all(node.output for graph, _ in graphs(model) for node in graph.node):
        raise ValueError(f"{name} is broken: a node has no output")
    if not all(isinstance(one, str) for one in value_names(model)):
        raise ValueError(f"{name} is broken: a name is not UTF-8")
    for tensor in _all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise ValueError(
                f"the data of {tensor.name!r} are in a file that was not read: give the model's path, or call "
                "onnx.load_external_data_for_model(model, folder)"
            )
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def _load(model: bytes | str | os.PathLike[str]) -> tuple[str, Model]:
    if not isinstance(model, bytes | str | os.PathLike):
        raise TypeError(f"the model must be a path, bytes or an onnx.ModelProto, got {type(model).__name__}")
    name = "what was given" if isinstance(model, bytes) else os.fspath(model)
    try:
        return name, onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)
    except DecodeError:
        raise ValueError(f"{name} is not an ONNX model: its bytes cannot be decoded") from None
    except onnx.checker.ValidationError as error:  # external data that are missing, or outside of the folder
        raise ValueError(f"{name}: {error}") from None


def graphs(model: Model) -> Iterator[tuple[Graph, str]]:
    """The main graph and all subgraphs, each with what it is called in messages."""
    yield model.graph, ""
    yield from _inside(model.graph)


def _inside(graph: Graph) -> Iterator[tuple[Graph, str]]:
    for node in graph.node:
        for label, inner in _subgraphs(node):
            yield inner, f"{label} of {node.op_type} {node.name or node.output[0]!r}"
            yield from _inside(inner)


def _subgraphs(node: Any) -> Iterator[tuple[str, Graph]]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.name, attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                yield attribute.name, graph


def _all_tensors(model: Model) -> Iterator[Any]:
    for graph, _ in graphs(model):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    yield attribute.t


def constants(model: Model) -> list[Constant]:
    """All tensors that the model holds, in all of its graphs."""
    found = []
    for graph, where in graphs(model):
        found += [Constant(one.name, graph, one, None, where) for one in graph.initializer]
        for node in graph.node:
            if node.op_type == "Constant":
                found += [
                    Constant(node.output[0], graph, one.t, node, where)
                    for one in node.attribute
                    if one.type == AttributeProto.TENSOR
                ]
    return found


def opset(model: Model) -> int:
    """The version of ONNX's own operators that the model is written in."""
    versions = [int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")]
    if not versions:
        raise ValueError("the model imports no version of ONNX's own operators")
    return max(versions)


def upgrade(model: Model, version: int) -> Model:
    """The model in this opset, or a later one if it is there already."""
    before = opset(model)
    if before < version:
        described = {one.name for one in model.graph.value_info}
        try:
            model = onnx.version_converter.convert_version(model, version)
        except (RuntimeError, ValueError, EncodeError) as error:  # ConvertError is a RuntimeError
            told = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise ValueError(
                f"the model is in opset {before}, these grids need {version}, and onnx.version_converter fails: {told}"
            ) from None
        kept = [one for one in model.graph.value_info if one.name in described]  # the converter adds what it inferred
        del model.graph.value_info[:]
        model.graph.value_info.extend(kept)
    own = [one for one in model.opset_import if one.domain in ("", "ai.onnx")]
    model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(own, ignore_unknown=True))
    return model


def value_names(model: Model) -> set[str]:
    """Every name that is taken."""
    names: set[str] = set()
    for graph, _ in graphs(model):
        names.update(one.name for one in (*graph.input, *graph.output, *graph.initializer, *graph.node))
        names.update(one.values.name for one in graph.sparse_initializer)
        for node in graph.node:
            names.update(node.input)
            names.update(node.output)
    return names


def fresh(names: set[str], wanted: str) -> str:
    """This name, or with a number behind it; taken from now on."""
    name, k = wanted, 0
    while name in names:
        k += 1
        name = f"{wanted}_{k}"
    names.add(name)
    return name


def value_types(model: Model) -> dict[str, tuple[int, tuple[int | None, ...] | None]]:
    """The element type and the shape of each value of the main graph, as far as they can be inferred."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in _all_tensors(light):
        if len(tensor.raw_data) > _LARGE:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
    try:
        inferred = onnx.shape_inference.infer_shapes(light).graph
    except onnx.shape_inference.InferenceError as error:
        raise ValueError(f"the model is broken: {str(error).strip()}") from None
    found = {}
    for info in (*inferred.value_info, *inferred.output, *inferred.input):
        kind = info.type.tensor_type
        if info.type.HasField("tensor_type") and kind.elem_type:
            dims = tuple(int(one.dim_value) if one.HasField("dim_value") else None for one in kind.shape.dim)
            found[info.name] = int(kind.elem_type), dims if kind.HasField("shape") else None
    return found


def type_name(element_type: int) -> str:
    """What ONNX calls an element type."""
    return str(TensorProto.DataType.Name(element_type)).lower()


def add_constant(graph: Graph, name: str, array: Array, element_type: int, raw: bytes | None = None) -> str:
    """Give the graph another initializer; raw are the bytes of a type that NumPy does not have."""
    data = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes() if raw is None else raw
    graph.initializer.add(name=name, data_type=element_type, dims=array.shape, raw_data=data)
    return name
