"""The demonstration: trains a small network with fake quantization on real data, in NumPy, and prints what it cost.

A multilayer perceptron is trained in float, quantized after training (PTQ), and trained on with fq from there (QAT).
Weights have a symmetric grid per channel, one for each output; activations, the data too, an affine one per tensor.
"""

import os
import sys
import time
from typing import NamedTuple

import numpy as np

import fq
from fq._demo_data import load
from fq._demo_net import BATCH, Adam, Network
from fq._input import InputError, need

__all__ = ["InputError", "Row", "run"]

_HIDDEN = (128, 64)
_LEARNING_RATE = 0.003
_PLOTS = (".png", ".pdf", ".svg")
_NOTES = """\
Accuracy on {test:,} samples of {classes} classes, after training on {train:,} others.
PTQ: quantized after training in float. QAT: trained on from there with fq.
Bytes kept from forward to backward for the activations of a batch of {batch} and for the weights, whose x stays anyway.
Times are medians of QAT, choose_qparams included, and vary from run to run; all else is given by the seed."""

_NOTE_ON_LEARNED = (
    "learned: QAT with scales learned by gradient (LSQ), as long; it keeps x. The costs are those of QAT."
)


class Row(NamedTuple):
    """A row of the table: accuracies on the test part, and the cost of a step of QAT (seconds are medians)."""

    bits: int
    float_accuracy: float
    ptq_accuracy: float
    qat_accuracy: float
    x_bytes: int
    mask_bytes: int
    fq_seconds: float
    step_seconds: float
    learned_accuracy: float | None = None  # of QAT with learned scales


def run(bits, epochs, seed, data_path=None, plot_path=None, learn_scale=False):
    """Train at each of the bits, print the table, and draw it if plot_path is given; returns the rows."""
    bits = list(dict.fromkeys(bits))
    _check(bits, epochs, seed, plot_path)
    tqdm = need("tqdm", "tqdm").tqdm
    limits = need("threadpoolctl", "scikit-learn").threadpool_limits
    if plot_path is not None:
        need("matplotlib", "matplotlib")
    data = load(data_path, np.random.default_rng([seed, 0]))
    # On matrices this small a second thread gains nothing, and where cores are busy BLAS is ten times slower for it.
    with limits(1, user_api="blas"):
        rows = _train_all(data, bits, epochs, seed, tqdm, learn_scale)
    print(_table(rows, data))
    if plot_path is not None:
        _draw(rows, plot_path)
    return rows


def _check(bits, epochs, seed, plot_path):
    for one in bits:
        try:
            fq.choose_qparams(-1.0, 1.0, one)
        except ValueError as error:
            raise InputError(f"argument --bits: {error}") from None
    if epochs < 1:
        raise InputError(f"argument --epochs: must be 1 or more, got {epochs}")
    if seed < 0:
        raise InputError(f"argument --seed: must be 0 or more, got {seed}")
    if plot_path is not None:
        _check_writable(plot_path)


def _check_writable(path):
    folder = os.path.dirname(path) or "."
    if not path.lower().endswith(_PLOTS):
        raise InputError(f"argument --plot: {path} must end in {', '.join(_PLOTS)}")
    if not os.path.isdir(folder):
        raise InputError(f"argument --plot: {folder} is not a folder")
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise InputError(f"argument --plot: {path} cannot be written")


def _train_all(data, bits, epochs, seed, tqdm, learn_scale):
    sizes = (data.x_train.shape[1], *_HIDDEN, data.classes)
    network = Network.random(sizes, np.random.default_rng([seed, 1]))
    rows = []
    with tqdm(total=epochs * (1 + len(bits) * (1 + learn_scale)), unit="epoch", file=sys.stderr) as bar:
        bar.set_description("float")
        _train(network, data, epochs, np.random.default_rng([seed, 2]), bar)
        float_accuracy = network.accuracy(data.x_test, data.y_test)
        for one in bits:
            bar.set_description(f"{one} bits")
            quantized = network.quantized(one, data.x_train)
            ptq_accuracy = quantized.accuracy(data.x_test, data.y_test)
            cost = _train(quantized, data, epochs, np.random.default_rng([seed, 3, one]), bar)
            row = Row(one, float_accuracy, ptq_accuracy, quantized.accuracy(data.x_test, data.y_test), *cost)
            if learn_scale:
                learned = network.quantized(one, data.x_train, learn_scale=True)
                _train(learned, data, epochs, np.random.default_rng([seed, 3, one]), bar)
                row = row._replace(learned_accuracy=learned.accuracy(data.x_test, data.y_test))
            rows.append(row)
    return rows


def _train(network, data, epochs, rng, bar):
    """Train in place; returns the bytes of x, the bytes of the masks, and the median seconds in fq and of a step."""
    n, batch = len(data.x_train), _batch(data)
    steps = n // batch
    adam, seconds, quantizers = Adam(network.parameters), [], network.quantizers
    for epoch in range(epochs):
        for k, rows in enumerate(rng.permutation(n)[: steps * batch].reshape(steps, batch)):
            rate = _LEARNING_RATE * (1 + np.cos(np.pi * (epoch * steps + k) / (epochs * steps))) / 2
            fq_start, start = sum(one.seconds for one in quantizers), time.perf_counter()
            adam.step(network.gradients(data.x_train[rows], data.y_train[rows]), rate)
            step_seconds = time.perf_counter() - start
            seconds.append((sum(one.seconds for one in quantizers) - fq_start, step_seconds))
        bar.update()
    x_bytes, mask_bytes = sum(one.x_bytes for one in quantizers), sum(one.mask_bytes for one in quantizers)
    return x_bytes, mask_bytes, *np.median(seconds, axis=0).tolist()


def _batch(data):
    return min(BATCH, len(data.x_train))


def _table(rows, data):
    learned = rows[0].learned_accuracy is not None
    column = "  learned" if learned else ""
    lines = [f"bits    float      PTQ      QAT{column}    bytes, x kept  bytes, mask kept   ms in fq  ms a step"]
    for row in rows:
        shown = [*row[1:4], row.learned_accuracy] if learned else row[1:4]
        accuracies = "".join(f"{accuracy:9.1%}" for accuracy in shown)
        times = f"{1e3 * row.fq_seconds:11.3f}{1e3 * row.step_seconds:11.3f}"
        lines.append(f"{row.bits:4}{accuracies}{row.x_bytes:17,}{row.mask_bytes:18,}{times}")
    notes = _NOTES.format(test=len(data.x_test), classes=data.classes, train=len(data.x_train), batch=_batch(data))
    return "\n".join([*lines, "", notes, *([_NOTE_ON_LEARNED] if learned else [])])


def _draw(rows, path):
    from fq._demo_plot import draw

    try:
        draw(rows, path)
    except OSError as error:
        raise InputError(f"argument --plot: {path}: {error.strerror or error}") from None
