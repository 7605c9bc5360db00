"""A refused call in place leaves x whole: every parameter is checked before anything is written."""

import numpy as np
import pytest

import fq
from fq import _core

SHAPE = (2, 6, 5, 24)
BAD_SETS = {
    "an image": (2, 1, 1, 1),
    "a channel": (2, 6, 1, 1),
    "a row": (2, 1, 5, 1),
    "columns": (2, 1, 1, 24),
    "all": SHAPE,
}


def strided(x):
    """Every other element of a larger array."""
    b = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    b[...] = x
    return b


LAYOUTS = {
    "C": np.copy,
    "strided": strided,
    "F": np.asfortranarray,
    "reversed": lambda x: x[::-1, ..., ::-1].copy()[::-1, ..., ::-1],
    "permuted": lambda x: x.transpose(2, 0, 3, 1).copy().transpose(1, 3, 0, 2),
}
CALLS = {
    "fake_quantize": lambda x, x0, grid: fq.fake_quantize(x, *grid, out=x),
    "forward": lambda x, x0, grid: fq.forward(x, *grid, out=(x, None)),
    "forward_packed": lambda x, x0, grid: fq.forward_packed(x, *grid, out=(x, None)),
    "backward_recompute": lambda x, x0, grid: fq.backward_recompute(x, x0, *grid, out=x),
    "backward_learnable": lambda x, x0, grid: fq.backward_learnable(x, x0, *grid, out=(x, None, None)),
}


def x_of(dtype=np.float32):
    return ((np.arange(np.prod(SHAPE)).reshape(SHAPE) % 17) + 0.3).astype(dtype)


def refused(name, x, grid):
    before = x.copy()
    with pytest.raises(ValueError, match="must"):
        CALLS[name](x, x_of(x.dtype), grid)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sets", BAD_SETS)
@pytest.mark.parametrize("name", CALLS)
def test_a_bad_scale_at_the_end_leaves_x_whole(name, sets, layout):
    scale = np.full(BAD_SETS[sets], 0.5, np.float32)
    scale[(-1,) * 4] = -1
    refused(name, LAYOUTS[layout](x_of()), (scale, 0, -8, 7))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_bad_level_at_the_end_leaves_x_whole(k, dtype):
    for sets in BAD_SETS.values():
        grid = [0.5, 0, -8, 7]
        grid[k] = np.full(sets, grid[k])
        grid[k][(-1,) * 4] = {1: 9, 2: 8, 3: -9}[k]
        if k == 1:  # a generalized ufunc takes qmin and qmax as numbers alone
            refused("forward_packed", x_of(dtype), grid)
        refused("fake_quantize", x_of(dtype), grid)


@pytest.mark.skipif(not _core.has_openmp(), reason="this build has no OpenMP")
def test_threads_begin_after_the_checks():
    before = fq.get_num_threads()
    x = np.ones((2, 600_000), np.float32)
    fq.set_num_threads(4)
    try:
        for scale in (np.float32([[0.5], [-1]]), np.append(np.full(599_999, 0.5, np.float32), np.float32(np.nan))):
            with pytest.raises(ValueError, match="scale must be positive"):
                fq.fake_quantize(x, scale, 0, -8, 7, out=x)
            assert (x == 1).all()
    finally:
        fq.set_num_threads(before)
