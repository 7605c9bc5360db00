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
WIDTH, LINE = 52, 0.2  # characters of a line; its height in inches
FAMILIES = "PyTorch", "TensorFlow"


def answers(rows, kind, point):
    """Who gives which answer, the reference's first."""
    points = [one for _, _, of_group in GROUPS[kind] for one in of_group]
    at = next(i for i, one in enumerate(points) if one == point or (one != one and point != point))
    found = {rows[0][kind][at]: []}
    for row in rows[1:]:
        if row[kind] is not None:
            found.setdefault(row[kind][at], []).append(row["name"])
    return found


def together(names, everyone):
    """The names, where a family whose members all are among them is one."""
    for family in FAMILIES:
        members = [name for name in everyone if name.startswith(family)]
        if set(members) <= set(names):
            names = [name for name in names if name not in members[1:]]
    return names


def picture(rows):
    """A story below the other, narrow enough for a phone."""
    everyone = [row["name"] for row in rows[1:]]
    told = []
    for title, asked, *where in STORIES:
        found = answers(rows, *where)
        told.append((title, asked, [(one, _lines(together(names, everyone))) for one, names in found.items()]))
    height = sum(3 * LINE + sum(_height(lines) for _, lines in found) for *_, found in told)
    figure = Figure(figsize=(5.2, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 5.2), ylim=(height, 0))
    axes.axis("off")
    y = 0.0
    for story in told:
        y = _story(axes, y + LINE, *story)
    return figure


def _lines(names):
    """The names, so many to a line that none is broken."""
    whole = " · ".join(name.replace(" ", "\0") for name in names)
    return [one.replace("\0", " ") for one in textwrap.wrap(whole, WIDTH, break_on_hyphens=False)]


def _height(lines):
    return LINE * max(1, len(lines)) + 0.1


def _story(axes, y, title, asked, found):
    """Draws one from y on; where it ends."""
    axes.text(0, y, title, va="center", fontweight="bold", fontsize=11)
    axes.text(0, y + LINE, asked, va="center", fontsize=9)
    y += 2 * LINE + 0.05
    for place, (answer, lines) in enumerate(found):
        colour = VERMILION if place else BLUE
        box = {"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": colour}
        axes.text(0.42, y, answer, ha="center", va="center", color="white", fontweight="bold", bbox=box)
        for number, line in enumerate(lines):
            axes.text(0.85, y + number * LINE, line, va="center", fontsize=10)
        y += _height(lines)
    return y
