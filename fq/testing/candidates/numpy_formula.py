"""The formula in NumPy, as one would write it."""

import numpy as np

from fq.testing.subject import Candidate, Supports

_ABOUT = """\
Written in four lines. Arrays of an integer type make float64 of float32, so a zero_point for each channel changes the
type of y, and float16 divided by a float32 scale is float32."""


def candidates(arithmetic):
    """One, in either arithmetic."""

    def forward(x, scale, zero_point, qmin, qmax):
        level = np.rint(x / scale if arithmetic == "divide" else x * (1 / scale)) + zero_point
        mask = (level >= qmin) & (level <= qmax)
        return (np.clip(level, qmin, qmax) - zero_point) * scale, mask

    def gradient(dy, x, *qparams):
        return dy * forward(x, *qparams)[1]

    supports = Supports(dtypes=("float32", "float16", "float64"), channels=True)
    return [Candidate("NumPy formula", forward, supports, _ABOUT, gradient=gradient)]
