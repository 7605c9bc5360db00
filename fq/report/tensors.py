"""A tensor of a file that is not read yet, and what every reader checks before it promises one."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fq._input import need

__all__ = ["Array", "Tensor", "check_claim", "check_expansion", "dtype_named", "is_float"]

Array = NDArray[Any]

# Compressed data may become this many times larger, or as large as this. Weights never compress better.
_EXPANSION = 100
_ALWAYS_ALLOWED = 64 << 20


class Tensor(NamedTuple):
    """What a file says of a tensor, and how to read it.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : str
        NumPy's name where there is one, otherwise the file's.
    load : callable or None
        Gives the array, of floats. None: the tensor is listed and no more.
    axis : int
        The axis of the output channels.
    kind : str
        "weight" or "activation".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Array] | None
    axis: int = 0
    kind: str = "weight"

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether fq can quantize values of this type, once they are float32 or float64."""
    return dtype.kind == "f" or (dtype.kind == "V" and dtype.name.startswith(("bfloat", "float")))


def dtype_named(name: str) -> np.dtype[Any] | None:
    """NumPy's type of this name, or ml_dtypes'; None if there is none that holds numbers."""
    try:
        found = np.dtype(name)
    except (TypeError, ValueError):
        scalar = getattr(need("ml_dtypes", "ml_dtypes", "report"), name, None)
        if not isinstance(scalar, type):
            return None
        found = np.dtype(scalar)
    return found if found.kind in "biufcV" and not found.hasobject else None


def check_claim(name: str, shape: Sequence[int], itemsize: float, stored: float) -> None:
    """Raise a ValueError if a tensor of this shape needs more bytes than the file has for it."""
    if any(n < 0 for n in shape):
        raise ValueError(f"{name} has the shape {tuple(shape)}")
    claimed = math.prod(shape) * itemsize
    if claimed > stored:
        raise ValueError(f"{name} claims {claimed:,.0f} bytes where the file has {stored:,.0f}")


def check_expansion(name: str, size: int, stored: int) -> None:
    """Raise a ValueError if so many compressed bytes would become suspiciously many."""
    if size > _ALWAYS_ALLOWED and size > stored * _EXPANSION:
        raise ValueError(f"{name} would unpack {stored:,} bytes to {size:,}, which is no network")
