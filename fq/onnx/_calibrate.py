"""Streams the activations of a model into observers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fq import Observer
from fq.onnx import _model, _runtime

__all__ = ["calibrate"]

_READERS = {"Conv": 1, "ConvTranspose": 1, "Gemm": 2, "MatMul": 2}  # how many of its inputs are multiplied or convolved


def calibrate(
    model: _model.ModelLike,
    feeds: _runtime.Feeds,
    names: Iterable[str] | None = None,
    *,
    axis: int | Mapping[str, int | None] | None = None,
    distribution: bool = True,
) -> dict[str, Observer]:
    """Run a model in ONNX Runtime, and observe its activations.

    Memory holds an observer each and the values of one batch, however many batches there are.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        The float model, which is not changed.
    feeds : iterable of dict, or dict
        A batch each, from the names of all inputs to arrays. An iterable is read once, one batch at a time.
    names : iterable of str, optional
        The activations of the main graph to observe. By default what Conv, ConvTranspose, Gemm and MatMul read that is
        no weight.
    axis : int, None, or dict of str to int or None
        The axis of each observer, or of those that are named: see `fq.Observer`.
    distribution : bool
        Whether observers keep the distribution, which all methods but "minmax" need.

    Returns
    -------
    dict of str to fq.Observer
        ``{name: one.qparams(8, signed=False) for name, one in observers.items()}`` are rules for `quantize`.

    Raises
    ------
    ImportError
        If ONNX Runtime is missing.
    TypeError
        If a feed is not a dict, or an activation is not of a float type.
    ValueError
        If a name is unknown, there are no feeds, or ONNX Runtime does not run the model on one.

    Examples
    --------
    >>> import numpy as np, onnx, fq.onnx
    >>> model = onnx.parser.parse_model('''
    ... <ir_version: 10, opset_import: ["" : 21]>
    ... g (float[n, 2] x) => (float[n, 1] y) <float[2, 1] w = {1, 2}> { r = Relu(x)  y = MatMul(r, w) }''')
    >>> observers = fq.onnx.calibrate(model, [{"x": np.float32([[-1, 3]])}, {"x": np.float32([[5, 2]])}])
    >>> {name: one.qparams(4, signed=False).scale for name, one in observers.items()}
    {'r': np.float32(0.33333334)}
    """
    model = _model.read(model)
    names = _activations(model) if names is None else list(names)
    _check(model, names)
    axes = axis if isinstance(axis, Mapping) else dict.fromkeys(names, axis)
    if unknown := sorted(set(axes) - set(names)):
        raise ValueError(f"axis names {unknown[0]!r}, which is not observed")
    observers = {name: Observer(axis=axes.get(name), distribution=distribution) for name in names}
    runner = _runtime.Runner(model, names)
    batches = 0
    for batches, feed in enumerate(_runtime.each_feed(feeds), 1):
        values = runner(feed, f"feed {batches - 1}")
        for name in names:
            observers[name].update(_float(name, values.pop(name)))
    if not batches:
        raise ValueError("there are no feeds: nothing was observed")
    return observers


def _activations(model: _model.Model) -> list[str]:
    """What the operators of rules read that the model does not hold and that is of a float type."""
    held = {one.name for one in _model.constants(model)}
    types = _model.value_types(model)
    found: dict[str, None] = {}
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx"):
            for name in node.input[: _READERS.get(node.op_type, 0)]:
                if name not in held and types.get(name, (0, None))[0] in _model.FLOATS:
                    found[name] = None
    return list(found)


def _check(model: _model.Model, names: list[str]) -> None:
    if not names:
        raise ValueError("the model has no activation that a Conv, ConvTranspose, Gemm or MatMul reads: give names")
    there = {one.name for one in model.graph.input} | {name for node in model.graph.node for name in node.output}
    for name in names:
        if name not in there:
            raise ValueError(f"the main graph of the model has no activation {name!r}")


def _float(name: str, value: Any) -> np.ndarray[Any, Any]:
    found = np.asarray(value)
    if not np.issubdtype(found.dtype, np.floating):
        raise TypeError(f"{name!r} is of type {found.dtype}; activations of a float type can be observed")
    return found
