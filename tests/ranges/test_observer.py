"""Observers see exactly what NumPy sees: extremes, counts, bins and their integer moments, of every type and layout."""

import gc
import pickle
import threading
import time
import tracemalloc

import numpy as np
import pytest
from bins_formula import bins_of, order_of
from helpers import FLOAT_TYPES, assert_same
from hypothesis import given
from hypothesis import strategies as st
from layouts import laid_out
from oracle import assert_saw

import fq
from fq import _core, _seen
from fq._bins import Bins
from fq._clip import METHODS
from fq._seen import Seen

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

RNG = np.random.default_rng(0)


def mixed(shape, dtype, seed=0, special=0.02):
    """Normal values over many magnitudes, zeros of both signs, and a share of NaN and infinities."""
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        x = rng.standard_normal(shape) * 2.0 ** rng.integers(-30, 12, shape)
        x[rng.random(shape) < 0.1] = 0.0
        x[rng.random(shape) < 0.05] = -0.0
        where = rng.random(shape) < special
        x[where] = rng.choice([np.nan, np.inf, -np.inf], where.sum())
        return x.astype(dtype)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 7, 31, 32, 33, 100, 128, 129, 1000, 4097, 70000])
def test_a_tensor_is_seen_exactly(dtype, n, target):
    x = mixed(n, dtype, n)
    assert_saw(fq.Observer().update(x), x)


@pytest.mark.parametrize("dtype", [one for one in FLOAT_TYPES if one.itemsize == 2], ids=str)
def test_all_16_bit_values_are_seen(dtype, target):
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    observer = fq.Observer().update(x)
    assert_saw(observer, x)
    with np.errstate(invalid="ignore"):
        is_finite = np.isfinite(x)
    finite = x[is_finite]
    assert observer.state()["sum"]["bins"][0, :, 0].tolist() == is_finite.astype(int).tolist()
    assert (observer.min, observer.max) == (finite.min(), finite.max())


@given(data=st.data())
def test_any_layout_axes_and_groups_are_seen_exactly(data):
    dtype = data.draw(st.sampled_from(FLOAT_TYPES))
    shape = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    group = data.draw(st.sampled_from([None, None, 1, 2, 3]))
    shape[-1] *= group or 1
    x = laid_out(mixed(tuple(shape), dtype, data.draw(st.integers(0, 99)), 0.05), data.draw)
    if group is None:
        x = x.transpose(data.draw(st.permutations(range(x.ndim))))
    axes = range(x.ndim - (group is not None))
    axis = tuple(data.draw(st.lists(st.sampled_from(axes), unique=True))) or None if axes else None
    observer = fq.Observer(axis, group).update(x)
    native = x.astype(dtype)
    assert_saw(observer, native, axis, group)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((64, 300), 0),
        ((300, 64), 1),
        ((8, 16, 7, 7), 1),
        ((8, 7, 7, 16), 3),
        ((5, 700), (0, 1)),
        ((700, 5), -1),
        ((3, 9000), 0),
        ((9000, 3), 1),
        ((2, 3, 4, 5), (0, 2)),
        ((33,), 0),
        ((300, 300), 1),
    ],
)
def test_each_place_of_the_kept_axes_is_seen_exactly(dtype, shape, axis, target):
    x = mixed(shape, dtype, 3)
    observer = fq.Observer(axis).update(x)
    assert_saw(observer, x, axis)
    kept = {one % x.ndim for one in np.atleast_1d(axis)}
    assert observer.min.shape == tuple(n if i in kept else 1 for i, n in enumerate(shape))
    assert_saw(fq.Observer(axis).update(np.asfortranarray(x)), x, axis)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("group", [1, 3, 16, 32, 64, 96, 192])
