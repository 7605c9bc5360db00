"""Reports of many candidates as text, as Markdown and as one HTML page that needs no other file."""

import re
from collections.abc import Sequence
from html import escape
from itertools import groupby

from fq._input import one_line
from fq.testing.laws import ALL
from fq.testing.report import (
    ARITHMETICS,
    FAILS,
    HOLDS,
    LAST_BITS,
    NOT_APPLICABLE,
    SYMBOLS,
    Report,
    Result,
    table,
)

__all__ = ["html", "markdown", "text"]

_LEGEND = ", ".join(f"{symbol} {status}" for status, symbol in SYMBOLS.items())
_SIGNS = {HOLDS: "✓", FAILS: "✗", LAST_BITS: "≈", NOT_APPLICABLE: "·"}
_SIGN_LEGEND = ", ".join(f"{sign} {status}" for status, sign in _SIGNS.items())
_INTRODUCTION = """\
# Where fake quantizations differ

Each candidate was given arrays that hypothesis makes up, grid by grid, and each law below either held for all of them
or has a smallest counterexample: `python -m fq equivalence`. Numbers are given in decimal and as `float.hex` writes
them. A law that holds was not refuted by that many examples; it is not proven.

This page is written by the command below. What it reads with `--from` are outputs of runs with `--json`: frameworks
that cannot share an environment run in their own.

"""
_STYLE = """\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#c8cdd3;--ok:#0b5cad;--bad:#a63c00;--near:#7a5800;
--soft:#5b6570;--badfill:#fdeadd;--nearfill:#fbf3d9}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--paper:#14171a;--line:#3c444c;--ok:#7db8f5;--bad:#ff9d5c;
--near:#e8c860;--soft:#9aa4ae;--badfill:#3d2413;--nearfill:#35300f}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:72rem;margin:2rem auto;
padding:0 1rem}
.wide{overflow-x:auto}
table{border-collapse:collapse}
th,td{border-bottom:1px solid var(--line);padding:.15rem .5rem;text-align:left;vertical-align:top}
.laws thead th{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap;padding:.5rem .15rem}
.laws thead th:first-child{writing-mode:initial;transform:none;vertical-align:bottom}
.laws tbody th{font-weight:400;white-space:nowrap}
.laws td{text-align:center;font-weight:700}
.holds{color:var(--ok)}.fails{color:var(--bad);background:var(--badfill)}
.last-bits{color:var(--near);background:var(--nearfill)}.not-applicable{color:var(--soft)}
td a{color:inherit;display:block}
code{font-size:.85em;overflow-wrap:anywhere}
.soft{color:var(--soft)}"""
_CLASSES = {HOLDS: "holds", FAILS: "fails", LAST_BITS: "last-bits", NOT_APPLICABLE: "not-applicable"}


def text(reports: Sequence[Report], absent: Sequence[str] = ()) -> str:
    """The table, the counterexamples and what is not here, as the command prints them.

    Parameters
    ----------
    reports : list of Report
    absent : list of str
        A line on each candidate that could not be loaded.

    Returns
    -------
    str
    """
    lines: list[str] = []
    for arithmetic, some in _by_arithmetic(reports):
        lines += [f"y computed with {ARITHMETICS[arithmetic]}: {_LEGEND}", "", table(some), ""]
        for report in some:
            lines += [
                one_line(report.candidate) + ": " + _summary(report),
                *(f"  {one}" for one in report.failures),
                "",
            ]
    lines += [f"not here: {one_line(line)}" for line in absent]
    return "\n".join(lines).rstrip()


def _by_arithmetic(reports: Sequence[Report]) -> list[tuple[str, list[Report]]]:
    ordered = sorted(reports, key=lambda report: list(ARITHMETICS).index(report.arithmetic))
    return [(key, list(some)) for key, some in groupby(ordered, key=lambda report: report.arithmetic)]


