"""Choose the ranges of a real network's weights: all values inside, or some clipped for the good of the others."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from safetensors.numpy import load_file

import fq

BITS = (2, 3, 4, 6, 8)
METHODS = {"minmax": ("s--", "#D55E00"), "percentile": ("^-.", "#E69F00"), "entropy": ("v:", "#009E73")}
METHODS["mse"] = "o-", "#0072B2"

# The voice detector of the package silero-vad, found by its place and not imported.
package = Path(find_spec("silero_vad").submodule_search_locations[0])
tensors = load_file(package / "data" / "silero_vad_16k.safetensors")
weights = [tensor for tensor in tensors.values() if tensor.ndim > 1]


def decibels(method, bits):
    """The signal to quantization noise of all weights, the mean over the tensors."""
    found = []
    for weight in weights:
        grid = fq.calibrate(weight, bits, axis=0, method=method, symmetric=True)
        found.append(fq.sqnr(weight, fq.fake_quantize(weight, *grid)))
    return np.mean(found)


noise = {method: [decibels(method, bits) for bits in BITS] for method in METHODS}

figure = Figure(figsize=(6, 4), layout="constrained")
axes = figure.subplots()
for method, (style, colour) in METHODS.items():
    axes.plot(BITS, noise[method], style, color=colour, label=method)
axes.set(xlabel="bits per weight", ylabel="signal to quantization noise, dB", xticks=BITS)
axes.legend()
figure.savefig("ranges.svg")
three = BITS.index(3)
print(f"at 3 bits: {noise['minmax'][three]:.1f} dB by minmax, {noise['mse'][three]:.1f} dB by mse")
