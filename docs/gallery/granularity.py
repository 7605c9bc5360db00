"""Compare a scale per tensor, per channel and per group of weights, by error and by what the scales cost."""

from importlib.util import find_spec
from pathlib import Path

from matplotlib.figure import Figure
from safetensors.numpy import load_file

import fq

BITS = (2, 3, 4, 6, 8)
KINDS = {  # a scale for: how fq is told, how it is drawn
    "the tensor": ({}, ("s--", "#D55E00")),
    "each channel": ({"axis": 0}, ("^-.", "#E69F00")),
    "128 weights": ({"group": 128}, ("v:", "#009E73")),
    "32 weights": ({"group": 32}, ("o-", "#0072B2")),
}

# The recurrent weights of the voice detector in the package silero-vad, found by its place and not imported.
package = Path(find_spec("silero_vad").submodule_search_locations[0])
weight = load_file(package / "data" / "silero_vad_16k.safetensors")["lstm_cell.weight_hh"]


def measured(options, bits):
    """Bits per weight, with scales of 16 bits, and the signal to quantization noise in dB."""
    grid = fq.calibrate(weight, bits, symmetric=True, method="mse", **options)
    x = fq.grouped(weight, options["group"]) if "group" in options else weight
    return bits + 16 * grid.scale.size / weight.size, float(fq.sqnr(x, fq.fake_quantize(x, *grid)))


found = {name: [measured(options, bits) for bits in BITS] for name, (options, _) in KINDS.items()}

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for name, (_, (style, colour)) in KINDS.items():
    axes.plot(*zip(*found[name], strict=True), style, color=colour, label=f"a scale for {name}")
axes.set(xlabel="bits per weight, scales included", ylabel="signal to quantization noise, dB", xticks=BITS)
axes.legend()
figure.savefig("granularity.svg")
four = BITS.index(4)
(_, coarse), (cost, fine) = found["the tensor"][four], found["32 weights"][four]
print(f"4 bits: {coarse:.1f} dB with one scale, {fine:.1f} dB with one for 32 weights, at {cost:.2f} bits per weight")
