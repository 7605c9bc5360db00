"""A report as one HTML page that needs no other file: a table, and pictures drawn in the page from its own data."""

import json
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from fq._input import one_line
from fq.report.report import Report, outlier_channels, worst_channels
from fq.report.statistics import BITS, CLIPS, Measured
from fq.report.table import short, shown

__all__ = ["as_html"]

_LONGEST = 200  # letters of a name
_STRIP = 192  # channels drawn one by one, or several as one
_POINTS = 200  # of the size-quality curve
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def as_html(report: Report) -> str:
    """The page, to read in a light or a dark room, and on a phone."""
    head = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><meta charset="utf-8">'
    head += '<meta name="viewport" content="width=device-width, initial-scale=1">'
    name = escape(shown(report.file, _LONGEST))
    parts = [f'<!doctype html>\n<html lang="en"><head>{head}<title>{name}: fq report</title>']
    parts.append(f"<style>{_text('page.css')}</style></head><body><h1>{name}</h1>{_summary(report)}")
    parts.append('<section><h2>Elements by tensor, and their SQNR at 4 bits</h2><div id="share"></div></section>')
    parts.append('<section><h2>Size and quality</h2><div id="curve"></div></section>')
    parts += [_formats(report), _controls(report), _table(report)]
    parts.append(f'<script type="application/json" id="data">{_data(report)}</script>')
    parts.append(f"<script>{_text('page.js')}</script></body></html>\n")
    return "\n".join(parts)


def _text(name: str) -> str:
    return files("fq.report").joinpath(name).read_text("utf-8")


def _summary(report: Report) -> str:
    weights = [one.tensor.size for one in report.tensors if one.tensor.kind == "weight"]
    told = f"{report.format}, {len(weights)} tensors, {sum(weights):,} elements. SQNR in dB, of real fake quantization."
    if report.budget is not None:
        used, sqnr = report.budget.used, short(report.budget.sqnr, ".1f")
        told += f" Within {report.budget.bits:g} bits per weight: {sqnr} dB with {used:.2f} bits mixed."
    return f'<p class="soft">{escape(told)}</p>'


def _formats(report: Report) -> str:
    """A table of the mean SQNR of float formats."""
    if not report.curve:
        return ""
    means = report.mean_formats()
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in means)
    cells = "".join(_number(dB, "dB", ".1f") for dB in means.values())
    told = "Float formats: fp8 with a scale per channel, and blocks that share a scale"
    return f'<section><h2>{told}</h2><div class="wide"><table><tr>{head}</tr><tr>{cells}</tr></table></div></section>'


def _controls(report: Report) -> str:
    kinds = dict.fromkeys(one.tensor.kind for one in report.tensors)
    fields = [
        ("Name contains", '<input id="name" type="search">'),
        ("Kind", _select("kind", {"": "all", **{kind: kind for kind in kinds}}, "")),
        (
            "Granularity",
            _select(
                "granularity",
                {"tensor": "tensor", "channel": "channel", "group": f"group of {report.group}"},
                "channel",
            ),
        ),
        ("Clip", _select("clip", {clip: clip for clip in CLIPS}, "mse")),
        ("At 4 bits under, dB", '<input id="least" type="number" step="any" size="5">'),
    ]
    labels = "".join(f"<label>{told}{control}</label>" for told, control in fields)
    return f'<form id="controls" hidden>{labels}</form>'


def _select(name: str, options: dict[str, str], chosen: str) -> str:
    marked = (f'<option value="{key}"{" selected" * (key == chosen)}>{told}</option>' for key, told in options.items())
    return f'<select id="{name}">{"".join(marked)}</select>'


def _table(report: Report) -> str:
    budget = report.budget is not None
    heads = [("tensor", ""), ("shape", "l m"), ("type", "l m"), ("min", "m"), ("max", "m"), ("outliers", "m")]
    heads += [("zeros", "m"), ("NaN", "m"), *((f"{bits} bits", "") for bits in BITS), *[("budget", "")] * budget]
    head = "".join(f'<th scope="col" class="{cls}"><button type="button">{told}</button></th>' for told, cls in heads)
    rows = "\n".join(_table_row(i, one, budget) for i, one in enumerate(report.tensors))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody id="rows">\n{rows}\n</tbody></table></div>'


