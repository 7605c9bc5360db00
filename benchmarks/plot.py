"""Draws speed relative to memcpy by size: fq above, its peers below, a column for each number of threads."""

import io

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from benchmarks.report import size_text
from benchmarks.timing import COPY, FORWARD

# Okabe and Ito's palette, which the colour-blind can tell apart, and grey; every line has a marker of its own too.
BLACK, ORANGE, SKY, GREEN, VERMILION, BLUE, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#D55E00",
    "#0072B2",
    "#CC79A7",
)
COLOURS = [BLACK, ORANGE, SKY, GREEN, VERMILION, BLUE, PURPLE, "#999999", "#B8A900"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]
DASHES = ["-", "--", ":", "-."]
HATCHES = ["", "//", "..", "\\\\", "xx"]


# In a page of a dark scheme what is black becomes light: text, axes and ticks. Colours stay.
DARK = """<style>@media (prefers-color-scheme: dark) {
svg { fill: #dddddd; }
[style*="stroke: #000000"] { stroke: #dddddd !important; }
[style*="fill: #000000"] { fill: #dddddd !important; }
}</style>"""


def following_scheme(text):
    """An SVG without a background, which follows light and dark."""
    opened = text.index(">", text.index("<svg")) + 1
    return text[:opened] + DARK + text[opened:]


def save(figure, path, follows_scheme=True):
    """The figure as an SVG that follows light and dark, without a background; or on white, where it needs that."""
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    if follows_scheme:
        legends = filter(None, (axes.get_legend() for axes in figure.axes))
        for patch in (figure.patch, *(axes.patch for axes in figure.axes), *(one.get_frame() for one in legends)):
            patch.set_alpha(0)
    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": "fq"}):  # so that names inside are the same each time
        FigureCanvasSVG(figure).print_svg(drawn, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = drawn.getvalue()
    if follows_scheme:
        text = following_scheme(text)
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")


def picture(rows):
    """The figure, of the first target measured."""
    target = next((row["target"] for row in rows if row["target"]), None)
    rows = [row for row in rows if row["target"] in (target, None) and row["function"] != COPY]
    types = dict.fromkeys(row["type"] for row in rows if row["section"] == "grid")
    bands = {f"fq, {name}": [r for r in rows if r["section"] == "grid" and r["type"] == name] for name in types}
    bands["fq.forward and peers, float32"] = [row for row in rows if row["section"] == "peers"]
    bands = {title: chosen for title, chosen in bands.items() if chosen}
    threads = sorted({row["threads"] for row in rows if row["section"] in ("grid", "peers")})
    figure = Figure(figsize=(3.4 * len(threads) + 2.8, 3.2 * len(bands)), layout="constrained")
    grid = figure.subplots(len(bands), len(threads), sharex=True, sharey="row", squeeze=False)
    for band, (title, chosen) in zip(grid, bands.items(), strict=True):
        styles = styles_of(chosen)
        for axes, n in zip(band, threads, strict=True):
            panel(axes, [row for row in chosen if row["threads"] == n], styles)
            axes.set_title(f"{title}, {n} thread{'s' * (n > 1)}", fontsize="medium")
        decorate(band, chosen, styles)
    for axes in grid[-1]:
        axes.set_xlabel("elements")
    return figure


def styles_of(rows):
    """function -> how its line looks, the same in every panel; fq.forward stands out."""
    functions = dict.fromkeys(sorted((row["function"] for row in rows), key=lambda name: name != FORWARD))
    return {
        function: {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": DASHES[index % len(DASHES)],
            "linewidth": 2.5 if function == FORWARD else 1.5,
        }
        for index, function in enumerate(functions)
    }


def panel(axes, rows, styles):
    """A line per function."""
    for function, style in styles.items():
        points = sorted((row["elements"], row["relative_to_copy"]) for row in rows if row["function"] == function)
        if points:
            axes.plot(*zip(*points, strict=True), **style)
    axes.axhline(1, color="#555555", linewidth=3, alpha=0.5, zorder=0)


def decorate(band, rows, styles):
    """Scales and labels of the panels of a band, and its legend on the right."""
    sizes = sorted({row["elements"] for row in rows})
    speeds = [row["relative_to_copy"] for row in rows]
    halves = (1, 1.5) if max(speeds) < 8 * min(speeds) else (1,)
    for axes in band:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: size_text(round(size))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(2, halves))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda speed, _: f"{speed:.3g}"))
        axes.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)
        axes.grid(alpha=0.3)
    band[0].set_ylabel("speed / memcpy (higher is better)")
    lines = [band[-1].plot([], [], label=function, **style)[0] for function, style in styles.items()]
    lines.append(band[-1].plot([], [], color="#555555", linewidth=3, alpha=0.5, label="memcpy, one thread")[0])
    band[-1].legend(
        handles=lines, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize="small", handlelength=4
    )
