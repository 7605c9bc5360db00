"""Compares every output of QuantizeLinear and DequantizeLinear in ONNX Runtime with what fq computes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fq.onnx import _checks, _model, _runtime, _weights

__all__ = ["Difference", "Report", "verify"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Difference:
    """Where a tensor differs, and by how much.

    Attributes
    ----------
    tensor : str
        The output that differs.
    node : str
        The node that gives it.
    law : str
        What it should have equalled.
    count, of : int
        How many values differ, of how many in all feeds.
    index : tuple of int
        Where the largest difference is.
    feed : int or None
        In which feed that is, counted from 0; None for a weight.
    found, expected : float
        The two values there. Those of a QuantizeLinear are levels.
    largest : float
        Their distance.
    """

    tensor: str
    node: str
    law: str
    count: int
    of: int
    index: tuple[int, ...]
    feed: int | None
    found: float
    expected: float
    largest: float

    def __str__(self) -> str:
        feed = "" if self.feed is None else f" of feed {self.feed}"
        return (
            f"{self.tensor!r} ({self.node}): {self.count} of {self.of} values differ from {self.law}, most at "
            f"{self.index}{feed}: {self.found:.9g}, expected {self.expected:.9g}"
        )


@dataclass
class Report:
    """What `verify` found.

    Attributes
    ----------
    differences : list of Difference
        Empty where all is equal.
    tensors, values : int
        How many outputs were compared, and how many values of them, in all feeds.
    nans : int
        Values that were passed over since x is NaN there: ONNX has no integer for NaN.
    unchecked : dict of str to str
        Outputs that could not be compared, each with the reason.
    """

    differences: list[Difference] = field(default_factory=list)
    tensors: int = 0
    values: int = 0
    nans: int = 0
    unchecked: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything was compared, and nothing differs."""
        return not self.differences and not self.unchecked and self.tensors > 0

    def raise_if_failed(self) -> None:
        """Raise an AssertionError with the report, unless it is ok."""
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        differ = len({one.tensor for one in self.differences})
        where = f"{differ} of {self.tensors} outputs differ" if differ else "nowhere"
        if not differ:
            where += f": {self.values:,} values of {self.tensors} outputs are those of fq, bit for bit"
        lines = [where, *(f"  {one}" for one in self.differences)]
        if self.nans:
            lines.append(f"  passed over: {self.nans:,} values, x being NaN")
        lines += [f"  not compared: {name!r}: {reason}" for name, reason in self.unchecked.items()]
        return "\n".join(lines)


def verify(
    model: _model.ModelLike,
    feeds: _runtime.Feeds = (),
    original: _model.ModelLike | None = None,
    rules: _weights.Rules | None = None,
) -> Report:
    """Run a quantized model in ONNX Runtime and compare its QuantizeLinear and DequantizeLinear with fq, bit for bit.

    For each feed it takes what these nodes were given and what they gave, and compares: a QuantizeLinear with
    `fq.quantize`, a DequantizeLinear with `fq.dequantize`, and the two in a row with `fq.fake_quantize`. Any model
    will do, from whichever tool. With the float model and the rules that it was quantized by, each tensor that they
    name is also compared with `fq.fake_quantize` of the original: a changed scale, or a wrong axis, shows there.

    Parameters
    ----------
    model : path, bytes or onnx.ModelProto
        The quantized model, which is not changed.
    feeds : iterable of dict, or dict
        As for `calibrate`. Without feeds, only weights are compared.
    original : path, bytes or onnx.ModelProto, optional
        The float model.
    rules : dict of str to Weights or QParams, optional
        What `quantize` was given with the float model.

    Returns
    -------
    Report
        ``print(report)`` says "nowhere", or where and by how much.

    Raises
    ------
    ImportError
        If ONNX Runtime is missing.
    TypeError
        If only one of original and rules is given, or a feed is not a dict.
    ValueError
        If the model has no QuantizeLinear and no DequantizeLinear, or ONNX Runtime does not run it.

    Notes
    -----
    ONNX Runtime runs without optimization here, node by node. With its optimizations, which are on by default, it may
    replace the two nodes and the operator between them by one on integers, which rounds as that does; the session
    option ``session.disable_quant_qdq`` set to "1" keeps the nodes.

    Examples
    --------
    >>> import numpy as np, onnx, fq.onnx
    >>> model = onnx.parser.parse_model('''
    ... <ir_version: 10, opset_import: ["" : 21]>
    ... g (float[n, 3] x) => (float[n, 2] y)
    ... <float[3, 2] w = {1, 2, 3, 4, 5, 6}> { y = MatMul(x, w) }''')
    >>> rules = {"w": fq.onnx.Weights(bits=4), "x": fq.choose_qparams(-4, 4)}
    >>> feed = {"x": np.float32([[-1.5, 0.1, 3.3]])}
    >>> print(fq.onnx.verify(fq.onnx.quantize(model, rules), feed, model, rules))
    nowhere: 12 values of 3 outputs are those of fq, bit for bit
    """
    if (original is None) != (rules is None):
        raise TypeError("original and rules belong together: give both or neither")
    model = _model.read(model)
    targets = {} if original is None or rules is None else _targets(_model.read(original), rules)
    report = Report()
    pieces = _checks.pieces(model, targets, report.unchecked)
    if not pieces and not report.unchecked:
        raise ValueError("the model has no QuantizeLinear and no DequantizeLinear")
    tally = _Tally(report)
    for piece in pieces:
        if piece.fed:
            _run_fed(piece, feeds, tally)
        else:
            _run_once(piece, None, _runtime.Runner(piece.model, piece.needs)({}, "a weight"), tally)
    tally.finish()
    return report


