"""The demonstration: trains a small network with fake quantization on real data, in NumPy, and prints what it cost.

A multilayer perceptron is trained in float, quantized after training (PTQ), trained on with fq instead (QAT), and
turned into integers that run. Weights have a symmetric grid per channel, one for each output; activations, the data
too, an affine one per tensor: each the grid of the least squared error, chosen anew at every epoch.
"""

import os
import sys
import time
from typing import NamedTuple

import numpy as np

import fq
from fq._demo_data import load
from fq._demo_integers import IntegerNetwork, float_file_bytes
from fq._demo_net import BATCH, Adam, Network
from fq._input import InputError, need

__all__ = ["InputError", "Row", "run"]

_HIDDEN = (128, 64)
_LEARNING_RATE = 0.003
_PLOTS = (".png", ".pdf", ".svg")
_NOTES = """\
Accuracy on {test:,} samples of {classes} classes, after training on {train:,} others.
float: trained for {epochs} epochs. PTQ: quantized after these. QAT: half of these in
float, half with fq. ints: QAT's network in integers, of which {agree} of
{test:,} answers are those that it was trained to give. KB: a file of these integers
and their scales; in float {float_bytes:.1f}. A step of QAT keeps {mask:,} bytes of masks, a
bit per element, where keeping x would take {x:,}: for the activations of a
batch of {batch}, and the weights. Times are medians of QAT, with what observes
ranges, and vary from run to run; all else is given by the seed."""

_NOTE_ON_LEARNED = """\
learned: QAT with scales learned by gradient (LSQ), as long; of the activations
of a batch it keeps {kept}: {bytes:,} bytes. Times and other bytes are those of QAT."""

_KEEPS = {"x": "x", "residual": "codes of 8 bits", "residual4": "codes of 4 bits"}


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
    integer_accuracy: float
    agree: int  # answers of the integers that are those of QAT's network
    integer_bytes: int
    float_bytes: int
    learned_accuracy: float | None = None  # of QAT with learned scales
    learned_bytes: int | None = None  # that this keeps of activations


def run(bits, epochs, seed, data_path=None, plot_path=None, learn_scale=False, keep=None):
    """Train at each of the bits, print the table, and draw it if plot_path is given; returns the rows."""
    bits = list(dict.fromkeys(bits))
    _check(bits, epochs, seed, plot_path)
    if keep is not None and not learn_scale:
        raise InputError("argument --keep: only --learn-scale keeps more than a bit per element")
    keep = keep or "x"
    tqdm = need("tqdm", "tqdm").tqdm
    limits = need("threadpoolctl", "scikit-learn").threadpool_limits
    if plot_path is not None:
        need("matplotlib", "matplotlib")
    data = load(data_path, np.random.default_rng([seed, 0]))
    # On matrices this small a second thread gains nothing, and where cores are busy BLAS is ten times slower for it.
    with limits(1, user_api="blas"):
        rows = _train_all(data, bits, epochs, seed, tqdm, keep if learn_scale else None)
    print(_table(rows, data, epochs, keep))
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


def _train_all(data, bits, epochs, seed, tqdm, keep):
    """keep: what learned scales keep of activations; None: no scales are learned."""
    sizes = (data.x_train.shape[1], *_HIDDEN, data.classes)
    network = Network.random(sizes, np.random.default_rng([seed, 1]))
    rows = []
    with tqdm(total=epochs * (2 + len(bits) * (1 + (keep is not None))), unit="epoch", file=sys.stderr) as bar:
        bar.set_description("float")
        _train(network, data, epochs, np.random.default_rng([seed, 2]), bar)
        trained_on = network.copy()
        _train(trained_on, data, epochs, np.random.default_rng([seed, 3]), bar)
        for one in bits:
            bar.set_description(f"{one} bits")
            rows.append(_train_one(network, trained_on, data, one, epochs, seed, bar, keep))
    return rows


def _train_one(network, trained_on, data, bits, epochs, seed, bar, keep):
    """The row of so many bits: trained from network on, beside trained_on, the network that went on in float."""
    test = data.x_test, data.y_test
    ptq_accuracy = trained_on.quantized(bits, data.x_train).accuracy(*test)
    quantized = network.quantized(bits, data.x_train)
    cost = _train(quantized, data, epochs, np.random.default_rng([seed, 3, bits]), bar)
    integers = IntegerNetwork(quantized)
    answers = integers.evaluate(data.x_test).argmax(1)
    agree = int(np.sum(answers == quantized.evaluate(data.x_test).argmax(1)))
    of_integers = float(np.mean(answers == data.y_test)), agree, integers.file_bytes(), float_file_bytes(trained_on)
    row = Row(bits, trained_on.accuracy(*test), ptq_accuracy, quantized.accuracy(*test), *cost, *of_integers)
    if keep is not None:
        learned = network.quantized(bits, data.x_train, learn_scale=True, keep=keep)
        _train(learned, data, epochs, np.random.default_rng([seed, 3, bits]), bar)
        kept = sum(layer.input_quantizer.mask_bytes for layer in learned.layers)
        row = row._replace(learned_accuracy=learned.accuracy(*test), learned_bytes=kept)
    return row


def _train(network, data, epochs, rng, bar):
    """Train in place; returns the bytes of x, the bytes of the masks, and the median seconds in fq and of a step."""
    n, batch = len(data.x_train), _batch(data)
    steps = n // batch
    adam, seconds, quantizers = Adam(network.parameters), [], network.quantizers
    for epoch in range(epochs):
        network.calibrate()
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


def _table(rows, data, epochs, keep):
    learned = rows[0].learned_accuracy is not None
    column = "  learned" if learned else ""
    lines = [f"bits    float      PTQ      QAT{column}     ints      KB   ms in fq  ms a step"]
    for row in rows:
        shown = [*row[1:4], *([row.learned_accuracy] if learned else []), row.integer_accuracy]
        accuracies = "".join(f"{accuracy:9.1%}" for accuracy in shown)
        times = f"{1e3 * row.fq_seconds:11.3f}{1e3 * row.step_seconds:11.3f}"
        lines.append(f"{row.bits:4}{accuracies}{row.integer_bytes / 1000:8.1f}{times}")
    sizes = {"test": len(data.x_test), "train": len(data.x_train), "classes": data.classes, "batch": _batch(data)}
    fewest = min(row.agree for row in rows)
    agree = "all" if fewest == len(data.x_test) else f"{fewest:,} or more"
    costs = {"mask": rows[0].mask_bytes, "x": rows[0].x_bytes, "float_bytes": rows[0].float_bytes / 1000}
    notes = _NOTES.format(**sizes, **costs, agree=agree, epochs=2 * epochs)
    if learned:
        notes += "\n" + _NOTE_ON_LEARNED.format(kept=_KEEPS[keep], bytes=rows[0].learned_bytes)
    return "\n".join([*lines, "", notes])


def _draw(rows, path):
    from fq._demo_plot import draw

    try:
        draw(rows, path)
    except OSError as error:
        raise InputError(f"argument --plot: {path}: {error.strerror or error}") from None
