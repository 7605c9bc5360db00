"""TensorFlow's fake_quant_with_min_max_vars, per tensor and per channel."""

import os
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when it is imported

import tensorflow as tf

from fq.testing.strategies import RANGES
from fq.testing.subject import Candidate, Supports

_ABOUT = """\
`tf.quantization.fake_quant_with_min_max_vars` is given the ends of the range as values, works scale and zero_point out
of them in float32 again, and adds a half and takes the floor in place of rounding to even. Its gradient passes between
the ends themselves."""


def candidates(_arithmetic: str) -> list[Candidate]:
    """Two."""
    ranges = tuple(one for one in RANGES if one in ((-127, 127),) or (one[1] - one[0] + 1).bit_length() > 2)
    made = [
        ("TensorFlow", _per_tensor, Supports(("float32",), ranges)),
        ("TensorFlow per channel", _per_channel, Supports(("float32",), ranges, channels=True)),
    ]
    return [_candidate(*one) for one in made]


def _candidate(name: Any, function: Any, supports: Any) -> Any:
    def gradient(dy: Any, x: Any, *qparams: Any) -> Any:
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, *qparams)
        return tape.gradient(y, x, tf.constant(dy)).numpy()

    def forward(x: Any, *qparams: Any) -> Any:
        return function(tf.constant(x), *qparams).numpy()

    return Candidate(name, forward, supports, _ABOUT, {"TensorFlow": tf.__version__}, gradient=gradient)


def _range(scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    """The ends as values, and the options that say how many levels there are: 2**bits, or one less."""
    levels = qmax - qmin + 1
    low, high = (np.float32((level - zero_point) * scale) for level in (qmin, qmax))
    return low, high, {"num_bits": levels.bit_length() - (levels % 2 == 0), "narrow_range": levels % 2 == 1}


def _per_tensor(x: Any, *qparams: Any) -> Any:
    low, high, options = _range(*qparams)
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high, **options)


def _per_channel(x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    """Channels are along its last axis; a number is for the only channel of an axis put there."""
    low, high, options = _range(scale, zero_point, qmin, qmax)
    operation = tf.quantization.fake_quant_with_min_max_vars_per_channel
    if np.ndim(scale) == 0:
        return operation(x[..., None], low[None], high[None], **options)[..., 0]
    if np.argmax(scale.shape) == scale.ndim - 1:
        return operation(x, low.reshape(-1), high.reshape(-1), **options)
    order = [1, 0]
    return tf.transpose(operation(tf.transpose(x, order), low.reshape(-1), high.reshape(-1), **options), order)
