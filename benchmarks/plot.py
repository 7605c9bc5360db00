"""Draws speed relative to memcpy by size: a panel of fq's functions per type, and one of the peers."""

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.report import size_text
from benchmarks.timing import COPY

# Okabe and Ito's palette, which the colour-blind can tell apart, and grey; every line has a marker of its own too.
COLOURS = ["#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#999999", "#B8A900"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "<", ">"]
DASHES = ["-", "--", ":", "-."]


def write(rows, path):
    """The figure as a PNG."""
    types = dict.fromkeys(row["type"] for row in rows if row["section"] == "grid")
    panels = {
        f"fq's functions, {name}": [r for r in rows if r["section"] == "grid" and r["type"] == name] for name in types
    }
    peers = [row for row in rows if row["section"] == "peers"]
    if peers:
        panels["fq.forward and its peers, float32"] = peers
    figure = Figure(figsize=(10, 5 * len(panels)), layout="constrained")
    for axes, (title, chosen) in zip(figure.subplots(len(panels), squeeze=False).flat, panels.items(), strict=True):
        panel(axes, title, chosen)
    figure.savefig(path, dpi=130)


def panel(axes, title, rows):
    """A line per function, target and number of threads."""
    rows = [row for row in rows if row["function"] != COPY]
    functions = list(dict.fromkeys(row["function"] for row in rows))
    runs = sorted({(row["target"] or "", row["threads"]) for row in rows}, key=lambda run: (run[1], run[0]))
    threads = sorted({run[1] for run in runs})
    targets = sorted({run[0] for run in runs if run[0]})
    for index, function in enumerate(functions):
        for run in runs:
            points = [(r["elements"], r["relative_to_copy"]) for r in rows if key(r) == (function, *run)]
            if not points:
                continue
            dash = DASHES[(threads.index(run[1]) * max(1, len(targets)) + place(run[0], targets)) % len(DASHES)]
            style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)], "linestyle": dash}
            extra = [run[0]] * (len(targets) > 1 and run[0] != "")
            extra += [f"{run[1]} thread{'s' * (run[1] > 1)}"] * (len(threads) > 1)
            axes.plot(*zip(*sorted(points), strict=True), label=", ".join([function, *extra]), **style)
    decorate(axes, title, rows)


def key(row):
    """What a line of the figure holds together."""
    return row["function"], row["target"] or "", row["threads"]


def place(name, names):
    """The index of the name, 0 if it is not there."""
    return names.index(name) if name in names else 0


def decorate(axes, title, rows):
    """Scales, labels, the line of memcpy and the legend."""
    sizes = sorted({row["elements"] for row in rows})
    axes.set_title(title)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: size_text(round(size))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda speed, _: f"{speed:.3g}"))
    axes.set_xlim(sizes[0] / 1.6, sizes[-1] * 1.6)
    axes.axhline(1, color="#555555", linewidth=2.5, alpha=0.6, zorder=0)
    beside = axes.get_yaxis_transform()
    axes.text(
        1.01, 1, "memcpy\n(np.copyto,\n1 thread)", transform=beside, color="#333333", va="center", fontsize="small"
    )
    axes.set_xlabel("elements")
    axes.set_ylabel("speed relative to memcpy (higher is better)")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.15, 0.5), frameon=False, fontsize="small", handlelength=4)
