"""dequantize(quantize(x)) is fake_quantize(x) bit for bit, for all x but NaN, and both are the reference's."""

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, GRIDS, assert_same, hard_values
from hypothesis import given
from hypothesis import strategies as st
from layouts import broadcasting_shape, laid_out
from stored import BITS, NUMPYS, STORAGES, TYPES, assert_integers, ends_of, grids

import fq


def holds(dtype, low, high):
    least, most = ends_of(*STORAGES[np.dtype(dtype)])
    return least <= low and high <= most


def assert_round_trip(x, grid, arithmetic="divide", dtypes=(None,)):
    functions = ARITHMETICS[arithmetic]
    scale, zero_point, qmin, qmax = grid
    y = functions.fake_quantize(x, *grid)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        nan = np.broadcast_to(np.isnan(x), y.shape)
    y = np.where(nan, y.dtype.type(0), y)
    for dtype in dtypes:
        q = functions.quantize(x, *grid, dtype)
        assert_integers(q, fq.reference.quantize(x, *grid, dtype, arithmetic=arithmetic))
        assert dtype is None or q.dtype == dtype
        back = fq.dequantize(q, scale, zero_point, x.dtype)
        assert_same(back, y)
        assert_same(back, fq.reference.dequantize(q, scale, zero_point, x.dtype))
        assert np.all((np.asarray(q).astype(np.int64) == zero_point) | ~nan)
        assert np.all(np.asarray(q).astype(np.int64) >= qmin)
        assert np.all(np.asarray(q).astype(np.int64) <= qmax)


@pytest.mark.parametrize("dtype", [t for t in FLOAT_TYPES if t.itemsize == 2], ids=str)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_of_every_16_bit_value_on_every_grid(dtype, arithmetic):
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    for grid in grids():
        assert_round_trip(x, grid, arithmetic)


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.usefixtures("target")
def test_in_every_storage_that_holds_the_grid(dtype, arithmetic):
    rng = np.random.default_rng(1)
    for grid in [*GRIDS, *list(grids())[::3]]:
        x = hard_values(dtype, grid, rng, 300)
        fit = [one for one in TYPES if holds(one, *grid[2:])]
        assert_round_trip(x, grid, arithmetic, [None, *fit])


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.usefixtures("target")
def test_of_integers_that_share_bytes(dtype, bits):
    rng = np.random.default_rng(2)
    for signed in (True, False):
        low, high = ends_of(bits, signed)
        grid = 0.3, low + (bits > 1), low, high
        for shape in [(n,) for n in (0, 1, 2, 3, 5, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1000)] + [
            (3, 10),
            (5, 33),
            (40, 8),
        ]:
            x = hard_values(dtype, grid, rng, int(np.prod(shape))).reshape(shape)
            packed = fq.quantize_packed(x, *grid, bits)
            assert_integers(packed, fq.pack(fq.quantize(x, *grid), bits))
            assert_integers(packed, fq.reference.quantize_packed(x, *grid, bits))
            y = np.where(np.isnan(x), x.dtype.type(0), fq.fake_quantize(x, *grid))
            assert_same(fq.dequantize_packed(packed, *grid[:2], bits, shape[-1], signed, dtype), y)