def _targets(original: _model.Model, rules: _weights.Rules) -> dict[str, _checks.Target]:
    """The grid of each tensor that rules name, and its float values if it is a weight."""
    held = {one.name: one for one in _model.constants(original)}
    grids = _weights.choose_of(original, rules)
    return {name: _checks.Target(grid, held.get(name)) for name, grid in grids.items()}


def _run_fed(piece: _checks.Piece, feeds: _runtime.Feeds, tally: "_Tally") -> None:
    runner = None
    for k, feed in enumerate(_runtime.each_feed(feeds)):
        runner = runner or _runtime.Runner(piece.model, piece.needs)
        _run_once(piece, k, runner(feed, f"feed {k}"), tally)
    if runner is None:
        for check in piece.checks:
            tally.report.unchecked.setdefault(check.tensor, "it depends on the inputs, and there are no feeds")


def _run_once(piece: _checks.Piece, feed: int | None, values: Mapping[str, Array], tally: "_Tally") -> None:
    for check in piece.checks:
        try:
            tally.add(check, feed, *check.compare(values))
        except (TypeError, ValueError) as error:  # fq refuses the parameters of this node, or shapes differ
            tally.report.unchecked[check.tensor] = str(error)


class _Tally:
    """Adds up what the checks find in each feed."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._worst: dict[tuple[str, str], Difference] = {}
        self._counts: dict[tuple[str, str], list[int]] = {}

    def add(self, check: "_checks.Check", feed: int | None, found: Array, expected: Array, passed_over: Array) -> None:
        """The two arrays of a check; nothing is compared where passed_over is True."""
        key = check.tensor, check.law
        differ = _differ(found, expected) & ~passed_over
        counts = self._counts.setdefault(key, [0, 0, 0])
        counts[0] += int(differ.sum())
        counts[1] += found.size
        counts[2] += int(passed_over.sum())
        if not differ.any():
            return
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        distance = np.where(differ, np.nan_to_num(distance, nan=np.inf), -1.0)
        index = tuple(int(i) for i in np.unravel_index(int(distance.argmax()), distance.shape))
        largest = float(distance[index])
        if key not in self._worst or largest > self._worst[key].largest:
            values = float(found[index]), float(expected[index])
            self._worst[key] = Difference(check.tensor, check.node, check.law, 0, 0, index, feed, *values, largest)

    def finish(self) -> None:
        """Write the sums into the report: of an output that is compared twice, the values count once."""
        report = self.report
        seen: dict[str, list[int]] = {}
        for (tensor, _), counts in self._counts.items():
            seen.setdefault(tensor, counts)
        report.tensors = len(seen)
        report.values = sum(counts[1] - counts[2] for counts in seen.values())
        report.nans = sum(counts[2] for counts in seen.values())
        for key, worst in self._worst.items():
            report.differences.append(replace(worst, count=self._counts[key][0], of=self._counts[key][1]))


def _differ(found: Array, expected: Array) -> Array:
    """Where two arrays differ in any bit, every NaN being the same."""
    if found.shape != expected.shape:
        raise ValueError(f"it has shape {found.shape}, expected {expected.shape}")
    if found.dtype.kind in "iu":
        return np.asarray(found.astype(np.int64) != expected.astype(np.int64))
    equal = (found == expected) & (np.signbit(found) == np.signbit(expected))
    return np.asarray(~(equal | (np.isnan(found) & np.isnan(expected))))
