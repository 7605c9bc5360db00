"""Measures a tensor: its values, and the noise of real fake quantization by bits, granularity and clip."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fq
from fq._bins import Bins
from fq._seen import Seen
from fq.report.blocks import Blocks
from fq.report.distribution import noise
from fq.report.formats import Noise
from fq.report.ranges import BITS, best_grids, whole_grid, widest_grids
from fq.report.tensors import Array, Tensor

__all__ = ["BITS", "CLIPS", "EXACT", "GRANULARITIES", "Channels", "Measured", "decibels", "measure"]

GRANULARITIES = ("tensor", "channel", "group")
CLIPS = ("minmax", "mse")
EXACT = 300.0  # dB, where there is no noise at all

_COLUMNS = 96
_OUTLIER = 6  # standard deviations
_ORDINARY = 1e-12, 1e12  # largest values whose squared errors are numbers of float32

Advance = Callable[[int], object]


@dataclass
class Channels:
    """What is known of each output channel.

    Attributes
    ----------
    absmax : ndarray
        The largest magnitude in it.
    sqnr : ndarray
        At 4 bits with the mse clip, a scale per channel; NaN where all is zero.
    """

    absmax: Array
    sqnr: Array


@dataclass
class Measured:
    """A tensor and what was found; values are None where there is nothing to measure.

    Attributes
    ----------
    tensor : Tensor
    low, high, std, peak, kurtosis : float or None
        Of the finite values; peak is the largest magnitude in standard deviations.
    outliers, zeros, nan, inf : int or None
        How many values lie more than 6 standard deviations from the mean, are 0.0, NaN or infinite.
    sqnr, clipped : dict
        ``sqnr[granularity][clip]`` has a value for each of `BITS`: dB, and the share of values beyond the grid's ends.
    predicted : dict
        ``predicted[clip]``: dB from the distribution alone, for one scale for the whole tensor.
    grids : dict
        ``grids[clip]``: the grid (scale, zero_point, qmin, qmax) of the whole tensor for each of `BITS`.
    formats : dict
        ``formats[name]`` is the dB of a float format of `fq.formats`: of fp8 with a scale per channel, and of blocks.
    channels : Channels or None
    columns : list of int
        A histogram from low to high, of columns of equal width, counted to three digits.
    bits : int or None
        What a budget gives the tensor.
    """

    tensor: Tensor
    low: float | None = None
    high: float | None = None
    std: float | None = None
    peak: float | None = None
    kurtosis: float | None = None
    outliers: int | None = None
    zeros: int | None = None
    nan: int | None = None
    inf: int | None = None
    sqnr: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    clipped: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    predicted: dict[str, list[float | None]] = field(default_factory=dict)
    grids: dict[str, list[tuple[float, int, int, int]]] = field(default_factory=dict)
    formats: dict[str, float | None] = field(default_factory=dict)
    channels: Channels | None = None
    columns: list[int] = field(default_factory=list)
    bits: int | None = None


def decibels(signal: float, noise: float) -> float | None:
    """Signal to quantization noise, None without a signal, and EXACT without noise."""
    if not signal:
        return None
    return min(10 * math.log10(signal / noise), EXACT) if noise else EXACT


def measure(tensor: Tensor, array: Array, group: int, advance: Advance) -> Measured:
    """Measure an array.

    Parameters
    ----------
    tensor : Tensor
        What is known of it.
    array : ndarray of floats
    group : int
        Elements with a scale of their own, where the granularity is "group".
    advance : callable
        Called with the number of elements done, which sums up to the array's size.

    Returns
    -------
    Measured
    """
    found = Measured(tensor)
    if not array.size:
        advance(0)
        return found
    blocks = Blocks(array, tensor.axis, group)
    absmax = _count(found, blocks)
    if found.low is None or found.high is None:  # nothing in it is finite
        advance(array.size)
        return found
    observer = fq.Observer()
    for _, piece in blocks:
        observer.update(piece)
    seen, bins = observer._something("a report"), observer._bins()
    blocks.finite = not found.nan and not found.inf
    _describe(found, bins, blocks.unit)
    _whole(found, seen, bins, blocks, tensor.kind == "weight")
    _measure_all(found, blocks, absmax, float(bins.square.sum()), group, advance)
    return found


def _count(found: Measured, blocks: Blocks) -> Array:
    """Fill in ends and counts; gives the largest magnitude of each row, in the blocks' unit."""
    absmax, low, high = np.zeros(blocks.count), math.inf, -math.inf
    found.nan = found.inf = found.zeros = 0
    for rows, piece in blocks:
        found.zeros += piece.size - int(np.count_nonzero(piece))
        finite = np.isfinite(piece)
        if whole := bool(finite.all()):
            values = piece
        else:
            values, nan = piece[finite], int(np.isnan(piece).sum())
            found.nan, found.inf = found.nan + nan, found.inf + piece.size - values.size - nan
        low, high = min(low, float(values.min(initial=low))), max(high, float(values.max(initial=high)))
        absmax[rows] = np.maximum(absmax[rows], np.abs(piece if whole else np.where(finite, piece, 0)).max(1))
    if low <= high:
        found.low, found.high = low, high
        most = max(-low, high)
        if most and not _ORDINARY[0] < most < _ORDINARY[1]:
            blocks.unit = 2.0 ** min(max(math.frexp(most)[1], -1021), 1023)
    return absmax / blocks.unit


