"""Clipped ranges: the least error within 1% of trying, percentiles and thresholds as defined, the same bits always."""

import numpy as np
import pytest
from helpers import assert_same
from hypothesis import given
from hypothesis import strategies as st
from tensors import BITS, error, least_error, synthetic

import fq
from fq._clip import METHODS, clip_range
from fq._distribution import distribution, extremes

TENSORS = synthetic()
KINDS = [{"signed": signed, "symmetric": symmetric} for signed in (True, False) for symmetric in (True, False)]
of_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))


F32 = np.dtype(np.float32)


def bins_of_one(n, start):
    """n bins of a value each, in sets that start there."""
    return (
        np.int64(start),
        np.arange(n, dtype=np.uint32),
        np.uint64([[1, 0, 0]] * n).reshape(n, 3),
        *[np.zeros(len(start) - 1)] * 2,
    )


def seen(x):
    """(bins, low, high) of each row of x."""
    reduced = tuple(range(1, x.ndim)) if x.ndim > 1 else (0,)
    low, high = extremes(x, reduced)
    return distribution(x, reduced), low.ravel(), high.ravel()


def clipped(x, bits, method="mse", p=99.99, signed=True, symmetric=False, narrow_range=False):
    kind = {"signed": signed, "symmetric": symmetric, "narrow_range": narrow_range}
    return clip_range(*seen(x), bits=bits, method=method, p=p, **kind)


@of_kind
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", TENSORS)
def test_mse_is_within_a_hundredth_of_the_best_that_trying_finds(name, bits, kind):
    x = TENSORS[name]
    found = fq.calibrate(x, bits, method="mse", **kind)
    best = least_error(x, bits, **kind)
    worse = 1.01 if name != "few" else 1.05
    lost = x.size * (2.0**-22 * float(np.abs(x).max())) ** 2  # of a scale that is rounded
    assert error(x, found) <= worse * best + lost


@of_kind
@pytest.mark.parametrize("bits", [1, 2, 5, 6, 7, 10, 12, 16])
@pytest.mark.parametrize("name", ["normal", "relu", "one outlier", "two values", "few"])
def test_mse_is_never_worse_than_the_whole_range(name, bits, kind):
    x = TENSORS[name].astype(np.float64)
    found = fq.calibrate(x, bits, method="mse", **kind)
    # Of 10,000 values the error is known to about 1%, and above 8 bits the curve is that flat.
    assert error(x, found) <= 1.03 * error(x, fq.calibrate(x, bits, **kind)) + 1e-25 * np.square(x).sum()


@pytest.mark.parametrize("narrow_range", [True, False])
def test_mse_chooses_the_grid_that_the_values_lie_on(narrow_range):
    rng = np.random.default_rng(0)
    for bits in range(2, 9):
        kind = {"bits": bits, "narrow_range": narrow_range}
        qmin, qmax = fq.choose_qparams(-1, 1, **kind)[2:]
        for zero_point, symmetric in ((0, True), (int(rng.integers(qmin, qmax + 1)), False)):
            x = np.float32(0.37) * (rng.integers(qmin, qmax + 1, 2000) - zero_point).astype(np.float32)
            x[:2] = np.float32(0.37) * np.float32([qmin - zero_point, qmax - zero_point])
            found = fq.calibrate(x, method="mse", symmetric=symmetric, **kind)
            assert error(x, found) < 1e-10 * np.square(x).sum()


