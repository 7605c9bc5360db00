"""Draws how many times faster than PyTorch each library makes y and the mask, as bars."""

from matplotlib.figure import Figure

from benchmarks.plot import BLUE
from benchmarks.report import size_text

THEIRS, SIZE = "PyTorch cachemask", 2**20


def times_pytorch(rows):
    """{library: times PyTorch's speed}, in turn, of the benchmark's section of peers: one thread, or all of XLA's."""
    peers = [row for row in rows if row["section"] == "peers" and row["elements"] == SIZE]
    peers = [row for row in peers if row["gives"] == "y and mask" and "allocating" not in row["function"]]
    found = {}
    for row in sorted(peers, key=lambda row: row["threads"]):
        found.setdefault(row["function"], row["median_us"])
    return {name: found[THEIRS] / taken for name, taken in sorted(found.items(), key=lambda item: item[1])}


def picture(result):
    """A bar a library, fq's in colour."""
    found = times_pytorch(result["rows"])
    figure = Figure(figsize=(8, 0.45 * len(found) + 1.2), layout="constrained")
    axes = figure.subplots()
    colours = [BLUE if name.startswith("fq.") else "#999999" for name in found]
    axes.bar_label(axes.barh(list(found), list(found.values()), color=colours), fmt=" %.1f x", fontsize=11)
    axes.invert_yaxis()
    processor = result["machine"]["processor"].replace("(R)", "")
    axes.set_title(
        f"Times the speed of {THEIRS}: y and mask of {size_text(SIZE)} float32\n{processor}, one thread, in turn"
    )
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set(xticks=[], xlim=(0, 1.12 * max(found.values())))
    return figure
