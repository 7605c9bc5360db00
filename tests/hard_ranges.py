"""Ranges on which the choice of a grid goes wrong, and all kinds of grids, for the adaptors' tests."""

import numpy as np

import fq

KINDS = [
    {"bits": bits, "signed": signed, "symmetric": symmetric, "narrow_range": narrow}
    for bits in (1, 2, 3, 4, 8, 15, 16)
    for signed, symmetric, narrow in [
        (True, True, False),
        (True, True, True),
        (False, False, False),
        (True, False, True),
        (False, True, False),
    ]
    if bits > 1 or not narrow
]


def name_of(kind):
    """As an id of a test."""
    return f"{kind['bits']}-" + "-".join(name for name in list(kind)[1:] if kind[name])


def hard_ranges(kind, rng, n):
    """low and high of n ranges in float32: many of them at ties, beside them, or tiny, huge or one-sided."""
    steps = 2 ** kind["bits"] - 1 - kind["narrow_range"]
    scale = np.float32(2) ** rng.integers(-145, 100, n) * rng.choice(np.float32([1, 1.1, 1.3, 1.7]), n)
    place = rng.integers(0, steps + 1, n) + rng.choice([0, 0.5, -0.5, 0.3], n)
    place = place * rng.choice([1, 1 + 2.0**-20, 1 - 2.0**-21], n)
    with np.errstate(under="ignore"):
        low, high = np.float32(-np.abs(place) * scale), np.float32(np.abs(steps - place) * scale)
        low, high = (
            rng.choice([end, *(np.nextafter(end, np.float32(to)) for to in (-9e9, 9e9))]) for end in (low, high)
        )
        any_two = np.sort(rng.standard_normal((2, n)), 0) * 10 ** rng.uniform(-44, 37, n)
        low = np.where(rng.random(n) < 0.3, any_two[0], low).astype(np.float32)
        high = np.where(low <= high, high, low).astype(np.float32)
    return low, high


def assert_inside(qparams, *ends):
    """The ends lie in range, by the mask of the forward itself, in both arithmetics."""
    scale, zero_point, qmin, qmax = (np.asarray(one) for one in qparams)
    for module in (fq, fq.reciprocal):
        for end in ends:
            inside = module.forward(end, scale, zero_point, qmin, qmax)[1]
            assert inside.all(), (end[~inside][:3], scale[~inside][:3], zero_point[~inside][:3])
