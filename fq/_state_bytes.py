"""A state of an observer as few bytes, for pickle: what moves between the machines of a cluster."""

import json
import zlib
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_KINDS = "sum", "min", "max", "bins"
_FASTEST = 1


def to_bytes(state: dict[str, Any]) -> bytes:
    """The state, a third of its size: of integers far below 2**64 most bytes are 0, and these stand together."""
    arrays = [(op, name, np.asarray(array)) for op in _KINDS for name, array in state.get(op, {}).items()]
    about = {one: state[one] for one in ("version", "settings")}
    about["arrays"] = [(op, name, array.dtype.str, array.shape) for op, name, array in arrays]
    head = json.dumps(about).encode()
    planes = b"".join(_planes(_steps(array) if name == "keys" else array) for _, name, array in arrays)
    return len(head).to_bytes(4, "little") + head + zlib.compress(planes, _FASTEST)


def from_bytes(told: bytes) -> dict[str, Any]:
    """The state of these bytes."""
    end = 4 + int.from_bytes(told[:4], "little")
    state: dict[str, Any] = json.loads(told[4:end])
    planes, start = zlib.decompress(told[end:]), 0
    for op, name, dtype, shape in state.pop("arrays"):
        stop = start + int(np.prod(shape)) * np.dtype(dtype).itemsize
        array = _whole(planes[start:stop], np.dtype(dtype), shape)
        state.setdefault(op, {})[name] = np.cumsum(array, dtype=array.dtype) if name == "keys" else array
        start = stop
    return state


def _steps(keys: Array) -> Array:
    """From each key to the next: mostly 1, and down where a range ends, which wraps around."""
    return np.diff(keys, prepend=keys.dtype.type(0))


def _planes(array: Array) -> bytes:
    """The first bytes of all rows, then the second ones, and so on."""
    row = array.itemsize * (array.shape[-1] if array.ndim > 1 else 1)
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1, row).T.tobytes()


def _whole(planes: bytes, dtype: np.dtype[Any], shape: list[int]) -> Array:
    row = dtype.itemsize * (shape[-1] if len(shape) > 1 else 1)
    rows = np.frombuffer(planes, np.uint8).reshape(row, -1).T
    return np.ascontiguousarray(rows).view(dtype).reshape(shape)
