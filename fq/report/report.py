"""What was found in a file: measured tensors, the size-quality curve, and the bits that a budget gives."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fq
from fq.report.budget import curve, spend, uniform
from fq.report.formats import FORMATS
from fq.report.statistics import BITS, CLIPS, GRANULARITIES, Channels, Measured, decibels

__all__ = ["Budget", "Report", "outlier_channels", "worst_channels"]

_FAR = 4  # times the median of all channels
_WORST = 5


@dataclass(frozen=True)
class Budget:
    """The bits that a size gives.

    Attributes
    ----------
    bits : float
        What was asked for: bits per weight on average.
    used : float
        What is used of it.
    sqnr : float or None
        Of the mean noise over the tensors.
    """

    bits: float
    used: float
    sqnr: float | None


@dataclass
class Report:
    """A file's report.

    Attributes
    ----------
    file, format : str
    group : int
        Elements that share a scale, where the granularity is "group".
    tensors : list of Measured
    curve : list of (float, float)
        Bits a weight and dB, where bits are mixed.
    uniform : list of (float, float)
        The same where every tensor has the same bits.
    budget : Budget or None
    """

    file: str
    format: str
    group: int
    tensors: list[Measured]
    curve: list[tuple[float, float | None]] = field(default_factory=list)
    uniform: list[tuple[float, float | None]] = field(default_factory=list)
    budget: Budget | None = None

    def plan(self, budget: float | None) -> None:
        """Fill in the curves and, if there is a budget, the bits of each tensor that has channels."""
        rows = [one for one in self.tensors if one.channels is not None and one.sqnr["channel"]["mse"][0] is not None]
        if not rows:
            return
        sizes = [one.tensor.size for one in rows]
        noises = [[10 ** (-(dB or 0) / 10) for dB in one.sqnr["channel"]["mse"]] for one in rows]
        weights = sum(sizes)
        self.curve = [(size / weights, decibels(1, noise)) for size, noise in curve(sizes, noises)]
        equal = [uniform(sizes, noises, place) for place in range(len(BITS))]
        self.uniform = [(size / weights, decibels(1, noise)) for size, noise in equal]
        if budget is not None:
            plan = spend(sizes, noises, budget)
            self.budget = Budget(budget, plan.size / weights, decibels(1, plan.noise))
            for one, bits in zip(rows, plan.choice, strict=True):
                one.bits = bits

    def means(self) -> dict[str, dict[str, list[float | None]]]:
        """dB of the mean noise over the weights that have channels, by granularity, clip and bits."""
        rows = [one for one in self.tensors if one.channels is not None]
        return {
            gran: {clip: [_mean([one.sqnr[gran][clip][i] for one in rows]) for i in range(len(BITS))] for clip in CLIPS}
            for gran in GRANULARITIES
        }

    def mean_formats(self) -> dict[str, float | None]:
        """dB of the mean noise over the weights that have channels, by float format."""
        rows = [one for one in self.tensors if one.channels is not None]
        return {name: _mean([one.formats[name] for one in rows]) for name in FORMATS}

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "fq": fq.__version__,
            "file": self.file,
            "format": self.format,
            "bits": list(BITS),
            "group": self.group,
            "tensors": [_row(one) for one in self.tensors],
            "mean_sqnr": self.means(),
            "mean_formats": self.mean_formats(),
            "curve": self.curve,
            "uniform": self.uniform,
            "budget": self.budget and vars(self.budget),
        }


def _mean(values: list[float | None]) -> float | None:
    noises = [10 ** (-one / 10) for one in values if one is not None]
    return decibels(1, sum(noises) / len(noises)) if noises else None


def _row(one: Measured) -> dict[str, Any]:
    tensor = one.tensor
    row: dict[str, Any] = {"name": tensor.name, "kind": tensor.kind, "shape": list(tensor.shape), "dtype": tensor.dtype}
    row |= {"axis": tensor.axis, "size": tensor.size, "min": one.low, "max": one.high, "std": one.std}
    row |= {name: getattr(one, name) for name in ("peak", "kurtosis", "outliers", "zeros", "nan", "inf")}
    row |= {
        "sqnr": one.sqnr,
        "clipped": one.clipped,
        "predicted": one.predicted,
        "formats": one.formats,
        "grids": one.grids,
        "bits": one.bits,
    }
    row["worst_channels"] = worst_channels(one.channels)
    row["outlier_channels"] = outlier_channels(one.channels)
    return row


def worst_channels(channels: Channels | None) -> list[dict[str, Any]]:
    """The channels with the least SQNR at 4 bits, the worst first."""
    if channels is None:
        return []
    order = np.argsort(channels.sqnr, kind="stable")[:_WORST].tolist()  # NaN comes last
    known = [i for i in order if not np.isnan(channels.sqnr[i])]
    return [{"channel": i, "sqnr": float(channels.sqnr[i]), "absmax": float(channels.absmax[i])} for i in known]


def outlier_channels(channels: Channels | None) -> list[int]:
    """The channels whose largest magnitude is more than 4 times the median of all, the farthest first."""
    if channels is None:
        return []
    far = channels.absmax > _FAR * np.median(channels.absmax)
    return [int(i) for i in np.argsort(-channels.absmax, kind="stable") if far[i]]
