"""The picture of ``python -m fq demo``: the staircase with its mask; accuracy, size and time against bits."""

import numpy as np

import fq

# Okabe and Ito's colours, which the colour-blind can tell apart.
_BLUE, _ORANGE, _BLACK, _SKY, _GREEN = "#0072B2", "#D55E00", "#000000", "#56B4E9", "#009E73"


def draw(rows, path):
    """Draw the panels to the file at path, without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    _draw_staircase(left)
    _draw_accuracies(middle, rows)
    _draw_costs(right, rows)
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
    series.append(("in integers", "integer_accuracy", _BLACK, "x"))
    if rows[0].learned_accuracy is not None:
        series.append(("QAT with learned scales", "learned_accuracy", _GREEN, "^"))
    for label, field, colour, marker in series:
        percent = [100 * getattr(row, field) for row in rows]
        axes.plot(places, percent, color=colour, marker=marker, markersize=7, linewidth=2, label=label)
    axes.set_xticks(places, [str(row.bits) for row in rows])
    axes.set(xlabel="bits of weights and activations", ylabel="accuracy on the test part (%)")
    axes.set_title("Accuracy against bits")
    axes.margins(0.08, 0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")


def _draw_costs(axes, rows):
    rows = sorted(rows)
    places = range(len(rows))
    axes.axhline(rows[0].float_bytes / 1000, color=_BLACK, linestyle="--", linewidth=2, label="float, KB")
    sizes = [row.integer_bytes / 1000 for row in rows]
    axes.bar(places, sizes, 0.5, color=_SKY, edgecolor=_BLUE, hatch="//", label="integers, KB")
    axes.set_xticks(places, [str(row.bits) for row in rows])
    axes.set(xlabel="bits of weights and activations", ylabel="file (KB)", ylim=(0, 1.6 * rows[0].float_bytes / 1000))
    axes.set_title("Size of a file, time of a step")
    times = axes.twinx()
    for label, field, colour, marker in (
        ("a step, ms", "step_seconds", _GREEN, "^"),
        ("fq, ms", "fq_seconds", _ORANGE, "o"),
    ):
        times.plot(places, [1e3 * getattr(row, field) for row in rows], color=colour, marker=marker, label=label)
    times.set(ylabel="time (ms)", ylim=(0, 1.6e3 * max(row.step_seconds for row in rows)))
    lines = [one.get_legend_handles_labels() for one in (axes, times)]
    axes.legend(*(a + b for a, b in zip(*lines, strict=True)), loc="upper center", ncols=2, fontsize=9)
