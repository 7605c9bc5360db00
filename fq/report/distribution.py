"""The noise that a grid would make of a tensor, from the distribution of its values alone."""

from typing import Any

import numpy as np

from fq._bins import Bins
from fq.report.tensors import Array

__all__ = ["noise"]


def noise(bins: Bins, scale: Any, zero_point: Any, qmin: int, qmax: int) -> Array:
    """The sum of the squared errors of fake quantization, from the distribution alone.

    The values of a bin are taken to lie evenly about their mean, as widely as their variance says. Where they fall into
    one level, where all are equal, and where they are two, the sum is exact.

    Parameters
    ----------
    bins : Bins
        Of one set.
    scale, zero_point : array_like
        Of one shape: one grid for each element of the result.
    qmin, qmax : int

    Returns
    -------
    ndarray of float64
    """
    scale, zero_point = (np.asarray(one, np.float64)[..., None] for one in (scale, zero_point))
    first, last = qmin - zero_point, qmax - zero_point
    count, mean, variance = _pairs_apart(bins)
    half = np.sqrt(3.0 * variance)
    lower, upper = (mean - half) / scale, (mean + half) / scale
    width = upper - lower
    narrow = width < 1e-4
    spread = (_integral(upper, first, last) - _integral(lower, first, last)) / np.where(narrow, 1.0, width)
    point = (mean / scale - np.clip(np.rint(mean / scale), first, last)) ** 2 + variance / scale**2
    found: Array = (np.where(narrow, point, spread) * count).sum(-1) * scale[..., 0] ** 2
    return found


def _pairs_apart(bins: Bins) -> tuple[Array, ...]:
    """Count, mean and variance of each bin, and of two values in a bin apart, which the sums tell."""
    mean = bins.total / bins.count
    variance = np.maximum(bins.square / bins.count - mean * mean, 0.0)
    pair = bins.count == 2
    away = np.sqrt(variance[pair])
    values = np.concatenate([mean[pair] - away, mean[pair] + away])
    alone = np.ones(len(values)), values, np.zeros(len(values))
    joined = bins.count, mean, variance
    return tuple(np.concatenate([one[~pair], two]) for one, two in zip(joined, alone, strict=True))


def _integral(t: Array, first: Array, last: Array) -> Array:
    """The squared distance to the nearest level, in steps, integrated to t from a place that does not depend on t."""
    inside = np.clip(t, first - 0.5, last + 0.5)
    level = np.rint(inside)
    away = inside - level
    near = level / 12 + _third(away)
    found: Array = near + _third(np.maximum(t, last + 0.5) - last) - _third(first - np.minimum(t, first - 0.5))
    return found


def _third(distance: Array) -> Array:
    """The integral of a square. A power would be ten times as slow."""
    area: Array = distance * distance * distance / 3
    return area
