"""Draws how far codes move the gradient of a scale, beside how far minibatches move it: digits at 4, 3 and 2 bits."""

import numpy as np
from matplotlib.figure import Figure

import fq
from benchmarks.plot import BLUE, SKY, VERMILION
from fq._demo_data import load
from fq._demo_net import BATCH, Adam, LearnedQuantizer, Network

BITS = 4, 3, 2
CODES = {"8 bits": ("", VERMILION), "4 bits": ("_packed", BLUE)}
EPOCHS = 15


def trained():
    """The digits, and a network that was trained on them in float."""
    data, rng = load(None, np.random.default_rng([0, 0])), np.random.default_rng(1)
    network = Network.random((data.x_train.shape[1], 128, 64, data.classes), rng)
    adam = Adam(network.parameters)
    for _ in range(EPOCHS):
        for rows in batches(data, rng):
            adam.step(network.gradients(data.x_train[rows], data.y_train[rows]), 0.003)
    return data, network


def batches(data, rng):
    """The rows of each minibatch of an epoch."""
    n = len(data.x_train) // BATCH * BATCH
    return rng.permutation(len(data.x_train))[:n].reshape(-1, BATCH)


class Recording(LearnedQuantizer):
    """Keeps dscale of every minibatch, exact and by codes."""

    def __init__(self, bits, starts_from):
        super().__init__(bits, starts_from, 1)
        self.seen = []

    def backward(self, dy):
        exact = fq.backward_learnable(dy, self._kept, *self.qparams)
        row = [exact[1].item()]
        for suffix, _ in CODES.values():
            forward, backward = getattr(fq, f"forward_residual{suffix}"), getattr(fq, f"backward_residual{suffix}")
            row.append(backward(dy, forward(self._kept, *self.qparams)[1], *self.qparams)[1].item())
        self.seen.append(row)
        return exact[0]


def measured():
    """Of each number of bits: the rms error of each code, relative to the deviation of dscale from batch to batch."""
    data, network = trained()
    found = {}
    for bits in BITS:
        quantized = network.quantized(bits, data.x_train)
        recording = [Recording(bits, layer.input_quantizer.qparams) for layer in quantized.layers[1:]]
        for layer, quantizer in zip(quantized.layers[1:], recording, strict=True):
            layer.input_quantizer = quantizer
        for rows in np.concatenate([batches(data, np.random.default_rng(seed)) for seed in range(4)]):
            quantized.gradients(data.x_train[rows], data.y_train[rows])
        found[bits] = np.mean([_relative(np.array(one.seen)) for one in recording], axis=0)
    return found


def _relative(seen):
    """The rms errors of all codes over the standard deviation of the exact gradient."""
    exact = seen[:, :1]
    return np.sqrt(np.mean((seen[:, 1:] - exact) ** 2, axis=0)) / exact.std()


def picture():
    """A group of bars for each number of bits."""
    found = measured()
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    height = 0.35
    for place, (name, (_, colour)) in enumerate(CODES.items()):
        values = [100 * found[bits][place] for bits in BITS]
        at = np.arange(len(BITS)) + (place - 0.5) * height
        bars = axes.barh(at, values, height, color=colour, edgecolor="black", label=f"codes of {name}")
        axes.bar_label(bars, [f"{value:.2g}%" for value in values], padding=3)
    axes.axvline(100, color=SKY, linewidth=3, label="minibatches themselves")
    axes.set(xscale="log", xlim=(0.05, 3000), xlabel="error of dscale, % of its deviation from minibatch to minibatch")
    axes.set_yticks(range(len(BITS)), [f"{bits} bits" for bits in BITS])
    axes.set_title("What codes change of the gradient of a scale: activations of a network on digits")
    axes.invert_yaxis()
    axes.legend(loc="upper right", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
