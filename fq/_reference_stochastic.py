"""fq.stochastic in plain NumPy: fq.reference.stochastic."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq._words import key_words

__all__ = ["forward", "random_words", "threefry"]

Array = NDArray[Any]

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)


def threefry(key: tuple[int, int], a: Array, b: Array) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds.

    Parameters
    ----------
    key : tuple of two ints of 32 bits
    a, b : array of uint32
        The two words of each counter.

    Returns
    -------
    a, b : array of uint32
    """
    keys = [np.uint32(word) for word in key]
    keys.append(np.uint32(0x1BD11BDA) ^ keys[0] ^ keys[1])
    with np.errstate(over="ignore"):
        a, b = a + keys[0], b + keys[1]
        for group in range(5):
            for by in map(np.uint32, _ROTATIONS[group % 2]):
                a = a + b
                b = (b << by | b >> np.uint32(32 - by)) ^ a
            a, b = a + keys[(group + 1) % 3], b + keys[(group + 2) % 3] + np.uint32(group + 1)
    return a, b


def random_words(n: int, key: Any, start: int = 0) -> NDArray[np.uint16]:
    """The words from number `start` on: 16-bit halves of the outputs of Threefry-2x32-20, whose counters are 0, 1, ...

    Parameters
    ----------
    n : int
        How many words.
    key, start
        As for `fq.stochastic.forward`.

    Returns
    -------
    words : array of uint16 of shape (n,)
    """
    counters = np.arange(start // 4, (start + n + 3) // 4, dtype=np.uint64)
    low, high = (counters & np.uint64(0xFFFFFFFF)).astype(np.uint32), (counters >> np.uint64(32)).astype(np.uint32)
    a, b = threefry(key_words(key), low, high)
    halves = np.stack([a & 0xFFFF, a >> 16, b & 0xFFFF, b >> 16], axis=-1)
    return halves.astype(np.uint16).ravel()[start % 4 :][:n]


def forward(
    x: ArrayLike,
    scale: ArrayLike,
    zero_point: ArrayLike,
    qmin: ArrayLike,
    qmax: ArrayLike,
    *,
    key: Any,
    start: int = 0,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The level that chance chooses, and the mask.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, key, start
        As for `fq.stochastic.forward`.

    Returns
    -------
    y : array or scalar of the type of x
    mask : array of bool
    """
    from fq.reference import _checked, _native, _type_computed_in

    x = _native(x)
    compute = _type_computed_in(x)
    scale, lowest, highest = _checked(scale, zero_point, qmin, qmax, compute, "divide")
    with np.errstate(all="ignore"):
        q = x.astype(compute) / scale
        u = (random_words(q.size, key, start).reshape(q.shape).astype(compute) + compute(0.5)) / compute(2**16)
        down = np.floor(q)
        rounded = down + (q - down > u)
        mask = (lowest <= rounded) & (rounded <= highest)
        y = (np.clip(rounded, lowest, highest) * scale).astype(x.dtype) + x.dtype.type(0)
        return y[()], mask
