"""Percentiles are NumPy's: exactly for 16-bit types and with the data at hand, else within a bin."""

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same
from test_observer import mixed

import fq

P = [0, 0.1, 1, 12.5, 50, 77.7, 99, 99.9, 99.99, 100]
WIDE = [one for one in FLOAT_TYPES if one.itemsize > 2]


def numpys(x, p=P):
    finite = x[np.isfinite(x)].astype(np.float64)
    return np.percentile(finite, p)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000, 30001])
def test_percentiles_are_exact_for_16_bits_and_with_data(dtype, n):
    x = mixed(n, dtype, n)
    x[0] = 1
    observer = fq.Observer().update(x)
    data = None if dtype.itemsize == 2 else [x[n // 3 :], x[: n // 3][::-1], x[:0]]
    assert_same(observer.percentile(P, data), numpys(x))
    assert_same(observer.percentile(50, data), numpys(x, 50))
    assert_same(observer.percentile(np.reshape(P, (2, 5)), data), numpys(x, np.reshape(P, (2, 5))))


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_percentiles_without_data_are_within_a_bin(dtype):
    x = mixed(30001, dtype, 1)
    found, expected = fq.Observer().update(x).percentile(P), numpys(x)
    np.testing.assert_allclose(found, expected, rtol=2**-7)
    assert (found[0], found[-1]) == (expected[0], expected[-1])
    normal = np.random.default_rng(2).standard_normal(100_000).astype(dtype)
    np.testing.assert_allclose(fq.Observer().update(normal).percentile(P), numpys(normal), rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize(("axis", "group"), [(1, None), (-1, None), ((0, 2), None), (None, 5), (1, 4)])
def test_percentiles_of_each_range_are_exact_with_data(dtype, axis, group):
    x = mixed((3, 4, 20), dtype, 6)
    observer = fq.Observer(axis, group).update(x)
    found = observer.percentile(P, [x])
    assert found.shape == (len(P), *observer.min.shape)
    view = x if group is None else x.reshape(3, 4, -1, group)
    kept = [i for i, n in enumerate(observer.min.shape) if n > 1]
    reduced = [i for i in range(view.ndim) if i not in kept]
    sets = view.transpose(*kept, *reduced).reshape(-1, view.size // found[0].size)
    for one, expected in zip(found.reshape(len(P), -1).T, sets, strict=True):
        assert_same(one, numpys(expected))


def test_one_outlier_hardly_moves_a_percentile():
    x = np.random.default_rng(3).standard_normal(50_000, np.float32)
    x[7] = 1000 * np.abs(x).max()
    for p in (50, 99, 99.9):
        assert fq.Observer().update(x).percentile(p) == pytest.approx(numpys(x, p), rel=2**-7, abs=1e-3)


def test_the_widest_values_do_not_overflow():
    x = np.array([-1.7e308, 1.7e308])
    assert fq.Observer().update(x).percentile([25, 50, 75]) == pytest.approx([-0.85e308, 0, 0.85e308])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], ValueError),
        ([np.float32([1, 2, 4, 8])], ValueError),
        ([np.float32([1, 2, 3, 8])], ValueError),
        ([np.float32([1, 2, 3, 8.01, 8.02, 8.03])], ValueError),
        ([np.arange(6)], TypeError),
        ([np.arange(6.0)], TypeError),
    ],
)
def test_other_data_are_refused(data, error):
    observer = fq.Observer().update(np.float32([1, 2, 3, 8.01, 8.02]))
    with pytest.raises(error):
        observer.percentile([10, 60, 99], data)
    with pytest.raises(ValueError, match="ranges of shape"):
        fq.Observer(axis=0).update(np.ones((2, 3), np.float32)).percentile(50, [np.ones((3, 3), np.float32)])


@pytest.mark.parametrize("values", [[5e-324, 1e-323, 1e-322], [-1e-310, 1e-310], [1.7e308, -1.7e308, 1.0]])
def test_the_callers_floating_point_errors_do_not_stop_a_percentile(values):
    with np.errstate(all="raise"):
        observer = fq.Observer().update(values)
        for data in (None, [values]):
            assert np.isfinite(observer.percentile([10, 50, 90], data)).all()
        assert np.isfinite([observer.mean, observer.std]).all()
