"""Bits for each tensor under a size: greedy on the convex hull of noise against bits."""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from fq.report.ranges import BITS

__all__ = ["Plan", "curve", "spend", "uniform"]

Noises = Sequence[Sequence[float]]


class Plan(NamedTuple):
    """Bits for each tensor.

    Attributes
    ----------
    choice : tuple of int
        For each tensor, which of `BITS`.
    size : int
        Bits of all weights.
    noise : float
        The mean over the tensors of noise relative to signal.
    """

    choice: tuple[int, ...]
    size: int
    noise: float


def spend(sizes: Sequence[int], noises: Noises, budget: float) -> Plan:
    """The least noise found for at most `budget` bits per weight; never more than with equal bits of that size.

    Parameters
    ----------
    sizes : sequence of int
        How many weights each tensor has.
    noises : sequence of sequences of float
        For each tensor, the noise relative to the signal at each of `BITS`.
    budget : float
        At least the fewest of `BITS`.

    Returns
    -------
    Plan
    """
    most = int(budget * sum(sizes))
    equal = max(i for i, bits in enumerate(BITS) if bits <= budget)
    plans = []
    for start in {0, equal}:
        places, path = _climbed(sizes, noises, most, start)
        plans.append(Plan(tuple(BITS[place] for place in places), *path[-1]))
    return min(plans, key=lambda plan: plan.noise)


def uniform(sizes: Sequence[int], noises: Noises, place: int) -> tuple[int, float]:
    """(size, noise) where every tensor has ``BITS[place]`` bits."""
    return sum(sizes) * BITS[place], sum(one[place] for one in noises) / len(noises)


def curve(sizes: Sequence[int], noises: Noises) -> list[tuple[int, float]]:
    """(size, noise) of plans of growing size, from the fewest bits to the most that gain something."""
    return _climbed(sizes, noises, sum(sizes) * BITS[-1], 0)[1]


def _climbed(sizes: Sequence[int], noises: Noises, most: int, start: int) -> tuple[list[int], list[tuple[int, float]]]:
    """From equal bits upwards, each time one tensor to its next corner of the hull, as far as that fits.

    The places in `BITS` at the end, and (size, noise) on the way.
    """
    places, path = [start] * len(sizes), [uniform(sizes, noises, start)]
    waiting: list[tuple[float, int, int]] = []
    for i in range(len(sizes)):
        _push(waiting, i, start, sizes[i], noises[i])
    while waiting:
        _, i, place = heapq.heappop(waiting)
        before = places[i]
        size = path[-1][0] + sizes[i] * (BITS[place] - BITS[before])
        if size <= most:
            places[i] = place
            path.append((size, path[-1][1] + (noises[i][place] - noises[i][before]) / len(sizes)))
            _push(waiting, i, place, sizes[i], noises[i])
        else:  # a smaller step may fit
            _push(waiting, i, before, sizes[i], noises[i], place)
    return places, path


def _push(
    waiting: list[tuple[float, int, int]], i: int, place: int, size: int, noise: Sequence[float], below: int = len(BITS)
) -> None:
    """Add the step upwards that gains most for each bit, if one gains at all."""
    steps = [(noise[place] - noise[to]) / (max(size, 1) * (BITS[to] - BITS[place])) for to in range(place + 1, below)]
    if steps and (gain := max(steps)) > 0:
        heapq.heappush(waiting, (-gain, i, place + 1 + steps.index(gain)))
