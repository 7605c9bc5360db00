"""Times candidates against each other, round by round, in changing order, and gives the median of each.

In turn: the first calls after another candidate, which has taken the caches. Warm: the calls that follow those.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat
from statistics import median

COPY = "np.copyto"
FORWARD = "fq.forward"
ADD = "np.add"
TORCH_LEARNABLE = "PyTorch learnable backward"

CALLS_IN_TURN = 16  # a warm sample has so many times the calls of one in turn

# What speeds are relative to, where the cell has it.
YARDSTICKS = {"copy": COPY, "add": ADD, "forward": FORWARD, "torch": TORCH_LEARNABLE}


def nothing():
    """The preparation of a candidate that needs none."""


@dataclass
class Candidate:
    """One call to time; `prepare` runs before every sample, untimed."""

    function: str
    call: Callable
    prepare: Callable = nothing
    target: str | None = None
    threads: int = 1
    gives: str = ""


@dataclass
class Cell:
    """Candidates over the same data, the first of them np.copyto; the unit within which times are compared."""

    section: str
    type: str
    shape: tuple
    elements: int
    candidates: list
    pause: float = 0.0
    notes: list = field(default_factory=list)


def calls_of(elements):
    """Calls in a sample: enough that the clock and the first, cold call weigh little."""
    return min(1000, max(1, 2**20 // elements))


def rounds_of(elements):
    """Rounds that take about a second for one cell of the grid."""
    return min(101, max(11, 2**26 // max(elements, 2**20)))


def sample(call, calls):
    """Seconds per call."""
    loop = repeat(None, calls)
    start = time.perf_counter()
    for _ in loop:
        call()
    return (time.perf_counter() - start) / calls


def interleave(candidates, rounds, calls, pause=0.0):
    """The samples of every candidate, in turn and warm, after one call of each."""
    in_turn, warm = ([[] for _ in candidates] for _ in range(2))
    for candidate in candidates:
        candidate.prepare()
        candidate.call()
    for number in range(rounds):
        order = [(number + i) % len(candidates) for i in range(len(candidates))]
        # Reversed every other time: a rotation alone would leave everyone behind the same neighbour.
        for index in order if number % 2 == 0 else reversed(order):
            candidates[index].prepare()
            if pause:
                time.sleep(pause)
            in_turn[index].append(sample(candidates[index].call, max(1, calls // CALLS_IN_TURN)))
            warm[index].append(sample(candidates[index].call, calls))
    return in_turn, warm


def measure(cell, rounds=None, calls=None):
    """A row per candidate of the cell; times in microseconds per call, speeds relative to the yardsticks."""
    rounds, calls = rounds or rounds_of(cell.elements), calls or calls_of(cell.elements)
    in_turn, warm = interleave(cell.candidates, rounds, calls, cell.pause)
    rows = [
        {
            "section": cell.section,
            "type": cell.type,
            "shape": list(cell.shape),
            "elements": cell.elements,
            "function": candidate.function,
            "gives": candidate.gives,
            "target": candidate.target,
            "threads": candidate.threads,
            "rounds": rounds,
            "calls": calls,
            "median_us": median(times) * 1e6,
            "min_us": min(times) * 1e6,
            "max_us": max(times) * 1e6,
            "warm_us": median(repeated) * 1e6,
        }
        for candidate, times, repeated in zip(cell.candidates, in_turn, warm, strict=True)
    ]
    for row in rows:
        for name, function in YARDSTICKS.items():
            found = beside(row, rows, function)
            row[f"relative_to_{name}"] = found and found["median_us"] / row["median_us"]
            row[f"warm_relative_to_{name}"] = found and found["warm_us"] / row["warm_us"]
        row["giga_elements_per_s"] = cell.elements / row["median_us"] / 1e3
    return rows


def beside(row, rows, function):
    """The row of that function with as many threads and the same target, else the first one, else None."""
    found = [other for other in rows if other["function"] == function]
    alike = [f for f in found if f["threads"] == row["threads"] and row["target"] in (None, f["target"])]
    return next(iter(alike + found), None)