def test_each_group_is_seen_exactly(dtype, group, target):
    x = mixed((6, 192), dtype, 4)
    observer = fq.Observer(group=group).update(x)
    assert_saw(observer, x, group=group)
    assert observer.max.shape == (6, 192 // group, 1)
    y = mixed((2, 3, 192), dtype, 5)
    observer = fq.Observer(axis=1, group=group).update(y)
    assert observer.max.shape == (1, 3, 192 // group, 1)
    assert_saw(observer, y, axis=1, group=group)


@pytest.fixture
def threads():
    before = fq.get_num_threads()
    yield fq.set_num_threads
    fq.set_num_threads(before)


@pytest.fixture
def one_thread(threads):
    threads(1)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_threads_change_nothing(threads, axis):
    x = mixed((6, 3, 20000), np.float32, 6, 1e-4)
    for n in (1, 2, 5):
        threads(n)
        observer = fq.Observer(axis).update(x)
        if n == 1:
            assert_saw(observer, x, axis)
            expected = pickle.dumps(observer)
        assert pickle.dumps(observer) == expected


def test_subnormal_constant_and_outlying_values(target):
    tiny = np.float32([1e-45, -1e-45, 1e-40, 0.0, -0.0, 1.1754942e-38])
    assert_saw(fq.Observer().update(tiny), tiny)
    constant = np.full(5000, 0.1, np.float32)
    observer = fq.Observer().update(constant)
    assert observer.percentile([0, 50, 100]).tolist() == [float(np.float32(0.1))] * 3
    assert (observer.mean, observer.std) == (float(np.float32(0.1)), 0)
    outlier = np.append(RNG.standard_normal(10000), 4000.0).astype(np.float32)
    observer = fq.Observer().update(outlier)
    assert observer.max == 4000
    assert observer.percentile(99) == pytest.approx(np.percentile(outlier, 99), rel=2**-7)


def test_zeros_have_no_sign():
    for x in ([-0.0], [0.0, -0.0], [-0.0, 0.0]):
        observer = fq.Observer().update(np.float32(x))
        assert not np.signbit(observer.min)
        assert not np.signbit(observer.max)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_counts_neither_stall_nor_wrap(dtype, one_thread):
    n = 2**26 + 12345  # over 2**24 in each of the four cells of a bin
    observer = fq.Observer().update(np.broadcast_to(np.array(1.1, dtype), (n,)))
    assert observer.count == n
    r = int(
        (np.float32(1.1).view(np.uint32) if dtype.itemsize == 4 else np.float64(1.1).view(np.uint64) >> 29) & 0xFFFF
    )
    expected = [n] if dtype.itemsize == 2 else [n, n * r, n * r * r]
    assert observer.state(dense=False)["bins"]["cells"].tolist() == [expected]


def test_sums_that_could_wrap_are_refused():
    observer = fq.Observer().update(np.full(3, 1.0, np.float32))
    state = observer.state(dense=False)
    state["sum"]["count"][:] = state["bins"]["cells"][:, 0] = 2**31
    half = fq.Observer.from_state(state)
    whole = half | half
    assert whole.count == 2**32
    with pytest.raises(OverflowError, match=r"2\*\*32 values"):
        whole.merge(observer)
    assert whole.count == 2**32


def test_empty_arrays_change_nothing():
    observer = fq.Observer(axis=1)
    for x in (np.zeros((0, 3), np.float32), np.zeros(0, np.float16), []):
        observer.update(x)
    assert (observer.count, observer.dtype) == (0, None)
    observer.update(np.ones((2, 3), np.float32)).update(np.zeros((0, 3), np.float64))
    assert observer.count.tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("how", ["min", "max", "mean", "std", "qparams", "percentile", "state"])
def test_an_observer_that_saw_nothing_says_so(how):
    with pytest.raises(ValueError, match="saw nothing yet"):
        _ = (
            getattr(fq.Observer(), how)()
            if how in ("qparams", "state")
            else (fq.Observer().percentile(50) if how == "percentile" else getattr(fq.Observer(), how))
        )


def test_nothing_but_nan_is_no_range():
    observer = fq.Observer().update(np.float32([np.nan, np.inf]))
    assert np.isnan([observer.min, observer.max, observer.mean, observer.std]).all()
    assert (observer.count, observer.nan, observer.inf) == (0, 1, 1)
    with pytest.raises(ValueError, match=r"no finite value$"):
        observer.qparams()
    channels = fq.Observer(axis=1).update(np.float32([[1, np.nan], [2, np.inf]]))
    assert channels.count.tolist() == [[2, 0]]
    with pytest.raises(ValueError, match=r"no finite value at index \(0, 1\) of its ranges"):
        channels.percentile(50)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_mean_and_deviation_are_numpys(dtype):
    with np.errstate(all="ignore"):
        x = (np.random.default_rng(1).standard_normal((50, 4)) * [1, 1e-3, 1e3, 1] + [0, 1, 0, 100]).astype(dtype)
    wide, observer = x.astype(np.float64), fq.Observer(axis=1).update(x)
    limit = 1e-6 if dtype == np.float64 else 1e-12
    np.testing.assert_allclose(observer.mean[0], wide.mean(0), rtol=limit, atol=limit * 1e-3)
    np.testing.assert_allclose(observer.std[0], wide.std(0), rtol=1e-4 if dtype == np.float64 else 1e-9)
    huge = fq.Observer().update(np.array([-1.5e308, 1.5e308, 1.7e308]))
    assert huge.mean == pytest.approx(1.7e308 / 3, rel=1e-6)
    assert huge.std == pytest.approx(1.46363319e308, rel=1e-6)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_qparams_of_minmax_are_those_of_the_extremes(dtype):
    x = RNG.standard_normal((4, 5, 6)).astype(dtype)
    for how in ({}, {"symmetric": True}, {"bits": 4, "signed": False}, {"narrow_range": True, "bits": 3}):
        observer = fq.Observer(axis=1).update(x)
        wide = x.astype(np.float64 if dtype == np.float64 else np.float32)
        expected = fq.choose_qparams(
            wide.min((0, 2), keepdims=True), wide.max((0, 2), keepdims=True), **{"bits": 8, **how}
        )
        assert_same(tuple(observer.qparams(**how)), tuple(expected))
        assert np.broadcast_shapes(observer.qparams(**how).scale.shape, x.shape) == x.shape
    found = fq.Observer().update(x).qparams()
    assert found.scale.dtype == (np.float64 if dtype == np.float64 else np.float32)
    assert found.scale.shape == ()
    assert fq.forward(x, *found)[1].all()


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_bins_hold_what_was_seen_in_the_order_of_values(dtype):
    x = mixed((3, 4000), dtype, 8)
    bins = fq.Observer(axis=0).update(x)._bins()
    assert isinstance(bins, Bins)
    for i, row in enumerate(x):
        finite = np.sort(row[np.isfinite(row)].astype(np.float64))
        lower, upper, count, total, square = (values[bins.start[i] : bins.start[i + 1]] for values in bins[1:])
        assert (lower <= upper).all()
        assert (np.diff(lower) >= 0).all()
        assert (lower[0], upper[-1]) == (finite[0], finite[-1])
        assert count.sum() == finite.size
        edges = np.concatenate([[0], np.cumsum(count)]).astype(int)
        limit = 2.0**-22 if dtype == np.float64 else 1e-13
        for k in range(len(count)):
            inside = finite[edges[k] : edges[k + 1]]
            slack = limit * np.abs(inside).max()
            assert lower[k] - slack <= inside.min()
            assert inside.max() <= upper[k] + slack
            assert total[k] == pytest.approx(inside.sum(), rel=limit, abs=1e-300)
            assert square[k] == pytest.approx((inside**2).sum(), rel=2 * limit, abs=1e-300)
        if dtype.itemsize == 2:
            assert_same(lower, upper)


def arrays_of_many_patterns(dtype):
    """Values of many magnitudes, of few, of any bits, each some times, and none that is finite."""
    rng, width = np.random.default_rng(9), dtype.itemsize
    bits = rng.integers(0, 2 ** (8 * width), (40, 100), dtype=np.uint64)
    yield mixed((3, 4000), dtype, 8)
    yield np.round(rng.standard_normal((3, 400)), 1).astype(dtype)
    yield bits.astype(f"u{width}").view(dtype)
    yield np.repeat(bits, 3, 1).astype(f"u{width}").view(dtype)
    yield np.full((2, 3), np.nan, dtype)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_bins_equal_their_formula(dtype, threads):
    before = fq.get_num_threads()
    fq.set_num_threads(threads)
    try:
        for x in arrays_of_many_patterns(dtype):
            for axis in (None, 0):
                seen = fq.Observer(axis).update(x)._seen
                assert_same(tuple(_seen.bins_of(seen)), tuple(bins_of(seen)))
                assert_same(_seen.order_of(seen), order_of(seen))
    finally:
        fq.set_num_threads(before)


def test_what_are_no_bins_is_refused():
    seen = fq.Observer(axis=0).update(np.float32([[1, 2], [3, 4]]))._seen
    low, high = seen.low.astype(np.float64), seen.high.astype(np.float64)
    good = [seen.dtype, *seen.bins, low, high]
    assert len(_core._values_of_bins(*good)) == 5
    start, keys, cells = seen.bins
    wrong = {0: np.dtype(np.int8), 1: start[::-1].copy(), 2: keys[1:], 3: cells[:, :1].copy(), 4: low[1:], 5: seen.high}
    for place, one in wrong.items():
        with pytest.raises(ValueError, match="not the bins of sets"):
            _core._values_of_bins(*good[:place], one, *good[place + 1 :])


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_a_method_gets_the_bins_and_gives_the_range(dtype, monkeypatch):
    x = RNG.standard_normal((3, 50)).astype(dtype)
    observer, given = fq.Observer(axis=0).update(x), {}

    def clip_range(seen, low, high, **how):
        assert seen is observer._seen
        assert_same((low, high), (wide.min(1), wide.max(1)))
        given.update(how)
        return low / 2, high / 4

    wide = x.astype(np.float64)
    monkeypatch.setattr("fq.observer.clip_range", clip_range)
    found = observer.qparams(4, "mse", signed=False, p=99)
    type_ = np.float64 if dtype == np.float64 else np.float32
    low, high = (one[:, None].astype(type_) for one in (wide.min(1) / 2, wide.max(1) / 4))
    assert_same(tuple(found), tuple(fq.choose_qparams(low, high, 4, signed=False)))
    assert given == {"bits": 4, "signed": False, "symmetric": False, "narrow_range": False, "method": "mse", "p": 99}


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("kept", [{}, {"axis": 0}, {"axis": 1}, {"group": 25}], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_an_observer_of_one_array_chooses_what_calibrate_does(dtype, kept, method):
    x = RNG.standard_normal((8, 100)).astype(dtype)
    for grid in ({"symmetric": True}, {"signed": False}):
        found = fq.Observer(**kept).update(x).qparams(4, method, **grid)
        assert_same(tuple(found), tuple(fq.calibrate(x, 4, method=method, **kept, **grid)))


def test_a_bin_of_equal_values_is_a_point():
    x = np.repeat(np.float32([-3.3, 0, 1.1, 1.1000001]), [5, 7, 3, 4])
    bins = fq.Observer().update(x)._bins()
    assert (bins.lower == bins.upper).tolist() == [True, True, False]
    assert bins.lower[:2].tolist() == [float(np.float32(-3.3)), 0]


def refused(error, match, call, *args, **kwargs):
    with pytest.raises(error, match=match):
        call(*args, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"axis": 1.0}, TypeError, "axis must be an integer"),
        ({"axis": True}, TypeError, "axis must be an integer"),
        ({"axis": "0"}, TypeError, "axis must be an integer"),
        ({"axis": (0, 0)}, ValueError, "twice"),
        ({"group": 0}, ValueError, "group must be positive, got 0"),
        ({"group": 2.0}, TypeError, "group must be an integer"),
        ({"distribution": 1}, TypeError, "distribution must be a bool"),
        ({"nonfinite": "ignore"}, ValueError, "'skip' or 'raise', got 'ignore'"),
    ],
)
def test_bad_settings_are_refused(kwargs, error, match):
    refused(error, match, fq.Observer, **kwargs)


