"""Every function equals fq.reference to the last bit, however its arrays lie in memory and broadcast."""

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, GRIDS, assert_same, gradients, hard_values
from hypothesis import given
from hypothesis import strategies as st
from layouts import broadcasting_shape, laid_out

import fq


@st.composite
def calls(draw):
    """x, dy and parameters of shapes that broadcast, in every layout."""
    dtype = draw(st.sampled_from(FLOAT_TYPES))
    side = st.one_of(st.integers(0, 4), st.sampled_from([15, 63, 64, 65, 130, 300]))
    shape = tuple(draw(st.lists(side, max_size=3).filter(lambda s: np.prod(s, initial=1) < 5000)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grid = draw(st.sampled_from(GRIDS))
    x_shape = draw(st.sampled_from([shape, broadcasting_shape(shape, draw)]))
    x = hard_values(dtype, grid, rng, int(np.prod(x_shape, initial=1))).reshape(x_shape)
    dy = gradients(dtype, rng, x.size).reshape(x_shape)
    scale_dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    with np.errstate(all="ignore"):
        scale = (grid[0] * rng.choice([1.0, 1.0, 0.5, 0.9], broadcasting_shape(shape, draw))).astype(scale_dtype)
    if not np.all((scale > 0) & np.isfinite(scale)):
        scale = np.float32(grid[0])
    moved = grid[1] + (grid[1] < grid[3] < 2**24) * rng.integers(0, 2, broadcasting_shape(shape, draw))
    zero_point = np.asarray(moved, np.int64)
    qmin = grid[2] * np.ones(broadcasting_shape(shape, draw), np.int64)
    qmax = np.full(broadcasting_shape(shape, draw), grid[3], draw(st.sampled_from([np.int32, np.int64])))
    arrays = [laid_out(a, draw) for a in (x, dy, scale, zero_point, qmin, qmax)]
    return arrays[0], arrays[1], arrays[2:]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.usefixtures("target")
@given(call=calls())
def test_equals_the_reference_in_every_layout(arithmetic, call):
    x, dy, qparams = call
    functions, how = ARITHMETICS[arithmetic], {"arithmetic": arithmetic}
    before = [a.copy() for a in (x, dy, *qparams)]
    if x.size:  # an empty call computes nothing, so it checks nothing either
        expected = fq.reference.forward(x, *qparams, **how)
        assert_same(functions.forward(x, *qparams), expected)
        assert_same(functions.fake_quantize(x, *qparams), expected[0])
        mask = expected[1]
        assert_same(functions.backward(dy, mask), fq.reference.backward(dy, mask))
        assert_same(
            functions.backward_recompute(dy, x, *qparams),
            fq.reference.backward_recompute(dy, x, *qparams, **how),
        )
    for array, copy in zip((x, dy, *qparams), before, strict=True):
        assert_same(array, copy)  # no input is modified


@pytest.mark.parametrize("lengths", [range(1, 131, 16), pytest.param(range(131), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.usefixtures("target")
def test_equals_the_reference_at_every_length(dtype, grid, arithmetic, lengths):
    rng = np.random.default_rng(7)
    functions = ARITHMETICS[arithmetic]
    for n in [*lengths, 4096 + 3]:
        x, dy = hard_values(dtype, grid, rng, n), gradients(dtype, rng, n)
        y, mask = fq.reference.forward(x, *grid, arithmetic=arithmetic)
        assert_same(functions.forward(x, *grid), (y, mask))
        assert_same(functions.fake_quantize(x, *grid), y)
        assert_same(functions.backward(dy, mask), fq.reference.backward(dy, mask))
        assert_same(functions.backward_recompute(dy, x, *grid), fq.reference.backward(dy, mask))


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("dtype", [t for t in FLOAT_TYPES if t.itemsize == 2], ids=str)
@pytest.mark.usefixtures("target")
def test_equals_the_reference_on_every_16_bit_value(dtype, grid, arithmetic):
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    functions = ARITHMETICS[arithmetic]
    y, mask = fq.reference.forward(x, *grid, arithmetic=arithmetic)
    assert_same(functions.forward(x, *grid), (y, mask))
    assert_same(functions.backward(x, mask), fq.reference.backward(x, mask))
    assert_same(functions.backward(x, ~mask), fq.reference.backward(x, ~mask))
    assert_same(functions.backward_recompute(x, x, *grid), fq.reference.backward(x, mask))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("target")
def test_the_quotient_is_correctly_rounded_for_any_scale(dtype):
    """Ties and their neighbours, where one unit in the last place of x / scale moves y by a step."""
    rng = np.random.default_rng(3)
    for _ in range(400):
        scale = dtype(rng.uniform(1, 2) * 2.0 ** rng.integers(-100, 100))
        ties = (rng.integers(-(2**20), 2**20, 2000) + 0.5).astype(dtype) * scale
        x = np.concatenate([ties, np.nextafter(ties, dtype(np.inf)), np.nextafter(ties, dtype(-np.inf))])
        grid = (scale, 0, -(2**21), 2**21)
        assert_same(fq.forward(x, *grid), fq.reference.forward(x, *grid))


@pytest.mark.parametrize("size", [1, 3, 64, 100])
@pytest.mark.usefixtures("target")
def test_a_mask_byte_is_true_whatever_its_bits(size):
    mask = np.arange(size, dtype=np.uint8).view(np.bool_)
    dy = np.ones(size, np.float32)
    assert_same(fq.backward(dy, mask), (np.arange(size) != 0).astype(np.float32))
