"""Chooses grids: up to the largest magnitude, or with the least squared error."""

from collections.abc import Iterable
from typing import Any

import numpy as np

import fq
from fq._clip import clip_range
from fq._seen import Seen
from fq.report.tensors import Array

__all__ = ["BITS", "best_grids", "whole_grid", "widest_grids"]

BITS = (2, 3, 4, 5, 6, 8)
_SHRUNK = np.array([1, 0.94, 0.88, 0.82, 0.76, 0.7, 0.64, 0.58, 0.52, 0.46, 0.4, 0.34, 0.28, 0.22])


def whole_grid(seen: Seen, low: float, high: float, bits: int, symmetric: bool, clip: str) -> fq.QParams:
    """One grid for all values: up to the ends ("minmax"), or with the least squared error ("mse")."""
    how: dict[str, Any] = {"signed": symmetric, "symmetric": symmetric, "narrow_range": False, "method": clip}
    lows, highs = clip_range(seen, np.array([low]), np.array([high]), bits=bits, **how)
    return _grid(lows[0], highs[0], bits, symmetric)


def _grid(low: Any, high: Any, bits: int, symmetric: bool) -> fq.QParams:
    return fq.choose_qparams(low, high, bits, signed=symmetric, symmetric=symmetric)


def widest_grids(absmax: Array, dtype: Any) -> list[fq.QParams]:
    """For each of BITS, the grid of each row up to its largest magnitude."""
    absmax = absmax.astype(dtype)[:, None]
    return [_grid(-absmax, absmax, bits, True)._replace(zero_point=np.zeros((), np.int64)) for bits in BITS]


def _errors(piece: Array, grids: list[fq.QParams]) -> Array:
    """The squared error of each row, by bits and by the part of the range that is kept."""
    errors, y = np.empty((len(BITS), len(_SHRUNK), len(piece))), np.empty_like(piece)
    for i, grid in enumerate(grids):
        for j, part in enumerate(_SHRUNK.astype(piece.dtype)):
            fq.fake_quantize(piece, grid.scale * part, 0, grid.qmin, grid.qmax, out=y)
            np.subtract(y, piece, out=y)
            errors[i, j] = np.vecdot(y, y)
    return errors


def best_grids(grids: list[fq.QParams], pieces: Iterable[Array]) -> list[fq.QParams]:
    """For each of BITS, the grid of each row with the part of the range that makes the least noise."""
    errors: Array = np.zeros(())
    for piece in pieces:
        errors = errors + _errors(piece, grids)
    parts = _SHRUNK[errors.argmin(1)]
    return [
        grid._replace(scale=grid.scale * part.astype(grid.scale.dtype)[:, None])
        for grid, part in zip(grids, parts, strict=True)
    ]
