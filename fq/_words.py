"""Random words of stochastic rounding, and the keys that choose them."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fq import _core

MOST_WORDS = 2**64


def key_words(key: Any) -> tuple[int, int]:
    """The upper and the lower 32 bits of a key: of an int, or of a JAX key of Threefry."""
    if isinstance(key, (int, np.integer)) and not isinstance(key, (bool, np.bool_)):
        if 0 <= key < 2**64:
            return int(key) >> 32, int(key) & 0xFFFFFFFF
        raise ValueError(f"key must have 64 bits, so lie within [0, 2**64), got {key}")
    words = np.asarray(_raw(key))
    if words.dtype != np.uint32 or words.shape != (2,):
        what = f"{words.dtype} of shape {words.shape}" if words.dtype != object else repr(key)
        raise ValueError(f"key must have 64 bits: an int, or a JAX key, which is two words of uint32; got {what}")
    return int(words[0]), int(words[1])


def _raw(key: Any) -> Any:
    """The words of a typed key of JAX."""
    jax: Any = sys.modules.get("jax")
    is_typed = jax is not None and isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not is_typed:
        return key
    if jax.random.key_impl(key) != "threefry2x32":
        raise ValueError(f"key must be one of Threefry, got one of {jax.random.key_impl(key)}")
    return jax.random.key_data(key)


def random_words(shape: tuple[int, ...], key: tuple[int, int], start: int) -> NDArray[np.uint16]:
    """An array of the words from number `start` on, in C order."""
    words = np.empty(shape, np.uint16)
    _core._random_words(words, *key, start)
    return words
