"""What the report measures: values, noise by real fake quantization, and the noise that the distribution predicts."""

import math
import tracemalloc

import numpy as np
import pytest

import fq
from fq.report.distribution import noise
from fq.report.statistics import BITS, CLIPS, EXACT, GRANULARITIES, measure
from fq.report.tensors import Tensor


def measured(array, axis=0, group=32, kind="weight"):
    done = []
    tensor = Tensor("w", array.shape, array.dtype.name, None, axis, kind)
    found = measure(tensor, array, group, done.append)
    assert sum(done) == array.size
    return found


def numbers(found):
    """All SQNR, in one list."""
    return [dB for clips in found.sqnr.values() for clip in CLIPS for dB in clips[clip]]


def sqnr(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return 10 * math.log10((x**2).sum() / ((x - y) ** 2).sum())


DISTRIBUTIONS = {
    "normal": lambda rng: rng.normal(0, 0.02, (64, 300)),
    "heavy tails": lambda rng: rng.standard_t(3, (64, 300)),
    "uniform": lambda rng: rng.uniform(-1, 2, (64, 300)),
    "one outlier": lambda rng: np.where(np.arange(19200).reshape(64, 300) == 7, 50, rng.normal(0, 0.1, (64, 300))),
    "few values": lambda rng: rng.choice([-0.5, 0, 0.1, 0.25], (64, 300)),
    "sparse": lambda rng: rng.normal(0, 1, (64, 300)) * (rng.random((64, 300)) < 0.05),
    "small": lambda rng: rng.normal(0, 1, (6, 9)),
    "positive": lambda rng: rng.exponential(2, (64, 300)),
    "huge": lambda rng: rng.normal(0, 1e30, (64, 300)),
    "tiny": lambda rng: rng.normal(0, 1e-30, (64, 300)),
}
TYPES = ["float32", "float16", "bfloat16", "float64"]


def typed(values, name):
    if name == "bfloat16":
        return values.astype(pytest.importorskip("ml_dtypes").bfloat16)
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(name)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("kind", ["weight", "activation"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_prediction_is_within_a_tenth_of_a_decibel(distribution, name, kind):
    if name == "float16" and distribution in ("huge", "tiny"):
        pytest.skip("beyond float16")
    found = measured(typed(DISTRIBUTIONS[distribution](np.random.default_rng(3)), name), kind=kind)
    for clip in CLIPS:
        for bits, predicted, real in zip(BITS, found.predicted[clip], found.sqnr["tensor"][clip], strict=True):
            assert min(predicted, 100) == pytest.approx(min(real, 100), abs=0.1), (clip, bits)


def test_the_noise_of_bins_is_exact_where_all_values_of_a_bin_are_equal():
    values = np.array([1, -2, 0.5, 0, 448, -0.25, 3, 1.5], np.float32)
    distribution = fq.Observer()
    distribution.update(values)
    for bits in BITS:
        grid = fq.choose_qparams(values.min(), values.max(), bits)
        expected = ((fq.fake_quantize(values.astype(np.float64), *grid) - values) ** 2).sum()
        assert noise(distribution._bins(), *grid) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bits", [4, 8, 10, 12])
@pytest.mark.parametrize("part", [1, 0.6])
def test_the_noise_of_many_values_is_within_a_percent(bits, part):
    values = np.linspace(-1, 1.5, 1 << 20, dtype=np.float32)
    distribution = fq.Observer()
    distribution.update(values)
    grid = fq.choose_qparams(-part, 1.5 * part, bits)
    expected = np.square(fq.fake_quantize(values, *grid) - values).sum(dtype=np.float64)
    assert noise(distribution._bins(), *grid) == pytest.approx(expected, rel=0.01)


def test_the_noise_within_one_bin_knows_how_wide_it_lies():
    values = np.linspace(1, 1 + 1 / 128, 4097, dtype=np.float32)[:-1]  # half of a bin goes to either level
    distribution = fq.Observer()
    distribution.update(values)
    assert len(distribution._bins().count) == 1
    expected = np.square(fq.fake_quantize(values, 1 / 128, 0, 0, 255) - values).sum(dtype=np.float64)
    assert noise(distribution._bins(), 1 / 128, 0, 0, 255) == pytest.approx(expected, rel=0.01)


def test_tensor_channel_and_group_are_fake_quantization_with_these_scales():
    x = np.random.default_rng(0).normal(0, 1, (12, 100)).astype(np.float32) * np.logspace(-2, 0, 12)[:, None].astype(
        "f4"
    )
    found = measured(x, group=25)
    for i, bits in enumerate(BITS):
        most = np.abs(x).max()
        y = fq.fake_quantize(x, *fq.choose_qparams(-most, most, bits, symmetric=True))
        assert found.sqnr["tensor"]["minmax"][i] == pytest.approx(sqnr(x, y), abs=1e-3)
        for cut, name in ((x[:, None], "channel"), (x.reshape(12, 4, 25), "group")):
            most = np.abs(cut).max(-1, keepdims=True)
            y = fq.fake_quantize(cut, *fq.choose_qparams(-most, most, bits, symmetric=True))
            assert found.sqnr[name]["minmax"][i] == pytest.approx(sqnr(cut, y), abs=1e-3)
        for name in GRANULARITIES:
            assert found.clipped[name]["minmax"][i] == 0


def test_the_mse_clip_is_never_worse_and_near_the_best_of_many():
    x = np.random.default_rng(0).standard_t(4, (8, 600)).astype(np.float32)
    found = measured(x)
    for i, bits in enumerate(BITS):
        for name in GRANULARITIES:
            assert found.sqnr[name]["mse"][i] >= found.sqnr[name]["minmax"][i] - 1e-3
        best = np.zeros(8)
        for fraction in np.linspace(0.02, 1, 400, dtype=np.float32):
            most = np.abs(x).max(1, keepdims=True) * fraction
            error = x - fq.fake_quantize(x, *fq.choose_qparams(-most, most, bits, symmetric=True))
            best = np.maximum(best, (x**2).sum(1) / (error**2).sum(1))
        many = np.linspace(0.02, 1, 400, dtype=np.float32)
        grids = [fq.choose_qparams(-limit, limit, bits, symmetric=True) for limit in np.abs(x).max() * many]
        assert found.sqnr["tensor"]["mse"][i] >= max(sqnr(x, fq.fake_quantize(x, *grid)) for grid in grids) - 0.05
        assert found.sqnr["channel"]["mse"][i] >= 10 * np.log10((x**2).sum() / ((x**2).sum(1) / best).sum()) - 0.2


def test_the_clipped_share_is_the_share_without_a_mask():
    x = np.random.default_rng(0).standard_t(3, (4, 500)).astype(np.float32)
    found = measured(x)
    for clip in CLIPS:
        for grid, share in zip(found.grids[clip], found.clipped["tensor"][clip], strict=True):
            assert share == pytest.approx(1 - fq.forward(x, *grid)[1].mean())
    assert found.clipped["tensor"]["mse"][0] > 0.001


def test_values_are_counted():
    x = np.random.default_rng(0).normal(2, 1, (10, 100))
    x[0, :3], x[1, :2], x[2, 0], x[3, 0] = 0, np.nan, np.inf, -np.inf
    x[4, 0], x[5, 0] = 50, 10  # the second lies at 4 standard deviations
    found = measured(x.astype(np.float32))
    finite = x[np.isfinite(x)]
    assert (found.zeros, found.nan, found.inf, found.outliers) == (3, 2, 2, 1)
    assert (found.low, found.high) == (np.float32(finite.min()), 50)
    assert found.std == pytest.approx(finite.std(), rel=1e-4)
    assert found.peak == pytest.approx(50 / finite.std(), rel=1e-4)
    z = (finite - finite.mean()) / finite.std()
    assert found.kurtosis == pytest.approx((z**4).mean(), rel=1e-2)
    assert found.sqnr["channel"]["mse"][-1] > 20


def test_nonfinite_values_change_nothing_of_the_noise():
    x = np.random.default_rng(0).normal(0, 1, (10, 96)).astype(np.float32)
    with_zeros, with_nan = np.concatenate([x, x * 0], 1), np.concatenate([x, x * 0 + np.nan], 1)
    np.testing.assert_allclose(numbers(measured(with_zeros)), numbers(measured(with_nan)), atol=1e-3)
    for clip in CLIPS:
        assert measured(with_nan).predicted[clip] == pytest.approx(measured(x).predicted[clip])


@pytest.mark.parametrize(
    "shape", [(), (1,), (0,), (3, 0), (1, 1), (5, 1), (1, 5), (1, 70001), (70001, 1), (2, 3, 70000)]
)
def test_all_shapes_are_measured(shape):
    x = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    found = measured(x)
    if not x.size:
        assert found.sqnr == {}
        return
    assert set(found.sqnr) == set(GRANULARITIES if x.ndim > 1 else ["tensor"])
    assert found.low == x.min()


@pytest.mark.parametrize("size", [1e307, 1e-307, 1e38, 1e-40])
def test_the_largest_and_smallest_numbers_are_measured(size):
    x = np.random.default_rng(0).uniform(-1, 1, (8, 300)) * size
    x = x if size in (1e307, 1e-307) else x.astype(np.float32)
    found = measured(x)
    expected = numbers(measured(x.astype(np.float64) / size))
    if size > 1e-39:  # a subnormal has few digits itself
        np.testing.assert_allclose(numbers(found), expected, atol=0.1)
    assert found.std == pytest.approx(size * 0.577, rel=0.05)
    assert (found.low, found.high) == (x.min(), x.max())


def test_columns_count_all_values():
    x = np.random.default_rng(0).normal(0, 1, (4, 50)).astype(np.float32)
    columns = measured(x).columns
    assert 200 <= sum(columns) <= 200 + len(columns)
    assert abs(np.argmax(np.convolve(columns, np.ones(9), "same")) - len(columns) / 2) < 20


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_equal_values_have_no_spread(value):
    found = measured(np.full((4, 40), value, np.float32))
    assert (found.std, found.peak, found.outliers) == (pytest.approx(0, abs=1e-6), None, 0)
    if value == 0:
        assert found.sqnr["channel"]["mse"] == [None] * len(BITS)
    else:
        assert found.sqnr["channel"]["mse"][-1] > 40


def test_nothing_finite_and_no_noise():
    assert measured(np.full((3, 3), np.nan, np.float32)).sqnr == {}
    assert measured(np.full((3, 3), np.inf, np.float32)).inf == 9
    found = measured(np.array([[0, 1, 2, 3]], np.float32), kind="activation")
    assert found.sqnr["tensor"]["minmax"][0] == found.predicted["minmax"][0] == EXACT


def test_long_rows_are_cut_without_a_difference():
    x = np.random.default_rng(0).standard_t(4, (3, 24 << 12)).astype(np.float32)
    x *= np.where(np.arange(x.shape[1]) // 24 % 2, 1, 0.01).astype(np.float32)  # every other group is small
    found = measured(x, group=24).sqnr
    for cut, name in ((x, "channel"), (x.reshape(3, -1, 24), "group")):
        most = np.abs(cut).max(-1, keepdims=True)
        y = fq.fake_quantize(cut, *fq.choose_qparams(-most, most, 4, symmetric=True))
        assert found[name]["minmax"][BITS.index(4)] == pytest.approx(sqnr(cut, y), abs=1e-3)
    short = measured(x.reshape(-1, 1024), group=1024).sqnr
    np.testing.assert_allclose(short["group"]["mse"], short["channel"]["mse"], atol=1e-3)


def test_the_axis_is_where_the_channels_are():
    x = np.random.default_rng(0).normal(0, 1, (40, 6)).astype(np.float32) * np.logspace(-3, 0, 6, dtype=np.float32)
    np.testing.assert_allclose(numbers(measured(x, axis=-1)), numbers(measured(np.ascontiguousarray(x.T))), atol=1e-3)
    assert measured(x, axis=-1).channels.absmax.shape == (6,)


def test_a_wide_channel_is_found():
    x = np.random.default_rng(0).normal(0, 1, (16, 64)).astype(np.float32)
    x[5] *= 20
    found = measured(x)
    assert found.channels.absmax.argmax() == 5
    flat = np.random.default_rng(0).uniform(-1, 1, (16, 640)).astype(np.float32)
    flat[9, 0] = 30
    assert measured(flat).channels.sqnr.argmin() == 9


def test_memory_stays_below_the_tensor():
    x = np.random.default_rng(0).normal(0, 1, (2048, 2048)).astype(np.float16).T
    tracemalloc.start()
    try:
        measured(x)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