def _summary(report: Report) -> str:
    applied = [one for one in report.results if one.status != NOT_APPLICABLE]
    return f"{len(applied) - len(report.failures)} of {len(applied)} laws hold"


def markdown(reports: Sequence[Report], command: str) -> str:
    """A document with what each candidate does differently.

    Parameters
    ----------
    reports : list of Report
    command : str
        What it says it was made by.

    Returns
    -------
    str
    """
    seeds = sorted({f"seed {report.seed}, {report.examples} examples a law" for report in reports})
    versions = dict(pair for report in reports for pair in report.versions.items())
    told = _escaped(", ".join(f"{name} {version}" for name, version in versions.items()))
    parts = [_INTRODUCTION + f"    {one_line(command)}\n\nwith {told}; {'; '.join(seeds)}.\n"]
    for arithmetic, some in _by_arithmetic(reports):
        laws = _html_table(some, linked=False)  # GitHub and Sphinx show it; no line of it is empty, which would end it
        parts.append(f"## Compared with y from {ARITHMETICS[arithmetic]}\n\n{_SIGN_LEGEND}.\n\n{laws}\n")
        parts += [_markdown_section(report) for report in some if not report.ok]
        if equal := [_escaped(report.candidate) for report in some if report.ok]:
            parts.append(f"### No difference found\n\n{'; '.join(equal)}.\n")
    parts.append("## The laws\n\n" + "\n".join(f"- **{law.name}**: {law.meaning}" for law in ALL) + "\n")
    return "\n".join(parts)


def _markdown_section(report: Report) -> str:
    lines = [f"### {_escaped(report.candidate)}\n", _prose(report.about), "", _summary(report) + "; the others:", ""]
    return "\n".join([*lines, *(_markdown_failure(one) for one in report.failures), ""])


def _markdown_failure(result: Result) -> str:
    """One line; `float.hex` and numbers are code, since Markdown gives * and _ a meaning."""
    if (found := result.counterexample) is None:
        return f"- **{_escaped(result.law)}** {result.status}"
    given = ", ".join(f"{_escaped(name)} {_code(value)}" for name, value in found.parameters.items() if name != "x")
    ends = f"expected {_code(found.expected)}, found {_code(found.found)}"
    x = f"{_escaped(found.parameters['x'])}, {given}, x {_code(found.x)}"
    return f"- **{_escaped(result.law)}** {result.status}: {x}: {ends}"


# What could begin something in Markdown; an underscore between two letters cannot.
_SPECIAL = r"([\\`*\[\]<>|&~#$]|(?<![^\W_])_|_(?![^\W_]))"


def _escaped(told: object) -> str:
    """What Markdown shows as what is told."""
    return re.sub(_SPECIAL, r"\\\1", one_line(told))


def _prose(about: str) -> str:
    """What a candidate tells of itself: code between single backticks stays code."""
    return re.sub(f"`[^`]*`|{_SPECIAL}", lambda found: f"\\{found[1]}" if found[1] else found[0], one_line(about))


def _span(told: str) -> str:
    """Code, between more backticks than it has in a row."""
    told = one_line(told)
    ticks = "`" * (max(map(len, re.findall("`+", told)), default=0) + 1)
    return f"{ticks} {told} {ticks}" if "`" in told or not told else f"{ticks}{told}{ticks}"


def _code(value: str | tuple[str, ...]) -> str:
    if isinstance(value, str):
        return _span(value)
    return _span(value[0]) + (f" ({_span(value[1])})" if len(value) > 1 and not _evident(value[0]) else "")


def _evident(decimal: str) -> bool:
    """Whether the decimal is the number, short and exact: then the hexadecimal tells nothing more."""
    return re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", decimal, re.ASCII) is not None and (
        len(decimal) <= 6 and float(decimal) * 8 % 1 == 0
    )


