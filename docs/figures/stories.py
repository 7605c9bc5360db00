"""Draws the six stories of how frameworks differ: at one point each, who gives which answer."""

import textwrap

from matplotlib.figure import Figure

from benchmarks.plot import BLUE, VERMILION
from docs.figures.points import GROUPS

STORIES = (  # title, what is asked, and at which point
    ("A tie", "the level of x = 0.5, where levels are whole numbers", "levels", 0.5),
    ("Beside a tie", "the level of x = -60.499996 at scale 11, just above -5.5 levels", "levels", -60.499996),
    ("Infinity", "the level of x = inf, where the last one is 127", "levels", float("inf")),
    ("NaN", "the level of x = NaN", "levels", float("nan")),
    ("The gradient at an end", "dx / dy at the first level, x = -128", "gradients", -128.0),
    ("The gradient beyond", "dx / dy at x = 1,000,000, far outside", "gradients", 1e6),
)
WIDTH = 46  # characters of a line


def answers(rows, kind, point):
    """Who gives which answer, the reference's first."""
    points = [one for _, _, of_group in GROUPS[kind] for one in of_group]
    at = next(i for i, one in enumerate(points) if one == point or (one != one and point != point))
    found = {rows[0][kind][at]: []}
    for row in rows[1:]:
        if row[kind] is not None:
            found.setdefault(row[kind][at], []).append(row["name"])
    return found


def picture(rows):
    """A panel for each story."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    for axes, (title, asked, kind, point) in zip(figure.subplots(3, 2).flat, STORIES, strict=True):
        _panel(axes, title, asked, answers(rows, kind, point))
    return figure


def _panel(axes, title, asked, found):
    axes.set_title(title, loc="left", fontweight="bold")
    axes.text(0, 0.99, asked, va="top", fontsize="small")
    line = 0.84
    for place, (answer, names) in enumerate(found.items()):
        told = textwrap.wrap("; ".join(names), WIDTH)
        box = {"boxstyle": "round,pad=0.35", "facecolor": "none", "linewidth": 2.5}
        box["edgecolor"] = VERMILION if place else BLUE
        axes.text(0.08, line - 0.06, answer, ha="center", va="center", fontsize="medium", bbox=box)
        axes.text(0.2, line, "\n".join(told), va="top", fontsize="small", linespacing=1.25)
        line -= 0.12 + 0.075 * max(len(told), 1)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
