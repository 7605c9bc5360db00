"""Tables of the README and the site, written from the benchmarks' JSON."""

import json

from benchmarks.report import line, size_text
from benchmarks.timing import COPY, FORWARD

MIB = 2**20
PARTS = ("forward", "backward", "forward, then backward", "both in one jit")


def read(folder):
    """Each text by its name, from the files of `folder`/benchmarks."""
    results, jax, mobilenet = (
        json.loads((folder / "benchmarks" / f"{name}.json").read_text("utf-8"))
        for name in ("results", "jax", "mobilenet_v2")
    )
    return {
        "speed": speed(results),
        "machine": machine(results),
        "learnable": learnable(results),
        "jax": jax_table(jax),
        "mobilenet_v2": mobilenet_v2(mobilenet),
        "memory": memory(mobilenet),
    }


def machine(result):
    """Where the figures come from, in a sentence."""
    described = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    return (
        f"Measured on {described['processor']}, {described['cores']} cores, {described['system']}; "
        f"{described['compiler']}, {versions}; {described['date'][:10]}."
    )


def speed(result):
    """Speed relative to memcpy by size: fq's functions on the first target, then the peers."""
    target, sizes = result["settings"]["targets"][0], result["settings"]["sizes"]
    rows = [row for row in result["rows"] if row["target"] in (target, None) and row["function"] != COPY]
    grid = [row for row in rows if row["section"] == "grid" and row["type"] == "float32"]
    peers = [row for row in rows if row["section"] == "peers" and not row["function"].startswith(FORWARD)]
    found = {}
    for row in grid + peers:
        found.setdefault((row["function"], row["threads"]), {})[row["elements"]] = row["relative_to_copy"]
    lines = [line(["", "threads", *map(size_text, sizes)]), line(["---", "--:", *["--:"] * len(sizes)])]
    for (name, threads), speeds in found.items():
        shown = f"`{name}`" if name.startswith("fq.") else name
        lines.append(line([shown, str(threads), *(f"{speeds[n]:.2f}" if n in speeds else "" for n in sizes)]))
    return "\n".join(lines)


def learnable(result):
    """What backward_learnable reaches, or nothing where it was not measured."""
    rows = [row for row in result["rows"] if row["function"] == "fq.backward_learnable"]
    if not rows:
        return ""
    lines = ["`fq.backward_learnable` beside `np.add` of its two inputs, and PyTorch's learnable kernel:", ""]
    lines += [line(["", "elements", "speed / np.add", "speed / PyTorch"]), line(["---", "--:", "--:", "--:"])]
    for row in rows:
        speeds = (row.get(f"relative_to_{name}") for name in ("add", "torch"))
        cells = [row["section"].removeprefix("learnable, "), size_text(row["elements"])]
        lines.append(line([*cells, *(f"{each:.2f}" if each else "" for each in speeds)]))
    return "\n".join(lines)


def jax_table(result):
    """The time of the formula over that of fq.jax, one thread, where memory is as users have it."""
    rows = [row for row in result["rows"] if row["threads"] == 1 and row["memory"] != "kept"]
    lines = [line(["elements", "memory", *PARTS, "bytes kept"]), line(["--:", "---", *["--:"] * (len(PARTS) + 1)])]
    for elements, memory in dict.fromkeys((row["elements"], row["memory"]) for row in rows):
        of_size = {row["part"]: row for row in rows if (row["elements"], row["memory"]) == (elements, memory)}
        one = of_size["forward"]
        kept = f"{one['residual_bytes']:,} in place of {one['formula_residual_bytes']:,}"
        times = [f"{of_size[part]['times_the_formula']:.2f}" for part in PARTS]
        lines.append(line([size_text(elements), memory, *times, kept]))
    return "\n".join(lines)


def mobilenet_v2(result):
    """What each way of fake quantization adds to a training step."""
    settings, first = result["settings"], result["rows"][0]
    step = f"a step, batch {settings['batch']}, {settings['size']} x {settings['size']}"
    lines = [line([step, "saved, MiB", "", "peak, MiB", "", "time, ms", ""]), line(["---", *["--:"] * 6])]
    for row in result["rows"]:
        cells = [row["way"]]
        for name, unit in (("saved_bytes", MIB), ("peak_bytes", MIB), ("median_seconds", 1e-3)):
            added = "" if row is first else f"{row[name] / first[name] - 1:+.1%}"
            cells += [f"{row[name] / unit:,.0f}", added]
        lines.append(line(cells))
    return "\n".join(lines)


def memory(result):
    """What training keeps between forward and backward, in a few sentences."""
    settings, rows = result["settings"], {row["way"]: row for row in result["rows"]}
    nothing = rows["no fake quantization"]["saved_bytes"]
    added = {way: f"{row['saved_bytes'] / nothing - 1:.1%}" for way, row in rows.items()}
    return "\n".join(
        [
            f"MobileNetV2 at batch {settings['batch']}, {settings['size']} x {settings['size']}, keeps",
            f"{nothing / MIB:,.0f} MiB for the backward pass without fake quantization. Fake quantization adds",
            f"{added['keeping x']} where x is kept, {added['PyTorch, byte mask']} with PyTorch's byte mask and",
            f"{added['fq, bits']} with fq's bits, which are one byte for a whole tensor where nothing was clamped.",
            "[How it was measured](docs/guide/pytorch.md#what-it-costs).",
        ]
    )