def _table_row(i: int, one: Measured, budget: bool) -> str:
    tensor = one.tensor
    name = escape(shown(tensor.name, _LONGEST)) or "-"
    cells = [f'<th scope="row"><button type="button" aria-expanded="false">{name}</button></th>']
    cells += [f'<td class="l m" data-v="{tensor.size}">{"x".join(map(str, tensor.shape)) or "scalar"}</td>']
    cells += [f'<td class="l m">{escape(one_line(tensor.dtype))}</td>']
    nan = None if one.nan is None else one.nan + (one.inf or 0)
    cells += [_number(value, "m") for value in (one.low, one.high)]
    cells += [_number(value, "m", "d") for value in (one.outliers, one.zeros, nan)]
    sqnr = one.sqnr.get("channel") or one.sqnr.get("tensor") or {}
    cells += [_number(dB, "dB", ".1f") for dB in sqnr.get("mse", [None] * len(BITS))]
    cells += [_number(one.bits, "", "d")] * budget
    return f'<tr data-i="{i}">{"".join(cells)}</tr>'


def _number(value: float | None, cls: str, form: str = ".4g") -> str:
    key = "" if value is None else f"{value:.6g}"
    return f'<td class="{cls}" data-v="{key}">{short(value, form)}</td>'


def _data(report: Report) -> str:
    """What the script draws from, as JSON that cannot end the element it stands in."""
    step = max(1, len(report.curve) // _POINTS)
    curve = report.curve[::step] + report.curve[-1:] * (step > 1)
    data = {
        "bits": BITS,
        "group": report.group,
        "tensors": [_drawn(one) for one in report.tensors],
        "curve": _rounded(curve, 4),
        "uniform": _rounded(report.uniform, 4),
        "budget": report.budget and vars(report.budget),
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _drawn(one: Measured) -> dict[str, Any]:
    tensor = one.tensor
    drawn: dict[str, Any] = {"name": shown(tensor.name, _LONGEST), "kind": tensor.kind, "size": tensor.size}
    drawn |= {"told": _told(one), "sqnr": {}}
    if one.low is None:
        return drawn
    drawn["sqnr"] = {gran: [_rounded(clips[clip], 4) for clip in CLIPS] for gran, clips in one.sqnr.items()}
    drawn["predicted"] = [_rounded(one.predicted[clip], 4) for clip in CLIPS]
    drawn["clipped"] = [_rounded(one.clipped["tensor"][clip], 3) for clip in CLIPS]
    drawn["grids"] = [_rounded(one.grids[clip], 5) for clip in CLIPS]
    drawn["histogram"] = {"low": one.low, "high": one.high, "counts": one.columns}
    if one.channels is not None:
        worst = [[w["channel"], _rounded(w["sqnr"], 4)] for w in worst_channels(one.channels)]
        drawn["channels"] = {
            **_strip(one.channels.absmax),
            "far": outlier_channels(one.channels)[:_STRIP],
            "worst": worst,
        }
    return drawn


def _told(one: Measured) -> str:
    shape = "x".join(map(str, one.tensor.shape)) or "scalar"
    if one.low is None:
        return f"{shape} {one_line(one.tensor.dtype)}: not quantized"
    found = {"min": one.low, "max": one.high, "std": one.std, "max/std": one.peak, "kurtosis": one.kurtosis}
    counts = {"beyond 6 std": one.outliers, "zeros": one.zeros, "NaN": one.nan, "inf": one.inf}
    numbers = [f"{name} {short(value)}" for name, value in found.items()]
    return ", ".join(
        [f"{shape} {one_line(one.tensor.dtype)}", *numbers, *(f"{name} {n}" for name, n in counts.items())]
    )


def _strip(absmax: Any) -> dict[str, Any]:
    """The largest magnitudes, of several channels together where they are many."""
    step = -(-len(absmax) // _STRIP)
    padded = np.pad(absmax, (0, -len(absmax) % step)).reshape(-1, step).max(1)
    return {"absmax": _rounded(padded.tolist(), 3), "step": step, "count": len(absmax)}


def _rounded(value: Any, digits: int) -> Any:
    """Floats to so many digits, however deep in lists."""
    if isinstance(value, (list, tuple)):
        return [_rounded(one, digits) for one in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