F32 = np.ones((4, 6), np.float32)


@pytest.mark.parametrize(
    ("settings", "first", "x", "error", "match"),
    [
        ({}, None, np.arange(3), TypeError, r"got int64; convert it"),
        ({}, None, np.ones(3, bool), TypeError, "got bool"),
        ({}, None, np.ones(3, complex), TypeError, r"got complex128; take its \.real"),
        ({}, None, ["a"], TypeError, "got <U1"),
        ({}, None, np.ma.array([1.0]), TypeError, "masked array"),
        ({}, F32, F32.astype(float), TypeError, "x is of float64, but the observer saw float32"),
        ({"axis": 2}, None, F32, ValueError, r"axis \(2,\) must lie within .*\(4, 6\)"),
        ({"axis": -3}, None, F32, ValueError, r"axis \(-3,\) must lie within"),
        ({"axis": (0, -2)}, None, F32, ValueError, "twice"),
        ({"axis": 1}, F32, F32[:, :5], ValueError, r"shape \(1, 5\), .* \(1, 6\)"),
        ({"axis": 1}, F32, F32[None], ValueError, r"shape \(1, 4, 1\), .* \(1, 6\)"),
        ({"group": 4}, None, F32, ValueError, r"groups of 4 must divide the last axis of x, which has shape \(4, 6\)"),
        ({"group": 4}, None, np.float32(1), ValueError, "groups of 4 must divide"),
        ({"group": 2}, F32, F32[:3], ValueError, r"shape \(3, 3, 1\), .* \(4, 3, 1\)"),
        ({"group": 2, "axis": 1}, None, F32, ValueError, "must not name the last"),
        ({"group": 2, "axis": -1}, None, F32, ValueError, "must not name the last"),
        (
            {"nonfinite": "raise"},
            F32,
            np.float32([[1, np.inf, np.nan]]),
            ValueError,
            r"got inf at index \(0, 1\), .* 2$",
        ),
    ],
)
def test_a_bad_array_is_refused_and_changes_nothing(settings, first, x, error, match):
    observer = fq.Observer(**settings)
    if first is not None:
        observer.update(first)
    before = repr(observer)
    refused(error, match, observer.update, x)
    assert repr(observer) == before


