"""The rules that round, a case each: ufuncs, their reference, and grids to try them on."""

import functools

import numpy as np

import fq
from fq import _core
from fq.formats import FloatGrid

FORMATS = {name: one for name in fq.formats.__all__ if isinstance(one := getattr(fq.formats, name), FloatGrid)}
OTHERS = {"e0m3": FloatGrid(3, 0, 0.875), "e8m10": FloatGrid(10, -126, 2.0**100), "one": FloatGrid(0, 3, 8.0)}
ROUNDINGS = [rule for rule in _core.rules() if isinstance(getattr(fq.rounding, rule, None), fq.rounding.Rounding)]


class Rule:
    """A rule: `fq_functions`, of the library, and `reference`, each by the name of the operation."""

    def __init__(self, name, library, reference, grids):
        self.name, self.library, self.reference, self.grids = name, library, reference, grids

    def __repr__(self):
        return self.name

    def both(self, operation):
        return getattr(self.library, operation), self.reference(operation)


def of_rounding(name):
    def reference(operation):
        return functools.partial(getattr(fq.reference, operation), rounding=name)

    return Rule(name, getattr(fq.rounding, name), reference, [(0, -8, 7), (3, 0, 15), (2, 2, 2)])


RULES = [
    *(of_rounding(name) for name in ROUNDINGS),
    Rule(
        "floats", fq.floats, lambda operation: getattr(fq.reference.floats, operation), [*(FORMATS | OTHERS).values()]
    ),
]
OPERATIONS = _core.operations("floats")


def values_near(dtype, scale, grid, rng, n):
    """Points of the grid and ties between them, and a unit in the last place beside these, and the extremes."""
    compute = np.float64 if dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        wide = rng.standard_normal(n) * 2.0 ** rng.integers(-24, 12, n)
        ties = np.round(rng.standard_normal(n) * 40) / 2 * 2.0 ** rng.integers(-12, 4, n)
        near = np.where(rng.random(n) < 0.3, wide, ties).astype(compute) * compute(scale)
        near = rng.choice([near, np.nextafter(near, compute(np.inf)), np.nextafter(near, compute(-np.inf))])
        tiny = np.finfo(compute).smallest_subnormal
        extremes = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 3e38, -3e38], compute)
        near[rng.random(n) < 0.1] = grid[2] * compute(scale) if len(grid) == 4 else 0
        return np.where(rng.random(n) < 0.1, rng.choice(extremes, n), near).astype(dtype)
