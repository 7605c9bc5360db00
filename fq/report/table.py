"""A report as a table to read, and as CSV."""

import csv
import io
from collections.abc import Sequence

from fq._input import one_line
from fq.report.formats import FORMATS
from fq.report.report import Report, outlier_channels, worst_channels
from fq.report.statistics import BITS, CLIPS, GRANULARITIES, Measured

__all__ = ["as_csv", "as_text", "short", "shown"]

_LONGEST = 48  # letters of a name
_WORST = 5
_FOUR = BITS.index(4)


def shown(name: str, longest: int = _LONGEST) -> str:
    """A name in characters that print, with its middle left out where it is long."""
    name = one_line(name)
    return name if len(name) <= longest else f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"


def short(value: float | None, form: str = ".4g") -> str:
    """A number, or a dash."""
    return "-" if value is None else format(value, form)


def as_text(report: Report) -> str:
    """Tables of the weights and the activations, means, and the tensors that suffer most."""
    weights = [one for one in report.tensors if one.tensor.kind == "weight"]
    others = [one for one in report.tensors if one.tensor.kind != "weight"]
    size = sum(one.tensor.size for one in weights)
    lines = [f"{shown(report.file)}: {report.format}, {len(weights)} tensors, {size:,} elements", ""]
    lines += ["SQNR in dB by bits, with the mse clip; a scale per channel, * a scale for the whole tensor"]
    lines += _table(weights, report.budget is not None)
    if others:
        lines += ["", "Activations, a scale for the whole tensor", *_table(others, False)]
    return "\n".join([*lines, *_means(report), *_formats(report), *_budget(report), *_suffering(weights)])


def _table(rows: Sequence[Measured], budget: bool) -> list[str]:
    head = ["tensor", "shape", "type", "min", "max", "outliers", "zeros", "NaN", *map(str, BITS), *["bits"] * budget]
    cells = [head]
    for one in rows:
        granularity = "channel" if "channel" in one.sqnr else "tensor"
        sqnr = one.sqnr.get(granularity, {}).get("mse", [None] * len(BITS))
        mark = "*" if granularity == "tensor" and one.sqnr and one.tensor.kind == "weight" else ""
        nan = None if one.nan is None else one.nan + (one.inf or 0)
        cell = [shown(one.tensor.name), "x".join(map(str, one.tensor.shape)) or "scalar", one.tensor.dtype + mark]
        cell += [short(one.low), short(one.high), *(short(n, "d") for n in (one.outliers, one.zeros, nan))]
        cell += [short(dB, ".1f") for dB in sqnr]
        cells.append(cell + [short(one.bits, "d")] * budget)
    return _aligned(cells, 3)


def _aligned(cells: Sequence[Sequence[str]], left: int) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(n) if i < left else cell.rjust(n) for i, (cell, n) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]


def _means(report: Report) -> list[str]:
    if not report.curve:
        return []
    means, cells = report.means(), [["granularity", "clip", *map(str, BITS)]]
    for gran in GRANULARITIES:
        name = f"group of {report.group}" if gran == "group" else gran
        cells += [[name, clip, *(short(dB, ".1f") for dB in means[gran][clip])] for clip in CLIPS]
    return ["", "SQNR of the mean noise over the tensors with channels", *_aligned(cells, 2)]


def _formats(report: Report) -> list[str]:
    if not report.curve:
        return []
    cells = [list(FORMATS), [short(dB, ".1f") for dB in report.mean_formats().values()]]
    return [
        "",
        "The same of float formats: fp8 with a scale per channel, and blocks that share a scale",
        *_aligned(cells, 0),
    ]


def _budget(report: Report) -> list[str]:
    if report.budget is None:
        return []
    one, equal = report.budget, max(pair for pair in report.uniform if pair[0] <= report.budget.bits)
    told = f"Within {one.bits:g} bits per weight: {short(one.sqnr, '.1f')} dB with {one.used:.2f} bits mixed"
    return ["", f"{told}, {short(equal[1], '.1f')} dB with {equal[0]:g} bits each"]


def _suffering(rows: Sequence[Measured]) -> list[str]:
    """The tensors that lose most at 4 bits, how the granularities help, and which channels lose most."""
    known = [(one.sqnr["channel"]["mse"][_FOUR], i, one) for i, one in enumerate(rows) if "channel" in one.sqnr]
    found = sorted((dB, i, one) for dB, i, one in known if dB is not None)[:_WORST]
    if not found:
        return []
    head = ["tensor", *(f"{gran} {clip}" for gran in GRANULARITIES for clip in CLIPS), "clipped", "worst channels"]
    cells = [head]
    for _, _, one in found:
        sqnr = [short(one.sqnr[gran][clip][_FOUR], ".1f") for gran in GRANULARITIES for clip in CLIPS]
        far = set(outlier_channels(one.channels))
        worst = " ".join(f"{w['channel']}{'!' * (w['channel'] in far)}" for w in worst_channels(one.channels))
        clipped = f"{one.clipped['channel']['mse'][_FOUR]:.2%}"
        cells.append([shown(one.tensor.name), *sqnr, clipped, worst])
    told = "What suffers most at 4 bits, in dB; ! marks a channel more than 4 times as wide as the median"
    return ["", told, *_aligned(cells, 1)]


def as_csv(report: Report) -> str:
    """A row for each tensor, a column for each number."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    single = ["min", "max", "std", "peak", "kurtosis", "outliers", "zeros", "nan", "inf", "bits"]
    many = [(gran, clip, i) for gran in GRANULARITIES for clip in CLIPS for i in range(len(BITS))]
    ends = [f"{gran}_{clip}_{BITS[i]}" for gran, clip, i in many]
    predicted = [f"predicted_{clip}_{bits}" for clip in CLIPS for bits in BITS]
    columns = [f"{what}_{end}" for what in ("sqnr", "clipped") for end in ends]
    floats = [f"sqnr_{name}" for name in FORMATS]
    writer.writerow(["name", "kind", "shape", "dtype", "size", *single, *columns, *predicted, *floats])
    for one in report.tensors:
        tensor = one.tensor
        cells: list[object] = [_harmless(tensor.name), tensor.kind, "x".join(map(str, tensor.shape)), tensor.dtype]
        cells += [tensor.size, one.low, one.high, *(getattr(one, name) for name in single[2:])]
        for table in (one.sqnr, one.clipped):
            cells += [table[gran][clip][i] if gran in table else None for gran, clip, i in many]
        cells += [one.predicted[clip][i] if one.predicted else None for clip in CLIPS for i in range(len(BITS))]
        cells += [one.formats.get(name) for name in FORMATS]
        writer.writerow(cells)
    return written.getvalue().rstrip("\n")


def _harmless(name: str) -> str:
    """A name in characters that print, which no spreadsheet takes for a formula."""
    name = one_line(name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name