def test_groups_of_a_list_of_floats_are_float64():
    observer = fq.Observer(group=2).update([1.0, 2.0, 3.0, 5.0])
    assert observer.dtype == np.float64
    assert observer.max.ravel().tolist() == [2, 5]


def test_bad_questions_are_refused():
    observer = fq.Observer().update(F32)
    refused(ValueError, "method must be 'minmax'", observer.qparams, method="best")
    refused(ValueError, "bits", observer.qparams, bits=99)
    refused(ValueError, "within 0 to 100", observer.percentile, 101)
    refused(ValueError, "within 0 to 100", observer.percentile, np.nan)
    refused(TypeError, "p must be real", observer.percentile, "50")
    refused(TypeError, "p must be real", observer.percentile, 1j)
    bare = fq.Observer(distribution=False).update(F32)
    assert bare.qparams().scale > 0
    refused(ValueError, "method 'mse' needs the distribution", bare.qparams, method="mse")
    refused(ValueError, "percentile needs the distribution", bare.percentile, 5)
    with pytest.raises(ValueError, match="mean needs the distribution"):
        _ = bare.mean


def test_observers_that_do_not_fit_are_not_merged():
    a = fq.Observer(axis=1).update(F32)
    refused(TypeError, "other must be an Observer, got int", a.merge, 3)
    refused(ValueError, r"shape \(4, 1\), .* \(1, 6\)", a.merge, fq.Observer(axis=0).update(F32))
    refused(ValueError, "axis 1 and 0", a.merge, fq.Observer(axis=0))
    refused(ValueError, "group None and 2", a.merge, fq.Observer(group=2))
    refused(ValueError, "distribution True and False", a.merge, fq.Observer(axis=1, distribution=False))
    refused(
        TypeError,
        "the other observer is of float64, but the observer saw float32",
        a.merge,
        fq.Observer(axis=1).update(F32.astype(float)),
    )
    with pytest.raises(TypeError, match="unsupported operand"):
        a | 3
    assert a.count.tolist() == [[4] * 6]
    assert a.merge(fq.Observer(axis=1)).merge(fq.Observer(axis=-1).update(F32)).count.tolist() == [[8] * 6]
    assert fq.Observer(axis=1).merge(a).count.tolist() == [[8] * 6]


