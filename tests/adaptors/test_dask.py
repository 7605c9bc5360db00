"""fq.dask: the bits of the NumPy functions for any chunks, lazily, and states that merge for any tree."""

import doctest
import warnings
from itertools import product

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, assert_same, bfloat16, kept_as, random_kept, state_of
from hypothesis import given, settings
from hypothesis import strategies as st

import fq
from fq import _core

pytest.importorskip("dask.array", reason="Dask is not installed")

import dask
import dask.array as da

import fq.dask
from fq.dask import _observers

GRID = 0.25, 3, -8, 7
FEW = settings(max_examples=6)  # a graph takes milliseconds
SLOW = pytest.mark.slow
# What fq has and fq.dask has not.
IN_MEMORY = {
    *("MovingAverage", "Observer", "QParams", "gradcheck", "reciprocal", "reference"),
    *("blocks", "dialects", "floats", "formats", "rounding", "stochastic"),
    *("get_num_threads", "set_num_threads", "scale_gradient_factor"),
}
SHAPES = {
    "numbers": ((), (), (), ()),
    "per channel": ((5, 1), (5, 1), (), ()),
    "last axis": ((16,), (), (), ()),
    "each": ((4, 5, 16), (5, 16), (4, 1, 1), (1, 1)),
}

pytestmark = pytest.mark.filterwarnings("ignore::dask.array.PerformanceWarning")


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def parameters(shapes, seed=0):
    rng = np.random.default_rng(seed)
    scale, zero_point, qmin, qmax = shapes
    return (
        np.asarray(rng.uniform(0.05, 0.4, scale), np.float32)[()],
        rng.integers(-4, 4, zero_point)[()],
        rng.integers(-9, -4, qmin)[()],
        rng.integers(4, 9, qmax)[()],
    )


def values(dtype=np.float32, shape=(4, 5, 16), seed=1):
    return (np.random.default_rng(seed).standard_normal(shape) * 2).astype(dtype)


def chunks_of(draw, shape):
    """Chunks of any sizes."""
    return tuple(_sizes(draw, size) for size in shape)


def _sizes(draw, total):
    cuts = sorted(draw(st.sets(st.integers(1, total - 1), max_size=3))) if total > 1 else []
    return tuple(end - start for start, end in zip([0, *cuts], [*cuts, total], strict=True))


def lazily(draw, array):
    """The array as one of Dask's; a number or a small array may stay as it is."""
    if np.ndim(array) == 0 or draw(st.booleans()):
        return array
    return da.from_array(np.asarray(array), chunks=chunks_of(draw, np.shape(array)))


def computed(results):
    """The results, whose types and shapes must be what was said of them."""
    results = results if isinstance(results, tuple) else (results,)
    arrays = dask.compute(*results)
    for one, array in zip(results, arrays, strict=True):
        assert isinstance(one, da.Array)
        assert (one.dtype, one.shape, type(one._meta)) == (array.dtype, array.shape, np.ndarray)
        blocks = dask.compute(*one.to_delayed().ravel())
        assert [block.shape for block in blocks] == list(map(tuple, product(*one.chunks)))
    return arrays if len(arrays) > 1 else arrays[0]


def test_functions_that_are_not_there_say_how_to_go_on():
    x = da.from_array(np.ones((8, 8), np.float32), chunks=4)
    with pytest.raises(TypeError, match="map_blocks with forward computes one chunk after another"):
        fq.floats.forward(x, 1.0, *fq.formats.e4m3fn)
    y = x.map_blocks(fq.floats.fake_quantize, 1.0, *fq.formats.e4m3fn)
    assert (y.compute() == 1).all()


