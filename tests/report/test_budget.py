"""Bits under a size: within it, never worse than equal bits, and near the best of all choices."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fq.report.budget import curve, spend, uniform
from fq.report.statistics import BITS

NETWORKS = st.lists(
    st.tuples(st.integers(1, 10**6), st.lists(st.floats(1e-9, 1), min_size=len(BITS), max_size=len(BITS))),
    min_size=1,
    max_size=12,
)


@given(NETWORKS, st.floats(2, 9))
def test_a_plan_fits_and_is_never_worse_than_equal_bits(network, budget):
    sizes, noises = zip(*network, strict=True)
    plan = spend(sizes, noises, budget)
    assert plan.size <= budget * sum(sizes)
    assert plan.size == sum(n * bits for n, bits in zip(sizes, plan.choice, strict=True))
    found = np.mean([one[BITS.index(bits)] for one, bits in zip(noises, plan.choice, strict=True)])
    assert plan.noise == pytest.approx(found)
    equal = max(i for i, bits in enumerate(BITS) if bits <= budget)
    assert found <= uniform(sizes, noises, equal)[1] * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_is_near_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(100, 300, 5).tolist()
    noises = [(rng.uniform(0.05, 2) * 4.0 ** -np.array(BITS)).tolist() for _ in sizes]
    most = 4 * sum(sizes)
    best = min(
        sum(one[j] for one, j in zip(noises, places, strict=True))
        for places in itertools.product(range(len(BITS)), repeat=len(sizes))
        if sum(n * BITS[j] for n, j in zip(sizes, places, strict=True)) <= most
    )
    assert spend(sizes, noises, 4).noise <= 1.4 * best / len(sizes)


@given(NETWORKS)
def test_the_curve_grows_and_its_noise_falls(network):
    sizes, noises = zip(*network, strict=True)
    path = curve(sizes, noises)
    assert path[0] == uniform(sizes, noises, 0)
    for (size, noise), (larger, less) in itertools.pairwise(path):
        assert larger > size
        assert less <= noise


def test_a_step_too_large_is_followed_by_a_smaller_one():
    falls_late = [1, 0.99, 0.98, 0.97, 0.96, 0]  # all of the gain is at 8 bits
    assert spend([10, 10], [falls_late, [1] * 6], 2.6).choice == (3, 2)


def test_equal_bits_are_kept_where_climbing_ends_above_them():
    sizes, noises = [3, 1], [[15, 14, 14, 8, 5, 1], [18, 18, 14, 3, 2, 2]]  # from 2 bits each one climbs to 8.0 at best
    assert spend(sizes, noises, 5).noise == 5.5


def test_the_tensor_that_suffers_gets_the_bits():
    falling = 4.0 ** -np.array(BITS)
    noises = [(falling * 100).tolist(), falling.tolist(), falling.tolist()]
    assert spend([10, 10, 10], noises, 4).choice[0] > 4
    assert spend([10, 10, 10], noises, 8).choice == (8, 8, 8)
    assert spend([10, 10, 10], noises, 2).choice == (2, 2, 2)
