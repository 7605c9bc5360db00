"""Draws which weights of a network get 4 bits, and what the network reads at each choice of bits."""

from matplotlib.figure import Figure

from benchmarks.plot import BLUE, SKY, VERMILION
from docs.figures.journey import LARGE, LEAST


def weights(rows):
    """Each weight by its size and its noise at 4 bits; the corner that the rule takes is marked."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for four, colour, marker, label in ((True, VERMILION, "D", "4 bits"), (False, BLUE, "o", "8 bits")):
        chosen = [one for one in rows if one["four"] is four]
        x, y = [one["size"] for one in chosen], [one["decibels"] for one in chosen]
        axes.plot(x, y, marker, color=colour, label=f"{label}: {len(chosen)} weights", alpha=0.8)
    axes.set_xscale("log")
    right, top = axes.get_xlim()[1], axes.get_ylim()[1]
    axes.fill_between([LARGE, right], LEAST, top, color=SKY, alpha=0.25, zorder=0)
    axes.set(xlim=(None, right), ylim=(None, top), xlabel="values in the weight", ylabel="SQNR at 4 bits, dB")
    axes.set_title("4 bits for what is large and does not suffer", loc="left", fontweight="bold")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    return figure


def texts(rows, line):
    """A bar for the size of each model, and beside it what the model reads."""
    figure = Figure(figsize=(9, 0.6 * len(rows) + 1.4), layout="constrained")
    sizes, words = figure.subplots(1, 2, width_ratios=(1, 1.7), sharey=True)
    places = range(len(rows))
    sizes.barh(places, [row["bytes"] / 1e6 for row in rows], color=BLUE)
    for place, row in zip(places, rows, strict=True):
        sizes.text(row["bytes"] / 1e6 + 0.15, place, f"{row['bytes'] / 1e6:.2f} MB", va="center")
        same = row["text"] == line
        words.text(0, place, row["text"], va="center", color="black" if same else VERMILION, fontsize="large")
        for x, key in ((0.62, "zen"), (0.86, "license")):
            words.text(x, place, "{} of {}".format(*row[key]), va="center")
    sizes.set_yticks(places, [row["name"] for row in rows])
    sizes.set(ylim=(len(rows) - 0.5, -1), xlim=(0, 16), xlabel="size of the file, MB")
    for x, head in ((0, f'reads "{line}" as'), (0.62, "Zen, same"), (0.86, "license, same")):
        words.text(x, -0.75, head, va="center", fontweight="bold", fontsize="small")
    words.set(xlim=(0, 1.12))
    words.axis("off")
    return figure
