"""The noise of float formats: fp8 with a scale per channel, and blocks that share a scale along a channel."""

import math

import numpy as np

import fq
from fq.blocks import found_tensor_scale
from fq.formats import BlockFormat, FloatGrid
from fq.report.tensors import Array

__all__ = ["FORMATS", "Noise"]

_OF_CHANNELS = "e4m3fn", "e5m2"

#: What is measured, by its name in `fq.formats`; powers of two are chosen by the rule "fit", the best one for weights.
FORMATS: dict[str, FloatGrid | BlockFormat] = {
    **{name: getattr(fq.formats, name) for name in _OF_CHANNELS},
    **{
        name: one._replace(rule="fit") if one.scale == "e8m0" else one
        for name in fq.formats.__all__
        if isinstance(one := getattr(fq.formats, name), BlockFormat)
    },
}


class Noise:
    """The sums of squared errors of a tensor, by format.

    Parameters
    ----------
    absmax : ndarray
        The largest magnitude of each row.
    """

    def __init__(self, absmax: Array) -> None:
        self._absmax = absmax
        self.sums = dict.fromkeys(FORMATS, 0.0)

    def add(self, rows: slice, piece: Array) -> None:
        """Those of a piece of some rows."""
        widest = np.maximum(self._absmax[rows], np.finfo(np.float32).tiny)[:, np.newaxis]
        most = np.array([self._absmax.max()])
        for name, one in FORMATS.items():
            if isinstance(one, BlockFormat):
                scale = found_tensor_scale(most, one.grid.max) if one.scale == "e4m3" else None
                y = fq.blocks.fake_quantize(piece, one, tensor_scale=scale)
            else:
                y = fq.floats.fake_quantize(piece, np.maximum(widest / one.max, 2.0**-126), *one)
            np.subtract(y, piece, out=y)
            self.sums[name] += math.fsum(np.vecdot(y, y).tolist())