def test_every_function_of_fq_is_there():
    assert set(fq.dask.__all__) == set(fq.__all__) - IN_MEMORY | {"observe"}


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("name", _core.operations())
@FEW
@given(data=st.data())
def test_every_operation_has_the_bits_of_numpy_for_any_chunks(name, arithmetic, data):
    draw, row = data.draw, _core.operations()[name]
    reciprocal = {"reciprocal": arithmetic == "reciprocal"} if row["parameters"] else {}
    dtype = draw(st.sampled_from(FLOAT_TYPES))
    given, rng = {"x": values(dtype), "dy": values(dtype, seed=2)}, np.random.default_rng(3)
    for one in row["inputs"]:
        kept = kept_as(name, one, given["x"].shape)
        given |= {} if kept is None else {one: random_kept(rng, *kept)}
    shapes = draw(st.sampled_from(list(SHAPES.values())))
    qparams = parameters(shapes) if row["parameters"] else ()
    if row["packed"] and qparams:  # one a row
        qparams = *qparams[:2], *(one[..., 0] if np.ndim(one) else one for one in qparams[2:])
    arrays = [given[one] for one in row["inputs"]]
    if row["reduction"]:
        qparams = tuple(np.broadcast_to(one, np.shape(one)) for one in qparams)
    expected = getattr(ARITHMETICS[arithmetic] if reciprocal else fq, name)(*arrays, *qparams)
    lazy = [da.from_array(one, chunks=chunks_of(draw, one.shape)) for one in arrays]
    found = computed(getattr(fq.dask, name)(*lazy, *(lazily(draw, one) for one in qparams), **reciprocal))
    if not row["reduction"]:
        assert_same(found, expected)
        return
    assert_same(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == np.asarray(other).dtype
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@FEW
@given(data=st.data())
def test_integers_have_the_bits_of_numpy_for_any_chunks(arithmetic, data):
    draw, reciprocal, functions = data.draw, arithmetic == "reciprocal", ARITHMETICS[arithmetic]
    x, qparams = values(draw(st.sampled_from(FLOAT_TYPES))), parameters(draw(st.sampled_from(list(SHAPES.values()))))
    qparams = *qparams[:2], -8, 7
    lazy, lazy_qparams = da.from_array(x, chunks=chunks_of(draw, x.shape)), [lazily(draw, one) for one in qparams]
    q = fq.dask.quantize(lazy, *lazy_qparams, reciprocal=reciprocal)
    expected = functions.quantize(x, *qparams)
    assert_same(computed(q), expected)
    assert_same(
        computed(fq.dask.dequantize(q, *lazy_qparams[:2], x.dtype)), fq.dequantize(expected, *qparams[:2], x.dtype)
    )
    packed = fq.dask.quantize_packed(lazy, *lazy_qparams, reciprocal=reciprocal)
    assert_same(computed(packed), fq.pack(expected, 4))
    assert_same(computed(fq.dask.pack(q, 4)), fq.pack(expected, 4))
    assert_same(computed(fq.dask.unpack(packed, 4, 16)), expected)
    assert_same(
        computed(fq.dask.dequantize_packed(packed, *lazy_qparams[:2], 4, 16)), fq.dequantize(expected, *qparams[:2])
    )


@pytest.mark.parametrize("bits", [1, 2, 4])
@FEW
@given(data=st.data())
def test_rows_of_any_length_are_packed_in_whole_bytes(bits, data):
    n = data.draw(st.integers(1, 40))
    q = np.random.default_rng(n).integers(0, 2**bits, (2, n)).astype(np.uint8)
    lazy = da.from_array(q, chunks=chunks_of(data.draw, q.shape))
    assert_same(computed(fq.dask.pack(lazy, bits)), fq.pack(q, bits))
    packed = da.from_array(fq.pack(q, bits), chunks=(1, 1))
    assert_same(computed(fq.dask.unpack(packed, bits, n, False)), q)
    x = q.astype(np.float32)
    y, mask = (da.from_array(one, chunks=chunks_of(data.draw, x.shape)) for one in (x, x > 1))
    found = fq.dask.backward_packed(y, da.from_array(np.packbits(x > 1, -1, bitorder="little"), chunks=(1, 1)))
    assert_same(computed(found), computed(fq.dask.backward(y, mask)))


@pytest.mark.parametrize(
    "how",
    [{}, {"axis": 1}, {"axis": (0, -1)}, {"axis": -2}, {"group": 4}, {"axis": 0, "group": 8}, {"distribution": False}],
    ids=str,
)
@FEW
@given(data=st.data())
def test_observers_have_the_state_of_the_whole_for_any_chunks(how, data):
    dtype = data.draw(st.sampled_from(FLOAT_TYPES))
    x = values(dtype)
    x.ravel()[::7], x.ravel()[5::31] = np.nan, -np.inf
    lazy = da.from_array(x, chunks=chunks_of(data.draw, x.shape))
    found = fq.dask.observe(lazy, **how).compute()
    assert state_of(found) == state_of(fq.Observer(**how).update(x))


@pytest.mark.parametrize("how", [{}, {"axis": 1}, {"axis": (0, 2)}, {"group": 4}, {"axis": 0, "group": 8}], ids=str)
@pytest.mark.parametrize("method", ["minmax", *(pytest.param(m, marks=SLOW) for m in ("percentile", "mse", "entropy"))])
@FEW
@given(data=st.data())
def test_grids_are_those_of_calibrate_for_any_chunks(method, how, data):
    x = values(data.draw(st.sampled_from(FLOAT_TYPES)))
    lazy = da.from_array(x, chunks=chunks_of(data.draw, x.shape))
    options = {"symmetric": data.draw(st.booleans()), "formula": data.draw(st.sampled_from(["cover", "torch"]))}
    found, expected = (one.calibrate(a, 4, method=method, **how, **options) for one, a in ((fq.dask, lazy), (fq, x)))
    assert_same(computed(found[:2]), tuple(map(np.asarray, expected[:2])))
    assert found[2:] == expected[2:]
    grouped = fq.dask.grouped(lazy, how["group"]) if "group" in how else lazy
    y = fq.fake_quantize(fq.grouped(x, how["group"]) if "group" in how else x, *expected)
    assert_same(computed(fq.dask.fake_quantize(grouped, *found)), y)


@FEW
@given(data=st.data())
def test_ends_and_ratios_are_those_of_numpy(data):
    x = values()
    lazy = da.from_array(x, chunks=chunks_of(data.draw, x.shape))
    ends, expected = (lazy.min(0), lazy.max(0)), fq.choose_qparams(x.min(0), x.max(0), 4)
    found = fq.dask.choose_qparams(*ends, 4)
    assert_same(computed(found[:2]), expected[:2])
    assert found[2:] == expected[2:]
    for axis in (None, 0, (0, 2)):
        y = fq.fake_quantize(x, 0.1, 0, -8, 7)
        ratio = fq.dask.sqnr(lazy, da.from_array(y, chunks=chunks_of(data.draw, y.shape)), axis)
        np.testing.assert_allclose(computed(ratio), fq.sqnr(x, y, axis), rtol=1e-12)


@pytest.mark.parametrize("size", [1e-170, 1e170, 1e300])
def test_ratios_of_tiny_and_huge_values_beside_zeros(size):
    x = np.array([0.0, 0.0, 1.0, 3.0]) * size
    y = np.array([0.0, 0.0, 1.5, 3.0]) * size
    found = fq.dask.sqnr(da.from_array(x, chunks=2), y).compute()
    np.testing.assert_allclose(found, fq.sqnr(x, y), rtol=1e-12)


def test_chunks_without_elements_and_arrays_without_axes():
    x = values(shape=(6, 8))
    lazy = da.from_array(x, chunks=((2, 0, 4), (8,)))
    assert 0 in lazy.chunks[0]
    assert state_of(fq.dask.observe(lazy, axis=0).compute()) == state_of(fq.Observer(axis=0).update(x))
    assert_same(computed(fq.dask.calibrate(lazy, axis=0)[:2]), fq.calibrate(x, axis=0)[:2])
    assert_same(computed(fq.dask.forward(lazy, *GRID)), fq.forward(x, *GRID))
    one = np.asarray(np.float32(0.3))
    assert_same(computed(fq.dask.forward(da.from_array(one), *GRID)), tuple(map(np.asarray, fq.forward(one, *GRID))))
    with pytest.raises(ValueError, match=r"no finite value|saw nothing"):
        fq.dask.calibrate(da.zeros((0, 3), dtype=np.float32)).scale.compute()


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "uint64"])
def test_levels_that_are_not_known_yet_may_be_of_any_integer_type(kind):
    x, zero_point = values(), np.arange(5).astype(kind).reshape(5, 1)
    found = fq.dask.forward(da.from_array(x, chunks=3), 0.25, da.from_array(zero_point, chunks=2), -8, 7)
    assert_same(computed(found), fq.forward(x, 0.25, zero_point, -8, 7))


