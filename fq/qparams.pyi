"""The names of fq.qparams, for type checkers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["QParams", "choose_qparams"]

class QParams(NamedTuple):
    scale: NDArray[np.floating]
    zero_point: NDArray[np.int64]
    qmin: int
    qmax: int

def choose_qparams(
    xmin: ArrayLike,
    xmax: ArrayLike,
    bits: int = 8,
    *,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
) -> QParams: ...
