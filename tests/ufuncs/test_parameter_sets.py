"""Rows with sets of parameters of their own: groups, channels, gaps and permuted axes, each equal to the reference."""

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same, gradients, hard_values

import fq
from fq import _core

GRID = (0.1, 3, -128, 127)
LENGTHS = [1, 2, 7, 8, 16, 20, 31, 32, 33, 49, 64, 65, 100, 128, 300]
LAYOUTS = {
    "contiguous": lambda x: x.copy(),
    "gaps": lambda x: np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 5)])[..., : x.shape[-1]],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "Fortran": np.asfortranarray,
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "channels last": lambda x: np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1),
}
SETS = {  # name -> the shape of scale for an x of shape (a, b, n)
    "all": lambda a, b, n: (),
    "groups": lambda a, b, n: (a, b, 1),
    "channels": lambda a, b, n: (b, 1),
    "images": lambda a, b, n: (a, 1, 1),
    "columns": lambda a, b, n: (n,),
    "elements": lambda a, b, n: (a, b, n),
    "images and columns": lambda a, b, n: (a, 1, n),
}


@pytest.fixture(params=["cached", "stream"])
def stores(request):
    _core._set_cache_threshold(1 if request.param == "stream" else 0)
    yield
    _core._set_cache_threshold(0)


def parameters(shape, dtype, rng):
    """Scales far apart, so that a set taken for its neighbour shows, and one that cannot be divided by the fast way."""
    scale = (10.0 ** rng.uniform(-2, 2, shape)).astype(np.float64 if dtype == np.float64 else np.float32)
    if scale.size > 3:
        scale.flat[scale.size // 2] = 1e-30
    return scale, rng.integers(-3, 4, shape), -8, 7


def check(x, dy, grid):
    """Each function against the reference, on x as it lies, into new arrays and into given ones that lie like x."""
    y, mask = fq.reference.forward(x, *grid)
    _, bits = fq.reference.forward_packed(x, *grid)
    dx = fq.reference.backward(dy, mask)
    out = np.full_like(x, 77)
    assert_same(fq.fake_quantize(x, *grid, out=out), y)
    assert_same(fq.forward(x, *grid), (y, mask))
    assert_same(fq.forward_packed(x, *grid, out=(out, None)), (y, bits))
    assert_same(fq.backward(dy, mask, out=out), dx)
    assert_same(fq.backward_packed(dy, bits, out=out), dx)
    assert_same(fq.backward_recompute(dy, x, *grid, out=out), dx)
    assert_same(fq.backward_learnable(dy, x, *grid)[0], dx)


@pytest.mark.usefixtures("target", "stores")
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("sets", SETS)
def test_rows_take_their_own_sets(sets, dtype):
    rng = np.random.default_rng(5)
    for i, n in enumerate(LENGTHS):
        shape = (3, 5, n)
        x = hard_values(dtype, GRID, rng, 15 * n).reshape(shape)
        dy = gradients(dtype, rng, 15 * n).reshape(shape)
        lay = list(LAYOUTS.values())[i % len(LAYOUTS)]
        for layout in {lay, LAYOUTS["contiguous"]}:
            check(layout(x), layout(dy), parameters(SETS[sets](*shape), dtype, rng))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sets", SETS)
def test_every_layout_takes_its_own_sets(sets, layout):
    rng = np.random.default_rng(6)
    for n in (5, 16, 40):
        shape = (4, 6, n)
        x = hard_values(np.dtype(np.float32), GRID, rng, 24 * n).reshape(shape)
        dy = gradients(np.dtype(np.float32), rng, 24 * n).reshape(shape)
        check(LAYOUTS[layout](x), LAYOUTS[layout](dy), parameters(SETS[sets](*shape), np.dtype(np.float32), rng))


@pytest.mark.parametrize("shape", [(700, 2), (2, 700), (1, 9000), (3, 9000), (600, 32)])
def test_more_sets_than_are_made_ready_at_a_time(shape):
    rng = np.random.default_rng(7)
    x = hard_values(np.dtype(np.float32), GRID, rng, shape[0] * shape[1]).reshape(shape)
    for sets in ((shape[0], 1), (shape[1],), shape):
        check(x, x, parameters(sets, x.dtype, rng))


def test_levels_that_sets_share_by_chunks_are_those_of_their_own_place():
    """257 sets: the last one is made ready alone, and again those before it, with the zero points of the next image."""
    x = hard_values(np.dtype(np.float32), GRID, np.random.default_rng(8), 3 * 257 * 4).reshape(3, 257, 4)
    scale = np.linspace(0.1, 0.3, 257, dtype=np.float32)[:, None]
    zero_point = np.array([-3, 0, 5]).reshape(3, 1, 1)
    assert_same(fq.forward(x, scale, zero_point, -8, 7), fq.reference.forward(x, scale, zero_point, -8, 7))


@pytest.mark.skipif(not _core.has_openmp(), reason="this build has no OpenMP")
def test_threads_cut_rows_anywhere():
    before = fq.get_num_threads()
    rng = np.random.default_rng(9)
    try:
        for shape in ((3, 200_003), (9000, 71), (40, 100, 171), (1, 700_001)):
            x = hard_values(np.dtype(np.float32), GRID, rng, int(np.prod(shape))).reshape(shape)
            for sets in (shape[-1:], (*shape[:-1], 1), ()):
                grid = parameters(sets, x.dtype, rng)
                expected = fq.reference.forward_packed(x, *grid)
                for n in (1, 2, 5):
                    fq.set_num_threads(n)
                    assert_same(fq.forward_packed(x, *grid), expected)
    finally:
        fq.set_num_threads(before)