@st.composite
def calls(draw):
    """x and a grid of shapes that broadcast, in every layout, and a type that holds the grid."""
    dtype = draw(st.sampled_from(FLOAT_TYPES))
    side = st.one_of(st.integers(0, 4), st.sampled_from([15, 32, 63, 64, 65, 130, 300]))
    shape = tuple(draw(st.lists(side, max_size=3).filter(lambda s: 0 < np.prod(s, initial=1) < 5000)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grid = draw(st.sampled_from([*GRIDS[:7], *list(grids())[::5]]))
    x = hard_values(dtype, grid, rng, int(np.prod(shape, initial=1))).reshape(shape)
    scale = (grid[0] * rng.choice([1.0, 0.5, 0.9], broadcasting_shape(shape, draw))).astype(np.float32)
    zero_point = rng.integers(grid[2], grid[3], broadcasting_shape(shape, draw), endpoint=True)
    qmin, qmax = (np.full(broadcasting_shape(shape, draw), end) for end in grid[2:])
    fit = [one for one in TYPES if holds(one, *grid[2:])]
    return *(laid_out(one, draw) for one in (x, scale, zero_point, qmin, qmax)), draw(st.sampled_from([None, *fit]))


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.usefixtures("target")
@given(call=calls())
def test_in_every_layout(arithmetic, call):
    x, *grid, dtype = call
    assert_round_trip(x, grid, arithmetic, [dtype])


@pytest.mark.usefixtures("target")
@given(call=calls(), bits=st.sampled_from(BITS))
def test_packed_in_every_layout(call, bits):
    x, scale, zero_point, *_ = call
    low, high = ends_of(bits, True)
    zero_point = np.clip(zero_point, low, high)
    if not x.ndim:
        return
    packed = fq.quantize_packed(x, scale, zero_point, low, high, bits)
    assert_integers(packed, fq.reference.quantize_packed(x, scale, zero_point, low, high, bits))
    y = fq.dequantize_packed(packed, scale, zero_point, bits, x.shape[-1], True, x.dtype)
    assert_same(y, fq.reference.dequantize_packed(packed, scale, zero_point, bits, x.shape[-1], True, x.dtype))


@pytest.mark.parametrize("dtype", NUMPYS, ids=str)
@pytest.mark.parametrize("of", FLOAT_TYPES, ids=str)
@pytest.mark.usefixtures("target")
def test_dequantize_of_any_integer(dtype, of):
    """Ends, and an int32 and a zero_point further apart than an int32 reaches."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    q = np.concatenate([[info.min, info.max, 0, 1], rng.integers(info.min, info.max, 300, endpoint=True)]).astype(dtype)
    zero_points = [0, 1, info.min, info.max, *rng.integers(info.min, info.max, 4, endpoint=True).tolist()]
    for zero_point in zero_points:
        assert_same(fq.dequantize(q, 0.1, zero_point, of), fq.reference.dequantize(q, 0.1, zero_point, of))
    each = rng.integers(info.min, info.max, q.size, endpoint=True)
    assert_same(fq.dequantize(q, 0.1, each, of), fq.reference.dequantize(q, 0.1, each, of))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.usefixtures("target")
def test_of_large_arrays_on_any_number_of_threads(threads, streams):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 200_003), np.float32)
    scale = np.array([[0.05], [0.1], [0.2]], np.float32)
    expected = fq.reference.quantize(x, scale, 1, -8, 7)
    values = fq.reference.dequantize(expected, scale, 1)
    before = fq.get_num_threads()
    fq.set_num_threads(threads)
    fq._core._set_cache_threshold(64 if streams else 0)
    try:
        for offset in (0, 1, 3):
            q = np.empty(x.size + 64, np.int8)[offset : offset + x.size].reshape(x.shape)
            y = np.empty(x.size + 64, np.float32)[offset : offset + x.size].reshape(x.shape)
            packed = np.empty((3, 100_002), np.uint8)
            assert fq.quantize(x, scale, 1, -8, 7, out=q) is q
            assert_integers(q, expected)
            assert fq.dequantize(q, scale, 1, out=y) is y
            assert_same(y, values)
            assert fq.quantize_packed(x, scale, 1, -8, 7, out=packed) is packed
            assert_integers(packed, fq.reference.pack(expected, 4))
            y[...] = 0
            assert fq.dequantize_packed(packed, scale, 1, 4, x.shape[-1], out=y) is y
            assert_same(y, values)
    finally:
        fq.set_num_threads(before)
        fq._core._set_cache_threshold(0)


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize("group", [8, 10, 16, 32, 64, 128])
def test_of_groups_along_the_last_axis(group):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((6, 256 // group * 3, group)).astype(np.float32)
    scale = np.abs(x).max(axis=-1, keepdims=True) / np.float32(7)
    zero_point = rng.integers(-2, 3, scale.shape)
    assert_round_trip(x, (scale, zero_point, -8, 7))
    packed = fq.quantize_packed(x, scale, zero_point, -8, 7)
    assert_integers(packed, fq.reference.quantize_packed(x, scale, zero_point, -8, 7))
    y = fq.dequantize_packed(packed, scale, zero_point, 4, group)
    assert_same(y, fq.fake_quantize(x, scale, zero_point, -8, 7))
