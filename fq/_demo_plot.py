"""The picture of ``python -m fq demo``: the staircase with its mask, and accuracy against bits."""

import numpy as np

import fq

# Okabe and Ito's colours, which the colour-blind can tell apart.
_BLUE, _ORANGE, _BLACK, _SKY = "#0072B2", "#D55E00", "#000000", "#56B4E9"


def draw(rows, path):
    """Draw the two panels to the file at path, without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw_staircase(left)
    _draw_accuracies(right, rows)
    figure.savefig(path, dpi=150)


def _draw_staircase(axes):
    qparams = fq.choose_qparams(-1.0, 1.5, bits=3)
    x = np.linspace(-2.4, 3.0, 4001, dtype=np.float32)
    y, mask = fq.forward(x, *qparams)
    axes.fill_between(x, 0, 1, where=mask, transform=axes.get_xaxis_transform(), color=_SKY, alpha=0.3, linewidth=0)
    axes.plot(x, x, color=_BLACK, linewidth=1, linestyle=":", label="x")
    axes.plot(x, y, color=_BLUE, linewidth=2.2, label="y")
    inside = x[mask]
    axes.text(inside.mean(), 2.8, "mask True\ngradient passes", ha="center", va="top")
    for middle in ((x.min() + inside.min()) / 2, (inside.max() + x.max()) / 2):
        axes.text(middle, 0.2, "mask False\ngradient 0", ha="center", va="center")
    axes.set(xlim=(x.min(), x.max()), ylim=(x.min(), x.max()), xlabel="x", ylabel="y")
    axes.set_title("y, mask = fq.forward(x, ...) at 3 bits")
    axes.legend(loc="lower right")


def _draw_accuracies(axes, rows):
    rows = sorted(rows)
    places = range(len(rows))
    axes.axhline(100 * rows[0].float_accuracy, color=_BLACK, linestyle="--", linewidth=2, label="float")
    series = [
        ("QAT: trained with fq", "qat_accuracy", _BLUE, "o"),
        ("PTQ: quantized after training", "ptq_accuracy", _ORANGE, "s"),
    ]
    for label, field, colour, marker in series:
        percent = [100 * getattr(row, field) for row in rows]
        axes.plot(places, percent, color=colour, marker=marker, markersize=7, linewidth=2, label=label)
    axes.set_xticks(places, [str(row.bits) for row in rows])
    axes.set(xlabel="bits of weights and activations", ylabel="accuracy on the test part (%)")
    axes.set_title("Accuracy against bits")
    axes.margins(0.08, 0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")
