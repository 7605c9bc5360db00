"""OpenVINO's: the operation FakeQuantize.

Arithmetic: float32, of the ends of the range as values: x * a - input_low * a with a = (levels - 1) / (input_high -
input_low), then back alike. Rounding: half to even, of levels counted from the low end: ties go to another side than in
`fq` where the zero point is odd. NaN: output_low. Infinities clamp. Zero point: none; 0.0 is a level only where the
ends say so. The level is OpenVINO's; the last bits of y are too for most ends, and for others OpenVINO multiplies in
another order. There is no gradient in OpenVINO: the straight-through one between the ends is here. The source is the
operation's specification and, for the order of roundings, src/plugins/intel_cpu/src/nodes/fake_quantize.cpp.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq.dialects._shared import Array, backward, read

__all__ = ["backward", "fake_quantize", "forward"]


def fake_quantize(
    x: ArrayLike,
    input_low: ArrayLike,
    input_high: ArrayLike,
    output_low: ArrayLike,
    output_high: ArrayLike,
    levels: int,
) -> Array:
    """What FakeQuantize gives.

    Parameters
    ----------
    x : array_like of float32
    input_low, input_high, output_low, output_high : array_like of float32
        They broadcast into x.
    levels : int
        2 or more.

    Returns
    -------
    y : ndarray of float32

    Examples
    --------
    >>> import numpy as np
    >>> fake_quantize(np.float32([-9.0, 0.2, 9.0]), -1.0, 1.0, -1.0, 1.0, 5).tolist()
    [-1.0, 0.0, 1.0]
    """
    return forward(x, input_low, input_high, output_low, output_high, levels)[0]


def forward(
    x: ArrayLike,
    input_low: ArrayLike,
    input_high: ArrayLike,
    output_low: ArrayLike,
    output_high: ArrayLike,
    levels: int,
) -> tuple[Array, NDArray[np.bool_]]:
    """The same, and which elements lay between the ends.

    Parameters
    ----------
    x, input_low, input_high, output_low, output_high, levels
        As for `fake_quantize`.

    Returns
    -------
    y : ndarray of float32
    mask : ndarray of bool

    Examples
    --------
    >>> import numpy as np
    >>> forward(np.float32([-9.0, 0.2, 9.0]), -1.0, 1.0, -1.0, 1.0, 5)[1].tolist()
    [False, True, False]
    """
    given_levels: Any = levels
    if isinstance(given_levels, bool) or not isinstance(given_levels, (int, np.integer)) or levels < 2:
        raise ValueError(f"levels must be an integer of 2 or more, got {levels!r}")
    x, steps = read(x, "float32"), np.float32(levels - 1)
    given: Any = (input_low, input_high, output_low, output_high)
    low, high, to_low, to_high = (np.asarray(one, np.float32) for one in given)
    if not all(np.isfinite(one).all() for one in (low, high, to_low, to_high)):
        raise ValueError("the ends must be finite")
    with np.errstate(all="ignore"):
        least, most = np.minimum(low, high), np.maximum(low, high)
        clamped = np.where(x > least, np.where(x < most, x, most), least)  # NaN becomes the least
        factor = steps / (high - low)
        level = np.rint(clamped * factor - low * factor)
        unit = ((to_high.astype(np.float64) - to_low) / float(steps)).astype(np.float32)
        y = level * unit + to_low
    return np.asarray(y, np.float32), (least <= x) & (x <= most)
