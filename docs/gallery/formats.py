"""Compare integers, MX and NVFP4 on a real network: which 4-bit format hurts its weights least?"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import load_file

import fq
from fq import formats

BITS = (3, 4, 6, 8)
INTEGERS = {  # a scale for: how fq is told, how it is drawn
    "tensor": ({}, ("s--", "#D55E00")),
    "channel": ({"axis": 0}, ("^-.", "#E69F00")),
    "32 weights": ({"group": 32}, ("o-", "#0072B2")),
}
BLOCKS = {  # each with the bits of an element
    "MX": ({4: formats.mxfp4, 6: formats.mxfp6_e2m3, 8: formats.mxfp8_e4m3}, ("v:", "#CC79A7")),
    "NVFP4": ({4: formats.nvfp4}, ("D", "#009E73")),
}

# The voice detector of the package silero-vad, found by its place and not imported: one row for each output channel.
package = Path(find_spec("silero_vad").submodule_search_locations[0])
tensors = load_file(package / "data" / "silero_vad_16k.safetensors")
rows = [w.reshape(len(w), -1) for w in tensors.values() if w.ndim > 1]
rows = [w for w in rows if w.shape[1] % 32 == 0]


def of_integers(bits, options):
    """Bits per weight, with scales of 16 bits, and the signal to quantization noise in dB, the means of the tensors."""
    found = []
    for w in rows:
        grid = fq.calibrate(w, bits, symmetric=True, method="mse", **options)
        x = fq.grouped(w, options["group"]) if "group" in options else w
        found.append((bits + 16 * grid.scale.size / w.size, fq.sqnr(x, fq.fake_quantize(x, *grid))))
    return np.mean(found, 0)


def of_blocks(bits, block):
    """The same. A block's scale has 8 bits."""
    block = block._replace(rule="fit")
    noise = [fq.sqnr(w, fq.blocks.fake_quantize(w, block)) for w in rows]
    return bits + 8 / block.block, np.mean(noise)


found = {f"integers, a scale per {name}": ([of_integers(b, o) for b in BITS], s) for name, (o, s) in INTEGERS.items()}
found |= {name: ([of_blocks(b, block) for b, block in kinds.items()], s) for name, (kinds, s) in BLOCKS.items()}

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for name, (points, (style, colour)) in found.items():
    axes.plot(*zip(*points, strict=True), style, color=colour, label=name)
axes.set(xlabel="bits per weight, scales included", ylabel="signal to quantization noise, dB", xticks=BITS)
axes.legend()
figure.savefig("formats.svg")
at_four = {name: next(point for point in points if 4 <= point[0] < 5) for name, (points, _) in found.items()}
for name, (bits, noise) in at_four.items():
    print(f"{name}: {noise:.1f} dB at {bits:.2f} bits per weight")
