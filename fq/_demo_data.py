"""The data of ``python -m fq demo``: loads it, checks it, splits it and scales it."""

import zipfile
import zlib
from typing import NamedTuple

import numpy as np

from fq._input import InputError, need

_TEST_SHARE = 4  # one sample in four of every class
_UNREADABLE = (ValueError, KeyError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


class Data(NamedTuple):
    """Features from 0 to 1 in float32 and labels from 0 to classes - 1."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int


def load(path, rng):
    """The digits of scikit-learn, or X and y of the .npz file at path, checked, split and scaled."""
    if path is None:
        x, y = need("sklearn.datasets", "scikit-learn").load_digits(return_X_y=True)
        return _split(*_checked(x, y), rng)
    try:
        return _split(*_checked(*_read(path)), rng)
    except OSError as error:
        raise InputError(f"argument --data: {path}: {error.strerror or error}") from None
    except InputError as error:
        raise InputError(f"argument --data: {path}: {error}") from None


def _read(path):
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise InputError("not an .npz file")
        file.seek(0)
        try:
            arrays = np.load(file, allow_pickle=False)
            for name in ("X", "y"):
                if name not in arrays:
                    raise InputError(f"has no array {name}")
            return np.asarray(arrays["X"]), np.asarray(arrays["y"])
        except _UNREADABLE as error:
            raise InputError(f"cannot be read: {error}") from None


def _checked(x, y):
    """X as a float32 matrix and y as its classes, or an InputError."""
    if x.dtype.kind not in "biuf":
        raise InputError(f"X must hold real numbers, got {x.dtype}")
    if y.dtype.kind not in "biuUS":
        raise InputError(f"y must hold integers or strings, got {y.dtype}")
    if x.ndim < 2 or y.ndim != 1:
        raise InputError(f"X must have 2 dimensions or more and y one, got {x.ndim} and {y.ndim}")
    if len(x) != len(y):
        raise InputError(f"X and y must have the same length, got {len(x)} and {len(y)}")
    if x.size == 0:
        raise InputError(f"X must not be empty, got shape {x.shape}")
    with np.errstate(over="ignore"):
        x = x.reshape(len(x), -1).astype(np.float32)
    if not np.all(np.isfinite(x)):
        raise InputError("X must not hold NaN, infinity or numbers beyond float32")
    names, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise InputError(f"y must have 2 classes or more, got only {names[0]}")
    if counts.min() < _TEST_SHARE:
        rarest = names[counts.argmin()]
        raise InputError(f"every class needs {_TEST_SHARE} samples or more, got {counts.min()} of {rarest}")
    return x, labels


def _split(x, labels, rng):
    """A quarter of every class for the test; each feature scaled to [0, 1] by its range in the rest."""
    order = rng.permutation(len(x))
    classes = int(labels.max()) + 1
    of_class = [order[labels[order] == label] for label in range(classes)]
    test = np.concatenate([rows[: len(rows) // _TEST_SHARE] for rows in of_class])
    train = np.concatenate([rows[len(rows) // _TEST_SHARE :] for rows in of_class])
    low, high = x[train].min(0).astype(np.float64), x[train].max(0).astype(np.float64)
    span = np.where(high > low, high - low, 1.0)
    scaled = np.clip((x - low) / span, 0, 1).astype(np.float32)
    return Data(scaled[train], labels[train], scaled[test], labels[test], classes)
