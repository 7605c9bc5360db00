"""Values on which fake quantization goes wrong, and the comparison that sees every bit."""

import os

import numpy as np

import fq

try:
    from ml_dtypes import bfloat16
except ImportError:
    bfloat16 = None

FLOAT_TYPES = [np.dtype(t) for t in (np.float16, bfloat16, np.float32, np.float64) if t is not None]
ARITHMETICS = {"divide": fq, "reciprocal": fq.reciprocal}

# scale, zero_point, qmin, qmax: usual grids, one level, an end on zero_point, the widest, and the ends of float32.
GRIDS = [
    (0.1, 0, -128, 127),
    (0.05, 128, 0, 255),
    (1.0, 0, -8, 7),
    (0.25, -8, -8, 7),
    (0.3, 3, 3, 3),
    (1 / 3, 1, -2, 1),
    (1e-3, 32768, 0, 65535),
    (0.7, 0, -(2**24), 2**24),
    (1e-30, 5, 0, 15),
    (1e30, 5, 0, 15),
    (3e38, 0, -8, 7),
    (2.0**-126, 1, -4, 3),
]


def beside_the_tests():
    """The environment of a process that imports this file."""
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *([before] if before else [])])}


def bits_of(array):
    """The bits as integers, every NaN the same: which NaN is not part of the contract."""
    array = np.array(array, order="C")
    if array.dtype.kind in "biu":
        return array
    array[np.isnan(array)] = np.nan
    return array.view(f"u{array.dtype.itemsize}")


def assert_same(found, expected):
    """Same type, shape and bits, signed zeros and the places of NaN included; outputs may be tuples."""
    if isinstance(expected, tuple):
        assert isinstance(found, tuple)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
        return
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(bits_of(found), bits_of(expected))


def hard_values(dtype, grid, rng, n):
    """n values of dtype: ties, levels and both ends with a unit in the last place either side, and the extremes."""
    scale, zero_point, qmin, qmax = (float(p) for p in grid)
    compute = np.float64 if dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        levels = rng.integers(int(qmin - zero_point) - 2, int(qmax - zero_point) + 3, n).astype(compute)
        ends = np.array([qmin - zero_point, qmax - zero_point], compute)[rng.integers(0, 2, n)]
        halves = rng.choice(np.array([-0.5, 0.0, 0.5], compute), n)
        close = (np.where(rng.random(n) < 0.5, levels, ends) + halves) * compute(scale)
        close = rng.choice([close, np.nextafter(close, compute(np.inf)), np.nextafter(close, compute(-np.inf))])
        ordinary = (rng.standard_normal(n) * scale * 20).astype(compute)
        tiny = np.finfo(compute).smallest_subnormal
        extremes = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 3e38, -3e38, -0.4 * scale], compute)
        kind = rng.integers(0, 8, n)
        x = np.where(kind < 4, close, np.where(kind < 7, ordinary, rng.choice(extremes, n)))
        return x.astype(dtype)


def gradients(dtype, rng, n):
    """n values of dtype among which are zeros, infinities and NaN."""
    dy = rng.standard_normal(n)
    special = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan], n)
    return np.where(rng.random(n) < 0.1, special, dy).astype(dtype)


OPERATIONS = fq._core.operations()
NEAR_GRIDS = [grid for grid in GRIDS if max(grid[1] - grid[2], grid[3] - grid[1]) <= 2**15]


def grids_of(name):
    """The grids that an operation takes: residuals say nothing of far levels."""
    return NEAR_GRIDS if "residual" in name else GRIDS


def kept_as(name, label, shape):
    """The type and shape of what an operation on arrays of this shape reads or writes by this label; None: elements."""
    types = {"mask": bool, "bits": np.uint8, "residual": np.uint8 if OPERATIONS[name]["packed"] else np.int8}
    if label not in types:
        return None
    per_byte = {"bits": 8, "residual": 2}[label] if OPERATIONS[name]["packed"] == label else 1
    return np.dtype(types[label]), (*shape[:-1], -(-shape[-1] // per_byte)) if shape else ()


def random_kept(rng, dtype, shape):
    """Any values of such a type."""
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    return rng.integers(0, 256, shape).astype(np.uint8).view(dtype)


def state_of(observer):
    """All that an observer knows, in a form that tells every bit apart."""
    state = observer.state(dense=False)
    arrays = {
        op: {name: array.tobytes() for name, array in state.get(op, {}).items()} for op in ("sum", "min", "max", "bins")
    }
    return state["settings"], arrays
