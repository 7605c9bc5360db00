"""Tells a file's format from its first bytes, and opens it: what fails is one line."""

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fq._input import InputError, one_line
from fq.report import readers
from fq.report.tensors import Array, Tensor

__all__ = ["FORMATS", "format_of", "load", "open_tensors"]

FORMATS = {
    "npy": readers.npy,
    "npz": readers.npz,
    "safetensors": readers.safetensors,
    "ONNX": readers.onnx,
    "PyTorch": readers.pytorch,
    "HDF5": readers.hdf5,
    "Keras": readers.keras,
    "GGUF": readers.gguf,
    "flax": readers.msgpack,
}
_BEGINNINGS = {b"\x93NUMPY": "npy", b"\x89HDF\r\n\x1a\n": "HDF5", b"GGUF": "GGUF"}
_SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".safetensors": "safetensors",
    ".onnx": "ONNX",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".bin": "PyTorch",
    ".ckpt": "PyTorch",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".keras": "Keras",
    ".gguf": "GGUF",
    ".msgpack": "flax",
    ".flax": "flax",
}


def open_tensors(path: Path) -> tuple[str, list[Tensor]]:
    """(format, tensors) of a file, of which no tensor is read yet.

    Raises
    ------
    InputError
        If the file is not there, of no format known, broken or without tensors, or its reader is not installed.
    """
    told = one_line(path)
    try:
        kind = format_of(path)
    except (OSError, ValueError) as error:  # a ValueError where the name has a zero byte
        raise InputError(f"{told} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if kind is None:
        raise InputError(f"{told} is of no format known here: {', '.join(FORMATS)}")
    with _in_one_line(f"{told} cannot be read as {kind}"):
        tensors = FORMATS[kind](path)
    if not tensors:
        raise InputError(f"{told} holds no tensors that {kind} would have")
    return kind, tensors


def load(path: Path, tensor: Tensor) -> Array:
    """The array of a tensor that has a `load`.

    Raises
    ------
    InputError
        If it cannot be read, or has another shape than the file said.
    """
    assert tensor.load is not None
    with _in_one_line(f"{one_line(path)}: {one_line(tensor.name)} cannot be read"):
        found = np.asarray(tensor.load())
        if found.shape != tensor.shape:
            raise ValueError(f"its shape is {found.shape}, not {tensor.shape}")
        return found


@contextmanager
def _in_one_line(told: str) -> Iterator[None]:
    """Whatever a reader raises is told in one line, and what it warns of is not told."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # of any type: a reader fails as it likes on a hostile file
        reason = one_line(error).removeprefix("Error while deserializing header: ")[:300]
        raise InputError(f"{told}: {reason or type(error).__name__}") from None


def format_of(path: Path) -> str | None:
    """The format by the first bytes, or by the name's end where the bytes do not tell."""
    with path.open("rb") as file:
        first = file.read(16)
    for beginning, kind in _BEGINNINGS.items():
        if first.startswith(beginning):
            return kind
    if first.startswith(b"PK") and (inner := _kind_of_archive(path)):
        return inner
    if int.from_bytes(first[:8], "little") < path.stat().st_size and first[8:9] == b"{":
        return "safetensors"
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()]
    return "PyTorch" if first.startswith(b"\x80\x02") else None


def _kind_of_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return None
    if "model.weights.h5" in names:
        return "Keras"
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "PyTorch"
    return "npz" if any(name.endswith(".npy") for name in names) else None
