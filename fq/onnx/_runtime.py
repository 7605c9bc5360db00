"""Runs models in ONNX Runtime, and gives the values inside them."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto

from fq.onnx import _model

__all__ = ["Feed", "Feeds", "Runner", "each_feed"]

Array = NDArray[Any]
Feed = Mapping[str, ArrayLike]
Feeds = Feed | Iterable[Feed]

# ONNX Runtime gives NumPy none of these types, so they are cast, without loss, before they come out.
_NARROW: dict[int, int] = {
    TensorProto.INT4: TensorProto.INT32,
    TensorProto.UINT4: TensorProto.INT32,
    TensorProto.INT2: TensorProto.INT32,
    TensorProto.UINT2: TensorProto.INT32,
    TensorProto.BFLOAT16: TensorProto.FLOAT,
}
_LARGEST = 2**31 - 2**20  # bytes of a model in memory; protobuf ends at 2 GiB


def each_feed(feeds: Feeds) -> Iterator[Feed]:
    """One batch after the other; a dict alone is one batch."""
    for feed in [feeds] if isinstance(feeds, Mapping) else feeds:
        if not isinstance(feed, Mapping):
            raise TypeError(f"a feed must be a dict from the model's inputs to arrays, got {type(feed).__name__}")
        yield feed


class Runner:
    """A model in ONNX Runtime, without optimization, that gives the values of these names for each feed."""

    def __init__(self, model: _model.Model, names: Iterable[str]) -> None:
        self._names = sorted(set(names))
        inputs = {one.name for one in model.graph.input}
        inside = [name for name in self._names if name not in inputs]
        self._outputs = _expose(model, inside)
        self._session = _session(model)
        self._inputs = {one.name: one for one in self._session.get_inputs()}

    def __call__(self, feed: Feed, place: str) -> dict[str, Array]:
        """The values for this feed, called place in messages."""
        arrays = {name: np.asarray(one) for name, one in feed.items()}
        if unknown := sorted(set(arrays) - set(self._inputs)):
            raise ValueError(f"{place}: the model has no input {unknown[0]!r}; it has {sorted(self._inputs)}")
        if missing := sorted(set(self._inputs) - set(arrays)):
            raise ValueError(f"{place}: the input {missing[0]!r} is missing")
        try:
            found = self._session.run(list(self._outputs.values()), arrays) if self._outputs else []
        except Exception as error:  # ONNX Runtime's own kinds have no common base
            raise ValueError(f"{place}: ONNX Runtime: {_first_line(error)}") from None
        return arrays | dict(zip(self._outputs, found, strict=True))


def _expose(model: _model.Model, names: Iterable[str]) -> dict[str, str]:
    """Make outputs of these values; returns what each is called as an output."""
    graph = model.graph
    types = {name: element for name, (element, _) in _model.value_types(model).items()}
    types |= {one.name: one.tensor.data_type for one in _model.constants(model)}
    taken, there = _model.value_names(model), {one.name for one in graph.output}
    called = {}
    for name in names:
        called[name] = name
        if types.get(name) in _NARROW:
            called[name] = _model.fresh(taken, f"{name}_cast")
            to = _NARROW[types[name]]
            graph.node.append(onnx.helper.make_node("Cast", [name], [called[name]], to=to))
        if called[name] not in there:
            graph.output.add(name=called[name])
    return called


def _session(model: _model.Model) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise ImportError("this runs the model in ONNX Runtime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    made = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
    try:
        if sum(len(one.tensor.raw_data) for one in _model.constants(model)) < _LARGEST:
            return onnxruntime.InferenceSession(model.SerializeToString(), **made)
        copied = onnx.ModelProto()  # onnx.save takes the data out of what it saves
        copied.CopyFrom(model)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = os.path.join(folder, "model.onnx")
            onnx.save(copied, path, save_as_external_data=True, location="data")
            return onnxruntime.InferenceSession(path, **made)
    except Exception as error:  # ONNX Runtime's own kinds have no common base
        raise ValueError(f"ONNX Runtime does not take the model: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
