"""Packed masks: a bit per element, equal to np.packbits of the mask, wherever the bits begin and end."""

import sys

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, GRIDS, assert_same, gradients, hard_values
from hypothesis import given
from hypothesis import strategies as st
from layouts import broadcasting_shape, laid_out

import fq
from fq import _core

X = np.linspace(-3, 3, 100, dtype=np.float32)
GRID = (0.25, 0, -8, 7)


@pytest.fixture(params=["store", "stream"])
def past_the_cache(request):
    """Runs the test with outputs stored as usual, and past the cache however small they are."""
    _core._set_cache_threshold(1 if request.param == "stream" else 0)
    yield
    _core._set_cache_threshold(0)


@st.composite
def calls(draw):
    """x of at least one axis, dy, and parameters whose last axis is 1 or that of x."""
    dtype = draw(st.sampled_from(FLOAT_TYPES))
    side = st.one_of(st.integers(0, 4), st.sampled_from([7, 8, 9, 63, 64, 65, 130, 300]))
    shape = tuple(draw(st.lists(side, min_size=1, max_size=3).filter(lambda s: np.prod(s) < 5000)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grid = draw(st.sampled_from(GRIDS))
    x = hard_values(dtype, grid, rng, int(np.prod(shape))).reshape(shape)
    dy = gradients(dtype, rng, x.size).reshape(shape)
    scale = (grid[0] * rng.choice([1.0, 0.9], broadcasting_shape(shape, draw))).astype(np.float32)
    zero_point = np.full(broadcasting_shape(shape, draw), grid[1])
    arrays = [laid_out(a, draw) for a in (x, dy, scale, zero_point)]
    return arrays[0], arrays[1], (*arrays[2:], grid[2], grid[3])


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.usefixtures("target", "past_the_cache")
@given(call=calls())
def test_equals_the_reference_in_every_layout(arithmetic, call):
    x, dy, qparams = call
    functions = ARITHMETICS[arithmetic]
    y, bits = fq.reference.forward_packed(x, *qparams, arithmetic=arithmetic)
    assert_same(functions.forward_packed(x, *qparams), (y, bits))
    assert_same(functions.backward_packed(dy, bits), fq.reference.backward_packed(dy, bits))


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.usefixtures("target", "past_the_cache")
def test_every_length_at_every_offset(dtype):
    """The first cache line of y begins anywhere, so the bits of the whole blocks do too."""
    rng = np.random.default_rng(4)
    memory = hard_values(dtype, GRID, rng, 700)
    out = np.empty(700, dtype)
    for offset in range(0, 65, 3):
        for n in [*range(1, 20), 63, 64, 65, 100, 127, 128, 129, 200, 300, 511, 512, 600]:
            x, y = memory[offset : offset + n], out[offset : offset + n]
            expected = fq.reference.forward_packed(x, *GRID)
            guard = np.full(len(expected[1]) + 2, 0xA5, np.uint8)
            fq.forward_packed(x, *GRID, out=(y, guard[1:-1]))
            assert_same((y, guard[1:-1]), expected)
            assert guard[0] == guard[-1] == 0xA5
            assert_same(fq.backward_packed(x, expected[1], out=y), fq.reference.backward_packed(x, expected[1]))
            assert_same(fq.forward(x, *GRID, out=(y, None)), fq.reference.forward(x, *GRID))
            assert_same(fq.backward_recompute(x, x, *GRID, out=y), fq.reference.backward_recompute(x, x, *GRID))


@pytest.mark.usefixtures("target")
def test_spare_bits_are_zero_and_ignored():
    ones = np.zeros(3, np.float32)
    _, bits = fq.forward_packed(ones, *GRID)
    assert bits.tolist() == [0b111]
    assert_same(fq.backward_packed(np.ones(3, np.float32), bits | np.uint8(0xF8)), np.ones(3, np.float32))


@pytest.mark.parametrize("shape", [(32, 7), (5, 64, 3), (4, 6, 16), (1, 1), (3, 2, 128)])
@pytest.mark.usefixtures("target")
def test_masks_slice_and_batch_like_x(shape):
    x = hard_values(np.dtype(np.float32), GRID, np.random.default_rng(1), int(np.prod(shape))).reshape(shape)
    y, bits = fq.forward_packed(x, *GRID)
    assert bits.shape == (*shape[:-1], -(-shape[-1] // 8))
    for i in range(shape[0]):
        assert_same(fq.forward_packed(x[i], *GRID), (y[i], bits[i]))
        assert_same(fq.backward_packed(x[i], bits[i]), fq.backward_packed(x, bits)[i])


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 64, 100])
def test_bits_of_the_wrong_length_are_refused(n):
    dy, right = np.ones((2, n), np.float32), -(-n // 8)
    for wrong in {right - 1, right + 1, n} - {right, -1}:
        for functions in (fq, fq.reciprocal, fq.reference):
            with pytest.raises(ValueError, match=f"last axis of bits must be {right} for {n} elements, got {wrong}"):
                functions.backward_packed(dy, np.zeros((2, wrong), np.uint8))
        with pytest.raises(ValueError, match="bits"):
            fq.forward_packed(dy, *GRID, out=(None, np.zeros((2, wrong), np.uint8)))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 16, 63, 64, 65, 200])
@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_whether_all_bits_are_set_is_seen_at_every_place(rows, n):
    mask = np.ones((rows, n), bool)
    assert _core._all_set(np.packbits(mask, axis=-1, bitorder="little"), n)
    for row in range(rows):
        for at in range(n):
            mask[row, at] = False
            assert not _core._all_set(np.packbits(mask, axis=-1, bitorder="little"), n)
            mask[row, at] = True


def test_bits_that_are_not_rows_are_refused():
    assert _core._all_set(b"", 0)
    for bits, n in ((b"\xff", 0), (b"\xff", -1), (b"\xff", 9), (b"\xff" * 3, 16), (b"\xff", sys.maxsize)):
        with pytest.raises(ValueError, match=f"bits are not whole rows of {n}"):
            _core._all_set(bits, n)
    with pytest.raises(TypeError):
        _core._all_set(1, 8)
    with pytest.raises((BufferError, ValueError)):
        _core._all_set(np.zeros(4, np.uint8)[::2], 16)


def test_other_bad_arguments_are_refused():
    bits = np.zeros(13, np.uint8)
    for functions in (fq, fq.reciprocal, fq.reference):
        for bad in (bits.astype(bool), bits.astype(int), bits.astype(np.int8), bits.astype(np.float32)):
            with pytest.raises(TypeError, match="bits must be an array of uint8"):
                functions.backward_packed(X, bad)
    with pytest.raises(ValueError, match=r"scale must broadcast against x of shape \(100,\), got shape \(3,\)"):
        fq.forward_packed(X, np.ones(3, np.float32), 0, -8, 7)
    with pytest.raises(ValueError, match=r"zero_point must broadcast against x of shape \(100,\), got shape \(3,\)"):
        fq.forward_packed(X, 0.5, [0, 0, 0], -8, 7)
    with pytest.raises(ValueError, match="last axis of scale must be 1 or that of x, 1, got 3"):
        fq.forward_packed(X[:1], np.ones(3, np.float32), 0, -8, 7)
    for rows in (1, 5):  # refused in the last row, or for one channel of a row
        scale = np.ones((5, 100), np.float32)
        scale[4, 99 if rows == 1 else slice(None)] = -1
        with pytest.raises(ValueError, match="scale must be positive and finite in float32, got -1"):
            fq.forward_packed(np.ones((5, 100), np.float32), scale, 0, -8, 7)


@pytest.mark.parametrize("n", [100, 5000])
@pytest.mark.usefixtures("target", "past_the_cache")
def test_in_place_and_overlapping_outputs_are_right(n):
    given = np.linspace(-3, 3, n, dtype=np.float32)
    x = given.copy()
    expected = fq.reference.forward_packed(x, *GRID)
    _, bits = fq.forward_packed(x, *GRID, out=(x, None))
    assert_same((x, bits), expected)
    fq.backward_packed(x, bits, out=x)
    assert_same(x, fq.reference.backward_packed(expected[0], bits))
    memory = given.copy()
    expected = fq.reference.fake_quantize(memory[:-1], *GRID)
    assert_same(fq.forward_packed(memory[:-1], *GRID, out=(memory[1:], None))[0], expected)


@pytest.mark.usefixtures("target", "past_the_cache")
def test_a_scale_for_each_of_many_channels_of_every_axis():
    rng = np.random.default_rng(9)
    x = hard_values(np.dtype(np.float32), GRID, rng, 6 * 5 * 700).reshape(6, 5, 700)
    for axis in range(3):
        shape = [-1 if a == axis else 1 for a in range(3)]
        scale = rng.uniform(0.1, 0.4, x.shape[axis]).astype(np.float32).reshape(shape)
        zero_point = rng.integers(-8, 8, x.shape[axis]).reshape(shape)
        for functions, how in ((fq, "divide"), (fq.reciprocal, "reciprocal")):
            qparams = scale, zero_point, -8, 7
            assert_same(functions.forward_packed(x, *qparams), fq.reference.forward_packed(x, *qparams, arithmetic=how))
            assert_same(functions.forward(x, *qparams), fq.reference.forward(x, *qparams, arithmetic=how))


@pytest.mark.parametrize("shape", [(3, 4), (3, 3), (0, 1, 2)])
def test_an_end_of_the_grid_for_each_row_is_what_the_reference_takes(shape):
    x = np.linspace(-3, 3, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    qmin = np.arange(-8, -8 + int(np.prod(shape[:-1]))).reshape(shape[:-1])
    found = fq.forward_packed(x, 0.1, 0, qmin, qmin + 9)
    expected = fq.reference.forward_packed(x, 0.1, 0, qmin, qmin + 9)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("functions", [fq, fq.reference], ids=["fq", "reference"])
def test_what_has_no_axis_to_pack_is_refused_by_the_reference_too(functions):
    for call in (
        lambda: functions.forward_packed(np.float32(1), *GRID),
        lambda: functions.backward_packed(np.float32(1), np.uint8([1])),
        lambda: functions.backward_packed(np.ones(8, np.float32), np.uint8(1)),
        lambda: functions.forward_packed(np.ones((3, 1), np.float32), np.full(9, 0.1), *GRID[1:]),
    ):
        with pytest.raises(ValueError, match="axis"):
            call()


@pytest.mark.parametrize("shape", [(3, 20, 17), (2, 300, 70), (9, 8, 300), (5, 3, 1)], ids=str)
@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 1, 0), (2, 0, 1)], ids=str)
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.usefixtures("target")
def test_the_order_of_the_axes_in_memory_changes_no_bit(shape, axes, axis):
    """Bits lie along the last axis, whichever axis memory follows."""
    sets = () if axis is None else tuple(n if i == axis else 1 for i, n in enumerate(shape))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    grid = np.linspace(0.05, 0.3, int(np.prod(sets)), dtype=np.float32).reshape(sets), 0, -8, 7
    ordered = np.transpose(np.transpose(x, axes).copy(), np.argsort(axes))
    y, bits = fq.reference.forward_packed(x, *grid)
    # A new y follows the last axis; one that is given may lie as x does.
    for out in ((None, None), (np.empty_like(ordered), np.empty_like(bits))):
        for found, expected in zip(fq.forward_packed(ordered, *grid, out=out), (y, bits), strict=True):
            assert_same(found, expected)
        dx = fq.backward_packed(ordered, bits, out=out[0])
        assert_same(dx, fq.reference.backward_packed(x, bits))
