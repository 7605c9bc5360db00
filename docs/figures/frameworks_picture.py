"""Draws what each framework does at ties and at the ends, marked where it is not what the reference does."""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.plot import BLACK, ORANGE
from docs.figures.points import GROUPS

TITLES = {"levels": "The level that x goes to", "gradients": "The gradient that passes, dx / dy"}
_CAPTION = (
    "Orange, bold and framed: not what fq.reference gives. Grey: no gradient. * scale 11, first float32 above -60.5."
)
_WIDTH = max(sum(len(points) for _, _, points in groups) for groups in GROUPS.values())
_WHITE, _GREY = "#FFFFFF", "#DDDDDD"


def picture(rows):
    """A table of levels above, one of gradients below."""
    expected, *others = rows
    figure = Figure(figsize=(10, 0.62 * len(others) + 2.6), layout="constrained")
    for axes, (kind, title) in zip(figure.subplots(2, 1), TITLES.items(), strict=True):
        axes.set_title(f"{title}, where levels are -128 to 127", loc="left", fontweight="bold", fontsize="large")
        columns = [(group, scale, point) for group, scale, points in GROUPS[kind] for point in points]
        _heads(axes, columns)
        for index, row in enumerate(others):
            _row(axes, index, row["name"], row[kind] or [""] * len(columns), expected[kind])
        axes.set(xlim=(-5.6, _WIDTH + 0.05), ylim=(len(others) + 0.05, -2.6))
        axes.axis("off")
    figure.supxlabel(_CAPTION, fontsize="medium")
    return figure


def _heads(axes, columns):
    last = None
    for index, (group, scale, point) in enumerate(columns):
        if group != last:
            axes.text(index + 0.08, -1.0, group, va="bottom", fontsize="small", linespacing=1.1)
            axes.plot([index, index], [-1.7, 0], color="#777777", linewidth=1)
        last = group
        axes.text(index + 0.5, -0.1, _short(point, scale), ha="center", va="bottom", fontsize="small")
    axes.text(-0.15, -0.1, "x =", ha="right", va="bottom")


def _short(x, scale):
    """x in few characters, with a star where the scale is another."""
    return f"{x:.4g}".replace("e+0", "e").replace("e+", "e") + "*" * (scale != 1)


def _row(axes, index, name, found, expected):
    axes.text(-0.15, index + 0.5, name, ha="right", va="center")
    for place, (one, right) in enumerate(zip(found, expected, strict=True)):
        differs = bool(one) and one != right
        colour = ORANGE if differs else _WHITE if one else _GREY
        edge = {"edgecolor": BLACK, "linewidth": 1.6, "zorder": 2} if differs else {"edgecolor": "#BBBBBB"}
        axes.add_patch(Rectangle((place, index), 1, 1, facecolor=colour, **edge))
        weight = "bold" if differs else "normal"
        axes.text(place + 0.5, index + 0.52, one, ha="center", va="center", fontweight=weight, zorder=3)