@pytest.mark.parametrize("method", METHODS)
@of_kind
def test_many_sets_are_clipped_as_each_alone(method, kind):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((60, 500)) * 10.0 ** rng.integers(-6, 6, (60, 1))).astype(np.float32)
    x[7], x[8, 1:], x[9, :250] = 0, 1, 0
    x[10] = np.abs(x[10])
    together = clipped(x, 4, method, **kind)
    for i, row in enumerate(x):
        assert_same(clipped(row, 4, method, **kind), tuple(end[i : i + 1] for end in together))
    before = fq.get_num_threads()
    try:
        for threads in (1, 3):
            fq.set_num_threads(threads)
            assert_same(clipped(x, 4, method, **kind), together)
    finally:
        fq.set_num_threads(before)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_values_changes_nothing(method):
    x = TENSORS["laplace"].astype(np.float16)
    shuffled = np.random.default_rng(3).permutation(x)
    assert_same(clipped(x, 4, method), clipped(shuffled, 4, method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [4, 8])
@of_kind
def test_the_values_negated_have_the_range_negated(method, bits, kind):
    for name in ("laplace", "relu", "uniform", "few"):
        low, high = clipped(TENSORS[name], bits, method, **kind)
        other = clipped(-TENSORS[name], bits, method, **kind)
        if kind["symmetric"] and method in ("percentile", "entropy"):
            assert_same(other, (low, high))
        elif not kind["symmetric"] and (method, name) != ("mse", "few"):  # of which several zero points are the best
            np.testing.assert_allclose(other, (-high, -low), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("power", [-8, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_values_times_a_power_of_two_have_the_range_times_it(method, power, dtype):
    x = TENSORS["uniform"].astype(dtype)[:500]
    low, high = clipped(x, 4, method)
    assert_same(clipped(x * dtype(2.0**power), 4, method), (low * 2.0**power, high * 2.0**power))


@pytest.mark.parametrize("p", [50, 90, 99, 99.9, 99.99, 100])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_percentiles_are_those_of_the_values(p, symmetric, dtype):
    for name in ("normal", "laplace", "relu", "one outlier", "few", "two values", "all zero", "uniform"):
        x = (
            TENSORS[name].astype(dtype)
            if name != "one outlier" or dtype != np.float16
            else TENSORS["laplace"].astype(dtype)
        )
        ranked = np.sort(np.abs(x) if symmetric else x).astype(np.float64)
        share = p / 100 if symmetric else (1 + p / 100) / 2
        rank = int(np.ceil(len(x) * share - 1e-6))
        ends = (-ranked[rank - 1], ranked[rank - 1]) if symmetric else (ranked[len(x) - rank], ranked[rank - 1])
        exact = fq.calibrate(x, method="percentile", p=p, symmetric=symmetric, exact=True)
        assert_same(
            exact,
            fq.choose_qparams(
                *(end.astype(np.float64 if dtype == np.float64 else np.float32) for end in ends), symmetric=symmetric
            ),
        )
        found = clipped(x, 8, "percentile", p, symmetric=symmetric)
        low, high = min(ends[0], 0), max(ends[1], 0)
        close = 0 if dtype == np.float16 else 0.008
        assert abs(min(found[0][0], 0) - low) <= close * abs(low)
        assert abs(max(found[1][0], 0) - high) <= close * abs(high)


@given(st.lists(st.floats(-1e4, 1e4, width=16), min_size=1, max_size=50), st.floats(1, 100), st.booleans())
def test_percentiles_of_16_bits_are_exact(values, p, symmetric):
    x = np.float16(values)
    exact = fq.calibrate(x, method="percentile", p=p, symmetric=symmetric, exact=True)
    assert_same(fq.calibrate(x, method="percentile", p=p, symmetric=symmetric), exact)


def tensorrt_threshold(sizes, bits, bins=2048):
    """The sweep as it was published: linear cells, one candidate a cell, the last ones counted in the last cell."""
    counts, edges = np.histogram(sizes[sizes > 0], bins, (0, sizes.max()))
    counts, levels = counts.astype(np.float64), 2 ** (bits - 1)
    best = np.inf, 0.0
    for kept in range(levels, bins + 1):
        p = counts[:kept].copy()
        level = np.minimum(np.arange(kept) * levels // kept, levels - 1)
        filled = np.bincount(level, counts[:kept] > 0, levels)
        mean = np.bincount(level, counts[:kept], levels) / np.maximum(filled, 1)
        q = np.where(counts[:kept] > 0, mean[level], 0)
        p[-1] += counts[kept:].sum()
        if q[-1] == 0 and p[-1] > 0:
            continue
        some = p > 0
        divergence = np.sum(p[some] / p.sum() * np.log(p[some] / p.sum() / (q[some] / q.sum())))
        best = min(best, (divergence, edges[kept]))
    return best[1]


@pytest.mark.parametrize("name", ["normal", "laplace", "relu", "uniform"])
def test_entropy_finds_a_threshold_about_as_good_as_tensorrt_s(name):
    x = TENSORS[name]
    low, high = clipped(x, 8, "entropy", symmetric=True)
    assert_same(low, -high)
    threshold = tensorrt_threshold(np.abs(x), 8)
    assert 0.6 * threshold < high[0] < 1.6 * threshold


def divergence(sizes, most, levels):
    """Of the sizes in 16 cells a level, as src/entropy.c defines it."""
    cells = 16 * levels
    edges = np.append(most / cells * np.arange(1, cells), most)
    kept = np.diff(np.searchsorted(np.sort(sizes), edges, side="right"), prepend=0).reshape(levels, 16)
    mean = kept.sum(1, keepdims=True) / np.maximum((kept > 0).sum(1, keepdims=True), 1)
    p, q = kept.astype(np.float64), np.where(kept > 0, mean, 0)
    p[-1, -1] += len(sizes) - kept.sum()
    some = p > 0
    if (q[some] == 0).any():
        return np.inf
    p, q = p[some] / p.sum(), q[some] / q.sum()
    return np.sum(p * np.log(p / q))


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("name", ["normal", "laplace", "relu", "uniform", "heavy tails", "few"])
def test_entropy_takes_the_threshold_of_least_divergence(name, symmetric, bits):
    x = TENSORS[name].astype(np.float16)  # each value is a bin of its own
    sizes = np.abs(x[x != 0]).astype(np.float64)
    low, high = float(min(x.min(), 0)), float(max(x.max(), 0))
    found, most = [], sizes.max()
    while (sizes > most).mean() <= 0.25:
        width = 2 * most if symmetric else min(most, -low) + min(most, high)
        levels = max(1, int(np.ceil(most / width * (2**bits - 1) - 1e-9)))
        found.append((divergence(sizes, most, levels), most))
        most *= 2 ** (-1 / 16)
    best = min(found, key=lambda one: one[0])
    ends = clipped(x, bits, "entropy", symmetric=symmetric)
    assert max(-ends[0][0], ends[1][0]) == pytest.approx(best[1], rel=1e-12)
    assert np.isfinite(best[0])


def test_entropy_clips_an_outlier_that_tensorrt_s_cells_drown_in():
    x = TENSORS["one outlier"]
    high = clipped(x, 8, "entropy", symmetric=True)[1][0]
    assert 2 < high < 6
    assert high <= np.abs(x).max() / 500


def test_entropy_keeps_all_of_what_has_no_tail():
    x = np.float32(np.linspace(-1, 1, 4001))
    assert clipped(x, 8, "entropy", symmetric=True)[1][0] > 0.95
    assert clipped(np.abs(x), 8, "entropy")[0][0] == 0


def test_sets_without_values_keep_their_ends():
    none = fq.Observer(axis=0).update(np.float32([[np.nan] * 5, [1] * 5]))._seen
    for method in METHODS:
        kind = {"bits": 8, "signed": True, "symmetric": False, "narrow_range": False, "p": 90}
        low, high = clip_range(none, np.float64([-2, 1]), np.float64([3, 1]), method=method, **kind)
        assert (low[0], high[0]) == (-2, 3)
    assert fq._core._clip_range("mse", F32, bins_of_one(0, [0]), np.zeros(0), np.zeros(0), 15, False, 1.0) is None


def test_sums_beyond_float64_are_no_obstacle():
    x = np.random.default_rng(0).standard_normal(3000) * 1e300
    found = fq.calibrate(x, 4, method="mse", symmetric=True).scale
    assert found / 1e300 == pytest.approx(fq.calibrate(x / 1e300, 4, method="mse", symmetric=True).scale, rel=0.03)
    for method in METHODS:
        assert np.isfinite(fq.calibrate(x, 4, method=method).scale)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_at_the_ends_of_their_type_have_ranges_in_it(method, symmetric, dtype):
    for size in (np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny):
        for x in ([size], [-size, size / 2], [0, size, size], [-size, -size / 2, size / 4]):
            for end in clipped(dtype(x), 4, method, symmetric=symmetric):
                assert np.isfinite(end.astype(dtype)).all()
            if size < 1 or dtype == np.float64:
                assert fq.calibrate(dtype(x), 4, method=method, symmetric=symmetric).scale > 0


@pytest.mark.parametrize("wrong", range(5))
def test_the_function_in_c_refuses_vectors_that_do_not_fit(wrong):
    bins = list(bins_of_one(2, [0, 2]))
    bins[wrong] = bins[wrong][:-1].copy()
    with pytest.raises(ValueError, match="fit together"):
        fq._core._clip_range("mse", F32, tuple(bins), np.zeros(1), np.ones(1), 15, False, 1.0)


@pytest.mark.parametrize(
    ("method", "start", "low", "steps"),
    [
        ("max", [0, 2], np.zeros(1), 15),
        ("mse", [0, 3], np.zeros(1), 15),
        ("mse", [1, 2], np.zeros(1), 15),
        ("mse", [0, 2, 1, 2], np.zeros(3), 15),
        ("mse", [0, 2], np.zeros(1, np.float32), 15),
        ("mse", [0, 2], [0.0], 15),
        ("mse", [0, 2], np.zeros(1), 0),
        ("entropy", [0, 2], np.zeros(1), 256),
    ],
)
def test_the_function_in_c_refuses_what_it_would_read_beyond(method, start, low, steps):
    bins = bins_of_one(2, start)
    with pytest.raises(ValueError, match="fit together"):
        fq._core._clip_range(method, F32, bins, low, np.ones(len(start) - 1), steps, False, 1.0)
