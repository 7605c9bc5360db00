"""The types of integers, and grids that they hold."""

import numpy as np

import fq

STORAGES = fq._core.storages()
TYPES = list(STORAGES)
NUMPYS = [np.dtype(one) for one in (np.int8, np.uint8, np.int16, np.uint16, np.int32)]
BITS = 1, 2, 4


def ends_of(bits, signed):
    low = -(2 ** (bits - 1)) if signed else 0
    return low, low + 2**bits - 1


def zero_points_of(low, high):
    """A few, both ends among them."""
    return sorted({low, high, (low + high) // 2, min(max(0, low), high), min(low + 1, high)})


def grids():
    """(scale, zero_point, qmin, qmax) of 1 to 8 bits."""
    for bits in range(1, 9):
        for signed in (False, True):
            low, high = ends_of(bits, signed)
            for i, zero_point in enumerate(zero_points_of(low, high)):
                yield [0.25, 0.1, 1 / 3, 3.0, 1e-4][i % 5], zero_point, low, high


def assert_integers(found, expected):
    """Same type, shape and integers."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.view(f"u{found.itemsize}"), expected.view(f"u{found.itemsize}"))