def _describe(found: Measured, bins: Bins, unit: float) -> None:
    """What the distribution says of the values."""
    assert found.low is not None
    assert found.high is not None
    n = bins.count.sum()
    mean, middle = bins.total.sum() / n, bins.total / bins.count
    variance = max(bins.square.sum() / n - mean * mean, 0.0)
    std, far = math.sqrt(variance), np.square(middle - mean)
    found.std, found.columns = std * unit, _columns(bins, found.low / unit, found.high / unit)
    if std > 1e-9 * max(-found.low, found.high) / unit:  # otherwise all are equal, but for rounding
        found.peak = max(-found.low, found.high) / unit / std
        found.kurtosis = float((bins.count * far * far).sum() / n / variance**2)
        found.outliers = int(bins.count[far > _OUTLIER**2 * variance].sum())
    else:
        found.outliers = 0


def _columns(bins: Bins, low: float, high: float) -> list[int]:
    """Counts of columns of equal width: what is in a bin lies evenly in it."""
    ends, after = np.stack([bins.lower, bins.upper], 1).ravel(), np.cumsum(bins.count)
    below = np.stack([after - bins.count, after], 1).ravel()
    edges = np.linspace(low, high, _COLUMNS + 1)
    counts = np.diff(np.interp(edges, ends, below))
    counts[0] += np.interp(low, ends, below)
    counts[-1] += after[-1] - np.interp(high, ends, below)
    return [int(float(f"{n:.3g}")) for n in np.ceil(counts)]


def _whole(found: Measured, seen: Seen, bins: Bins, blocks: Blocks, symmetric: bool) -> None:
    """The grids of the whole tensor, and the noise that the distribution predicts for them."""
    assert found.low is not None
    assert found.high is not None
    low, high = min(found.low, 0.0) / blocks.unit, max(found.high, 0.0) / blocks.unit
    if symmetric:
        low, high = -max(-low, high), max(-low, high)
    signal = float(bins.square.sum())
    for clip in CLIPS:
        found.grids[clip], found.predicted[clip] = [], []
        for bits in BITS:
            grid = whole_grid(seen, low, high, bits, symmetric, clip)
            found.grids[clip].append((float(grid.scale), int(grid.zero_point), grid.qmin, grid.qmax))
            found.predicted[clip].append(decibels(signal, float(noise(bins, *grid))))


def _measure_all(found: Measured, blocks: Blocks, absmax: Array, signal: float, group: int, advance: Advance) -> None:
    """Fake quantize with every grid, and sum the squared errors."""
    several = found.tensor.kind == "weight" and len(found.tensor.shape) > 1
    granularities = GRANULARITIES if several else GRANULARITIES[:1]
    sums = {(gran, clip): np.zeros((2, len(BITS))) for gran in granularities for clip in CLIPS}
    floats = Noise(absmax)
    own = np.zeros((2, blocks.count))  # signal and noise of each channel at 4 bits
    for rows, pieces in blocks.strips():
        if several:
            grids = widest_grids(absmax[rows], blocks.piece_type)
            best = best_grids(grids, pieces())
        for piece in pieces():
            for clip in CLIPS:
                for i in range(len(BITS)):
                    sums["tensor", clip][:, i] += _tried(piece, *found.grids[clip][i])[:2]
            if several:
                own[0, rows] += np.vecdot(piece, piece)
                own[1, rows] += _measure_rows(piece, grids, best, "channel", sums)
                _measure_groups(piece, group, sums)
                floats.add(rows, piece)
            advance(piece.size)
    size = found.tensor.size
    for gran in granularities:
        found.sqnr[gran] = {clip: [decibels(signal, one) for one in sums[gran, clip][0]] for clip in CLIPS}
        found.clipped[gran] = {clip: [float(one) / size for one in sums[gran, clip][1]] for clip in CLIPS}
    if several:
        found.formats = {name: decibels(signal, one) for name, one in floats.sums.items()}
        sqnr = np.array([decibels(*pair) for pair in own.T.tolist()], np.float64)
        found.channels = Channels(absmax * blocks.unit, sqnr)
    for clip in CLIPS:
        found.grids[clip] = [(scale * blocks.unit, *levels) for scale, *levels in found.grids[clip]]  # type: ignore[misc]


def _tried(piece: Array, scale: Any, zero_point: Any, qmin: int, qmax: int) -> tuple[float, int, Array]:
    """The squared error, how many values are clipped, and the squared error of each row."""
    y, mask = fq.forward(piece, scale, zero_point, qmin, qmax)
    np.subtract(y, piece, out=y)
    errors = np.vecdot(y, y)
    return float(errors.sum(dtype=np.float64)), mask.size - int(np.count_nonzero(mask)), errors


def _measure_rows(
    piece: Array, widest: list[fq.QParams], best: list[fq.QParams], granularity: str, sums: dict[tuple[str, str], Array]
) -> Array:
    """Add the noise with a grid per row; gives the squared error of each row at 4 bits with the mse clip."""
    for clip, grids in zip(CLIPS, (widest, best), strict=True):
        for i, grid in enumerate(grids):
            error, clipped, each = _tried(piece, *grid)
            sums[granularity, clip][:, i] += error, clipped
            if (BITS[i], clip) == (4, "mse"):
                found = each
    return found


def _measure_groups(piece: Array, group: int, sums: dict[tuple[str, str], Array]) -> None:
    """Each row in groups, the last filled up with zeros, which make no noise."""
    group = min(group, piece.shape[1])
    if missing := -piece.shape[1] % group:
        piece = np.pad(piece, ((0, 0), (0, missing)))
    groups = piece.reshape(-1, group)
    grids = widest_grids(np.abs(groups).max(1), groups.dtype)
    _measure_rows(groups, grids, best_grids(grids, [groups]), "group", sums)
