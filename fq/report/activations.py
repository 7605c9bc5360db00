"""The activations of an ONNX model, as tensors: what its nodes compute when ONNX Runtime runs it on arrays of yours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fq._input import InputError, need, one_line
from fq.report.tensors import Array, Tensor, is_float

__all__ = ["activations", "read_feeds"]

_AT_ONCE = 32  # outputs kept in memory together


def activations(path: Path, feeds: dict[str, Array]) -> Iterator[tuple[Tensor, Array]]:
    """Each input and each node's output that holds floats, with its array.

    Raises
    ------
    InputError
        If the arrays do not suit the model, or it cannot be run.
    """
    onnx, runtime = _packages()
    try:
        runtime.set_default_logger_severity(4)
        model = onnx.load(str(path))
        yield from _floats(feeds)
        fixed = {one.name for one in model.graph.initializer}
        names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output if name]
        names = [name for name in dict.fromkeys(names) if name not in fixed]
        for start in range(0, len(names), _AT_ONCE):
            yield from _floats(_run(onnx, runtime, model, names[start : start + _AT_ONCE], feeds))
    except Exception as error:  # of ONNX Runtime, of many types
        raise InputError(f"argument --activations: {one_line(path)} cannot be run: {one_line(error)[:300]}") from None


def _packages() -> tuple[Any, Any]:
    return need("onnx", "onnx", "report"), need("onnxruntime", "ONNX Runtime", "report")


def read_feeds(path: str) -> dict[str, Array]:
    """The arrays of an .npz file, by name.

    Raises
    ------
    InputError
        If it is none, or a package that runs models is missing: before anything is measured.
    """
    _packages()
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # of many types, where it is another file
        raise InputError(f"argument --activations: {one_line(path)} is no .npz of arrays: {one_line(error)}") from None


def _run(onnx: Any, runtime: Any, model: Any, names: list[str], feeds: dict[str, Array]) -> dict[str, Any]:
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL  # what is computed as it stands
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feeds), strict=True))


def _floats(arrays: dict[str, Any]) -> Iterator[tuple[Tensor, Array]]:
    for name, array in arrays.items():
        if isinstance(array, np.ndarray) and is_float(array.dtype):
            yield Tensor(name, array.shape, array.dtype.name, None, kind="activation"), array