def html(reports: Sequence[Report], absent: Sequence[str] = ()) -> str:
    """One page, to read in a light or a dark room, in which no meaning is in a colour alone.

    Parameters
    ----------
    reports : list of Report
    absent : list of str
        A line on each candidate that could not be loaded.

    Returns
    -------
    str
    """
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    parts = [f'<!doctype html>\n<html lang="en"><head>{head}<title>Fake quantization: equivalence</title>']
    parts.append(f"<style>{_STYLE}</style></head><body><h1>Where fake quantizations differ</h1>")
    parts.append("<p>" + ", ".join(f"{_sign(status)} {status}" for status in SYMBOLS) + ".</p>")
    for arithmetic, some in _by_arithmetic(reports):
        parts.append(f"<h2>Compared with y from <code>{escape(ARITHMETICS[arithmetic])}</code></h2>")
        parts += [_html_table(some), *(_html_section(report) for report in some)]
    parts += [f'<p class="soft">Not here: {_html(line)}.</p>' for line in absent]
    parts.append("<h2>The laws</h2><dl>")
    parts += [f"<dt><b>{escape(law.name)}</b></dt><dd>{escape(law.meaning)}</dd>" for law in ALL]
    return "\n".join([*parts, "</dl></body></html>\n"])


def _html(told: object) -> str:
    return escape(one_line(told))


def _sign(status: str) -> str:
    return f'<span class="{_CLASSES[status]}">{_SIGNS[status]}</span>'


def _place(report: Report, law: str = "") -> str:
    """What a link to the section, or to one law in it, is called."""
    words = f"{report.arithmetic} {report.candidate} {law}"
    return "-".join("".join(letter if letter.isalnum() else " " for letter in words.lower()).split())


def _html_table(reports: Sequence[Report], linked: bool = True) -> str:
    names = "".join(f'<th scope="col">{_html(report.candidate)}</th>' for report in reports)
    rows = [f'<div class="wide"><table class="laws"><thead><tr><th scope="col">law</th>{names}</tr></thead><tbody>']
    for law in dict.fromkeys(result.law for report in reports for result in report.results):
        cells = "".join(_html_cell(report, law, linked) for report in reports)
        rows.append(f'<tr><th scope="row">{_html(law)}</th>{cells}</tr>')
    return "\n".join([*rows, "</tbody></table></div>"])


def _html_cell(report: Report, law: str, linked: bool) -> str:
    status = next((result.status for result in report.results if result.law == law), NOT_APPLICABLE)
    told = f'<span title="{status}" aria-label="{status}">{_SIGNS[status]}</span>'
    if linked and status in (FAILS, LAST_BITS):
        told = f'<a href="#{_place(report, law)}">{told}</a>'
    return f'<td class="{_CLASSES[status]}">{told}</td>'


def _html_section(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    how = f"{versions}; seed {report.seed}, {report.examples} examples a law; {_summary(report)}."
    lines = [f'<h3 id="{_place(report)}">{_html(report.candidate)}</h3><p>{_html(report.about)}</p>']
    lines.append(f'<p class="soft">{_html(how)}</p>')
    if report.failures:
        names = "".join(f'<th scope="col">{name}</th>' for name in ("law", "parameters", "x", "expected", "found"))
        lines.append(f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>')
        lines += [_html_failure(report, one) for one in report.failures]
        lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _html_failure(report: Report, result: Result) -> str:
    if (found := result.counterexample) is None:
        return ""
    given = "<br>".join(f"{_html(name)} {_html_number(value)}" for name, value in found.parameters.items())
    cells = "".join(f"<td>{one}</td>" for one in [given, *map(_html_number, (found.x, found.expected, found.found))])
    name = f'<th scope="row">{_sign(result.status)} {_html(result.law)}<br>{result.status}</th>'
    return f'<tr id="{_place(report, result.law)}">{name}{cells}</tr>'


def _html_number(value: str | tuple[str, ...]) -> str:
    return "<br>".join(f"<code>{_html(one)}</code>" for one in (value if isinstance(value, tuple) else (value,)))