@pytest.mark.parametrize("split_every", [2, 3, 100])
def test_any_tree_gives_the_same_state(split_every, monkeypatch):
    monkeypatch.setattr(_observers, "SPLIT_EVERY", split_every)
    x = values(shape=(40, 8))
    whole = state_of(fq.Observer(axis=1).update(x))
    assert state_of(fq.dask.observe(da.from_array(x, chunks=(1, 3)), axis=1).compute()) == whole


def test_nothing_is_computed_before_it_is_asked_for():
    def fail(block):
        raise AssertionError("computed")

    x = da.map_blocks(
        fail, da.zeros((4, 16), chunks=8, dtype=np.float32), dtype=np.float32, meta=np.empty((0, 0), np.float32)
    )
    scale = da.map_blocks(
        fail, da.ones((4, 1), chunks=2, dtype=np.float32), dtype=np.float32, meta=np.empty((0, 0), np.float32)
    )
    fq.dask.backward_packed(*fq.dask.forward_packed(x, scale, *GRID[1:]))
    fq.dask.backward_learnable(x, x, scale, *GRID[1:])
    fq.dask.fake_quantize(x, *fq.dask.calibrate(x, method="mse"))
    with pytest.raises(AssertionError, match="computed"):
        fq.dask.observe(x).compute()


