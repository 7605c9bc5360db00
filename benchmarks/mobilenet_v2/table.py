"""The result as Markdown, JSON and a picture, beside the figures of fq's source."""

from benchmarks.report import line
from benchmarks.report import save as save_report

MIB = 2**20
SOURCE = (
    "PyTorch's own change from keeping x to a byte per element took the memory of such training from +26.4% to +7.1% "
    "([PR #50561](https://github.com/pytorch/pytorch/pull/50561), on a GPU)."
)


LEARNED = (
    "Weights and activations have 4 bits and a scale that is learned (LSQ). Weights keep x, which lives anyway;\n"
    "so does what a ReLU gives, which PyTorch keeps for the ReLU. What a ReLU6 gives is kept by nothing else."
)
NAMES = {"mobilenet_v2": ("MobileNetV2", "3.5 M"), "resnet18": ("ResNet-18", "11.7 M")}


def title_of(settings):
    """What is measured, in words."""
    return f"A training step of {NAMES[settings['net']][0]}" + " with learned scales" * settings["learn_scale"]


def command(settings):
    """The command that measures it."""
    learned = " --learn-scale" * settings["learn_scale"]
    net = f" --net {settings['net']}" * (settings["net"] != "mobilenet_v2")
    return f"python -m benchmarks.mobilenet_v2{learned}{net}"


def stem_of(settings):
    """The name of the files."""
    return "learned_" * settings["learn_scale"] + settings["net"]


def markdown(result):
    """The page."""
    described, settings = result["machine"], result["settings"]
    shape = f"batch {settings['batch']}, {settings['size']} x {settings['size']} pixels"
    parameters = NAMES[settings["net"]][1]
    lines = [f"# {title_of(settings)}", ""]
    lines += [
        f"{parameters} parameters, {shape}, {settings['threads']} threads: `{command(settings)}`.",
        "Every step has a batch of its own: other crops of two photographs, mirrored or not.",
        "Saved for the backward: the storages of all saved tensors. Peak: resident memory of a process that does",
        f"nothing else, median of {settings['processes']}. Time: median of {settings['rounds']} steps, in turns.",
        LEARNED if settings["learn_scale"] else SOURCE,
        "",
    ]
    lines += [f"- {described['processor']}, {described['cores']} cores, {described['system']}"]
    lines += ["- " + ", ".join(f"{name} {version}" for name, version in described["versions"].items())]
    lines += [f"- {described['date']}", "", *rows(result)]
    return "\n".join(lines) + "\n"


def rows(result):
    """The table: a line per way, each compared with the first."""
    first = result["rows"][0]
    heads = ["", "saved, MiB", "", "peak, MiB", "", "step, ms", "", f"loss after {result['settings']['steps']} steps"]
    lines = [line(heads), line(["---", *["--:"] * 7])]
    for row in result["rows"]:
        cells = [row["way"]]
        for name, unit in (("saved_bytes", MIB), ("peak_bytes", MIB), ("median_seconds", 1e-3)):
            cells += [f"{row[name] / unit:,.0f}", "" if row is first else f"{row[name] / first[name] - 1:+.1%}"]
        lines.append(line([*cells, repr(row["losses"][-1])]))
    return lines


def write(result, folder):
    """The page, the figures and the picture in the folder."""
    stem = stem_of(result["settings"])
    save_report(folder, stem, markdown(result), result)
    from benchmarks.plot import save  # which needs matplotlib

    save(picture(result), folder / f"{stem}.svg")


def picture(result):
    """What each way adds to no fake quantization: a panel for each figure, a bar for each way."""
    from matplotlib.figure import Figure

    from benchmarks.plot import COLOURS, HATCHES

    figure = Figure(figsize=(10, 3), layout="constrained")
    panels = {"saved_bytes": "saved for the backward", "peak_bytes": "peak resident memory", "median_seconds": "time"}
    first, *others = result["rows"]
    figure.suptitle(f"What fake quantization adds: {title_of(result['settings'])}")
    for axes, (name, title) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
        added = [100 * (row[name] / first[name] - 1) for row in others]
        bars = axes.barh([row["way"] for row in others], added, color=COLOURS[1 : 1 + len(others)], edgecolor="black")
        for bar, hatch in zip(bars, HATCHES, strict=False):
            bar.set_hatch(hatch)
        axes.bar_label(bars, [f"{value:+.1f}%" for value in added], padding=3)
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("added, %")
        axes.margins(x=0.35)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()
    return figure