def test_a_union_leaves_its_operands():
    a, b = (fq.Observer().update(F32 * i) for i in (1, 2))
    both = a | b
    assert (a.max, b.min, both.min, both.max, both.count) == (1, 2, 1, 2, 48)
    assert a.merge(a).count == 48


def test_threads_that_update_one_observer_lose_nothing(monkeypatch):
    def slowly(self, other, name, merged=Seen.merged):
        time.sleep(1e-4)  # lets another thread run
        return merged(self, other, name)

    monkeypatch.setattr(Seen, "merged", slowly)
    parts = [mixed((7, 300), np.float32, seed) for seed in range(40)]
    observer = fq.Observer(axis=0)

    def work(own):
        for part in own:
            observer.update(part)

    threads = [threading.Thread(target=work, args=(parts[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_saw(observer, np.concatenate(parts, axis=1), 0)


def test_what_an_observer_gives_is_not_what_it_holds():
    observer = fq.Observer(axis=0).update(F32)
    for _ in range(2):
        state = observer.state(dense=False)
        for op in ("sum", "min", "max", "bins"):
            for array in state[op].values():
                array[...] = 0
        observer.min[...] = 7
    assert_saw(observer, F32, 0)


def test_repr_says_what_was_seen():
    assert repr(fq.Observer()) == "<Observer(), nothing seen>"
    observer = fq.Observer(axis=1, nonfinite="skip").update(np.float32([[1, np.nan], [np.inf, 2]]))
    assert repr(observer) == "<Observer(axis=1), 2 ranges of float32: 2 finite, 1 NaN, 1 infinite>"
    assert repr(fq.Observer(group=2, distribution=False, nonfinite="raise")) == (
        "<Observer(group=2, distribution=False, nonfinite='raise'), nothing seen>"
    )


def test_the_c_functions_refuse_what_would_crash():
    x = np.ones((2, 3), np.float32)
    for call in (_core._extremes, _core._distribution):
        for args in (
            (x, (True,)),
            (x, [True, True]),
            (x.astype(int), (True, True)),
            ("x", ()),
            (x[:0], (True, True)),
            (x.astype(">f4"), (True, True)),
        ):
            refused(TypeError, "must be an aligned", call, *args)
    bins = _core._distribution(x, (True, False))
    refused(ValueError, "not the bins", _core._merge_bins, *bins, bins[0][:-1], *bins[1:])
    refused(ValueError, "not the bins", _core._merge_bins, *bins, bins[0] * 2, *bins[1:])
    refused(ValueError, "not the bins", _core._merge_bins, *bins, bins[0], bins[1].astype(int), bins[2])
    refused(ValueError, "not the bins", _core._merge_bins, *bins, bins[0], bins[1], bins[2][:, :1])


def test_updates_do_not_leak():
    x = mixed((20, 500), np.float32)
    observer = fq.Observer(axis=0)
    gc.collect()
    tracemalloc.start()
    for i in range(30):
        observer.update(x)
        if i == 5:
            before = tracemalloc.get_traced_memory()[0]
    assert tracemalloc.get_traced_memory()[0] - before < 20000
    tracemalloc.stop()


def test_groups_of_no_kept_axes_run_over_all_rows():
    x = np.arange(24, dtype=np.float32).reshape(3, 8)
    found, kept = fq.Observer(axis=(), group=4).update(x), fq.calibrate(x, axis=(), group=4)
    assert_same(found.max, np.float32([[[19], [23]]]))
    assert_same(tuple(found.qparams()), tuple(kept))
    assert fq.Observer(axis=()).merge(fq.Observer().update(x)).count == 24
    with pytest.raises(ValueError, match="do not merge"):
        fq.Observer(axis=(), group=4).merge(fq.Observer(group=4).update(x))