def test_chunks_of_whole_bytes_are_kept_and_others_are_told_of():
    x = da.zeros((2, 40), chunks=(1, 16), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, bits = fq.dask.forward_packed(x, *GRID)
    assert bits.chunks == ((1, 1), (2, 2, 1))
    with pytest.warns(
        da.PerformanceWarning, match=r"x is rechunked along its last axis to whole bytes: .* multiple of 8"
    ):
        y, bits = fq.dask.forward_packed(x.rechunk({1: 20}), *GRID)
    assert y.chunks[-1] == (24, 16)
    assert bits.chunks[-1] == (3, 2)


def test_results_of_one_function_are_computed_together(monkeypatch):
    calls = []
    forward = fq.forward
    x = da.zeros((2, 40), chunks=(1, 16), dtype=np.float32)
    monkeypatch.setattr(fq, "forward", lambda *a: calls.append(1) or forward(*a))
    y, mask = fq.dask.forward(x, *GRID)
    calls.clear()
    dask.compute(y, mask)
    assert len(calls) == 6


REFUSED = {
    "a scale of 0": (ValueError, "scale must be positive", lambda x: fq.dask.fake_quantize(x, 0.0, 0, -8, 7)),
    "levels": (ValueError, "zero_point", lambda x: fq.dask.forward_packed(x, 0.1, 9, -8, 7)),
    "a real zero_point": (TypeError, "zero_point must be", lambda x: fq.dask.forward(x, 0.1, 0.5, -8, 7)),
    "a lazy one": (TypeError, "zero_point must be", lambda x: fq.dask.forward(x, 0.1, da.ones(8, chunks=2), -8, 7)),
    "integers": (TypeError, "x must be", lambda x: fq.dask.fake_quantize(x.astype(int), *GRID)),
    "a shape": (
        ValueError,
        "scale must broadcast against x",
        lambda x: fq.dask.fake_quantize(x, np.ones(3), *GRID[1:]),
    ),
    "a shape to learn": (
        *(ValueError, "scale must broadcast into x"),
        lambda x: fq.dask.backward_learnable(x, x, np.ones((2, 4, 8)), *GRID[1:]),
    ),
    "shapes": (ValueError, "one shape", lambda x: fq.dask.backward_learnable(x, x[:2], *GRID)),
    "no dtype": (ValueError, "dtype must be given", lambda x: fq.dask.quantize(x, 0.1, 0, da.zeros(8, int), 7)),
    "bits": (ValueError, "bits", lambda x: fq.dask.quantize_packed(x, *GRID, bits=3)),
    "bytes": (ValueError, "bits must have 1 bytes", lambda x: fq.dask.backward_packed(x, np.zeros((4, 2), np.uint8))),
    "unknown chunks": (ValueError, "compute_chunk_sizes", lambda x: fq.dask.observe(x[x > 0])),
    "an axis": (ValueError, "axis 2 is not there", lambda x: fq.dask.calibrate(x, axis=2)),
    "groups": (ValueError, "whole groups of 3", lambda x: fq.dask.calibrate(x, group=3)),
    "a method": (ValueError, "method", lambda x: fq.dask.calibrate(x, method="median")),
    "an observer": (ValueError, "nonfinite", lambda x: fq.dask.observe(x, nonfinite="drop")),
    "ends": (ValueError, "bits must be", lambda x: fq.dask.choose_qparams(x.min(0), x.max(0), 99)),
    "a ratio": (ValueError, "same shape", lambda x: fq.dask.sqnr(x, x[1:])),
    "no axis": (ValueError, "must have an axis", lambda x: fq.dask.pack(da.asarray(np.int8(1)), 4)),
}


@pytest.mark.parametrize(("error", "message", "call"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_before_anything_is_computed(error, message, call):
    with pytest.raises(error, match=message):
        call(da.zeros((4, 8), chunks=4, dtype=np.float32))


OF_AXES = {
    "observe": lambda x, **how: fq.dask.observe(x, **how),
    "calibrate": lambda x, **how: fq.dask.calibrate(x, 8, **how),
    "sqnr": lambda x, **how: fq.dask.sqnr(x, x, **how),
}


@pytest.mark.parametrize("axis", [(0, 0), (0, -2), 5, True, 1.5])
@pytest.mark.parametrize("name", OF_AXES)
def test_axes_that_numpys_functions_refuse_are_refused(name, axis):
    with pytest.raises((TypeError, ValueError), match="axis"):
        OF_AXES[name](da.ones((4, 6), chunks=2, dtype=np.float32), axis=axis)


@pytest.mark.parametrize("axis", [1, -1, (0, 1)])
@pytest.mark.parametrize("name", ["observe", "calibrate"])
def test_the_axis_of_groups_is_not_named(name, axis):
    with pytest.raises(ValueError, match="must not name the last"):
        OF_AXES[name](da.ones((4, 6), chunks=2, dtype=np.float32), axis=axis, group=2)


def test_what_a_chunk_refuses_is_told_with_its_place():
    scale = np.ones((8, 1), np.float32)
    scale[5] = 0
    x = da.zeros((8, 8), chunks=(2, 4), dtype=np.float32)
    y = fq.dask.fake_quantize(x, da.from_array(scale, chunks=2), 0, -8, 7)
    with pytest.raises(ValueError, match=r"in chunk \(2, [01]\), \[4:6, [04]:[48]\]: scale must be positive"):
        y.compute()
    nan = da.from_array(np.where(np.arange(8) == 5, np.nan, 0).astype(np.float32), chunks=3)
    with pytest.raises(ValueError, match=r"in chunk \(1,\), \[3:6\]: x must be finite, got nan"):
        fq.dask.observe(nan, nonfinite="raise").compute()


IN_MEMORY_CALLS = {
    name: lambda x, name=name: getattr(fq, name)(
        *[x] * len(_core.operations()[name]["inputs"]), *GRID[: len(_core.operations()[name]["parameters"])]
    )
    for name, row in _core.operations().items()
    if len(row["outputs"]) > 1
}
IN_MEMORY_CALLS |= {
    "quantize": lambda x: fq.quantize(x, *GRID),
    "quantize_packed": lambda x: fq.quantize_packed(x, *GRID),
    "dequantize": lambda x: fq.dequantize(x.astype(np.int8), 0.1, 0),
    "dequantize_packed": lambda x: fq.dequantize_packed(x.astype(np.uint8), 0.1, 0, 4, 16),
    "pack": lambda x: fq.pack(x.astype(np.int8), 4),
    "unpack": lambda x: fq.unpack(x.astype(np.uint8), 4, 16),
    "choose_qparams": lambda x: fq.choose_qparams(x.min(0), x.max(0)),
    "calibrate": fq.calibrate,
    "sqnr": lambda x: fq.sqnr(x, x),
    "grouped": lambda x: fq.grouped(x, 2),
    "Observer": lambda x: fq.Observer().update(x),
    "MovingAverage": lambda x: fq.MovingAverage().update(x),
    "reference": lambda x: fq.reference.forward(x, *GRID),
    "reciprocal": lambda x: fq.reciprocal.quantize(x, *GRID),
}


@pytest.mark.parametrize("name", IN_MEMORY_CALLS)
def test_functions_in_memory_say_where_to_go_and_compute_nothing(name):
    def fail(block):
        raise AssertionError("computed")

    x = da.map_blocks(fail, da.zeros((4, 8), chunks=4), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    with pytest.raises(TypeError, match=r"fq\.dask"):
        IN_MEMORY_CALLS[name](x)


def test_what_numpy_leaves_to_dask_is_still_lazy_and_right():
    x = da.from_array(values(), chunks=3)
    y = fq.fake_quantize(x, *GRID)
    assert isinstance(y, da.Array)
    assert_same(y.compute(), fq.fake_quantize(values(), *GRID))


def test_xarray_goes_through_apply_ufunc():
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    x = xarray.DataArray(da.from_array(values(), chunks=3), dims=("batch", "channel", "time"))
    y = xarray.apply_ufunc(fq.dask.fake_quantize, x, *GRID, dask="allowed")
    assert isinstance(y.data, da.Array)
    assert_same(y.values, fq.fake_quantize(values(), *GRID))


def test_bfloat16_has_its_type():
    if bfloat16 is None:
        pytest.skip("ml_dtypes is not installed")
    assert fq.dask.fake_quantize(da.zeros(4, dtype=bfloat16), *GRID).dtype == bfloat16


def test_examples():
    failed, tried = doctest.testmod(fq.dask)
    assert failed == 0
    assert tried > 5
