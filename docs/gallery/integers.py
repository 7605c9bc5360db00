"""Store a photograph in 8 to 1 bits per value, and get back exactly what was fake-quantized."""

import io

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import fq

BITS = (8, 4, 2, 1)
photograph = load_sample_image("china.jpg")[140:260, 160:280]
x = photograph.astype(np.float32) / 255
rows = x.reshape(len(x), -1)


def stored(bits):
    """A file of the integers and their grid."""
    grid = fq.calibrate(rows, bits, signed=False, method="mse")
    integers = fq.quantize(rows, *grid) if bits == 8 else fq.quantize_packed(rows, *grid, bits)
    file = io.BytesIO()
    np.savez(file, integers=integers, scale=grid.scale, zero_point=grid.zero_point)
    return grid, file


def loaded(file, bits):
    """The values again, from the file alone."""
    file.seek(0)
    kept = np.load(file)
    if bits == 8:
        return fq.dequantize(kept["integers"], kept["scale"], kept["zero_point"])
    return fq.dequantize_packed(kept["integers"], kept["scale"], kept["zero_point"], bits, rows.shape[1], signed=False)


figure = Figure(figsize=(5.6, 6), layout="constrained")
same, sizes = [], []
for axes, bits in zip(figure.subplots(2, 2).flat, BITS, strict=True):
    grid, file = stored(bits)
    y = loaded(file, bits)
    same.append(np.array_equal(y, fq.fake_quantize(rows, *grid)))
    sizes.append(file.getbuffer().nbytes)
    axes.imshow(np.clip(y, 0, 1).reshape(x.shape), interpolation="none")
    axes.set_title(f"{bits} bit{'s' * (bits > 1)}: {sizes[-1] / 1000:.1f} kB")
    axes.axis("off")
figure.savefig("integers.svg")
print(f"float32: {rows.nbytes / 1000:.1f} kB; 2 bits: {sizes[2] / 1000:.1f} kB", end="; ")
print(f"bit for bit what was fake-quantized: {all(same)}")
