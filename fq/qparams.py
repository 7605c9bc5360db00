"""Chooses scale and zero_point for a range of values."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fq import _core
from fq._errors import in_memory

__all__ = ["QParams", "choose_qparams"]

Array = NDArray[Any]

_MAX_BITS = 16
_FORMULAS = "cover", "torch"


class QParams(NamedTuple):
    """The grid of a quantizer, in the order in which every function takes it: ``fq.forward(x, *qparams)``.

    Attributes
    ----------
    scale : float or ndarray
        Width of a step.
    zero_point : int or ndarray
        The level of 0.0.
    qmin, qmax : int
        The first and last level.
    """

    scale: NDArray[np.floating]
    zero_point: NDArray[np.int64]
    qmin: int
    qmax: int


def choose_qparams(
    xmin: ArrayLike,
    xmax: ArrayLike | None = None,
    bits: int = 8,
    *,
    signed: bool = True,
    symmetric: bool = False,
    narrow_range: bool = False,
    formula: Literal["cover", "torch"] = "cover",
    eps: float | None = None,
) -> QParams:
    """Choose the grid of so many bits that covers the range of values from xmin to xmax.

    The range is widened to contain 0.0, which is always a level: zero_point's.

    Parameters
    ----------
    xmin, xmax : array_like of real numbers
        The smallest and largest value: scalars for one grid, arrays (that broadcast) for one per channel.
    bits : int
        1 to 16.
    signed : bool
        Levels from -2**(bits-1), otherwise from 0.
    symmetric : bool
        The range is made symmetric about 0.0 and zero_point is the middle level: 0 if signed, 2**(bits-1) if not.
        scale is then ``2 * max(|xmin|, |xmax|) / (qmax - qmin)``, otherwise ``(xmax - xmin) / (qmax - qmin)``.
    narrow_range : bool
        Leave out the lowest level, so that a signed grid is symmetric too: -127 to 127. Needs 2 bits.
    formula : {"cover", "torch"}
        "cover": all of the range is inside, so the mask of `fq.forward` is True from xmin to xmax, and that of
        `fq.reciprocal.forward` too. Where that needs it, scale is larger by ``2**-20`` of itself, and no more.
        "torch": scale and zero_point of PyTorch's MinMaxObserver. The largest value of a symmetric grid then lies
        halfway beyond the last level, and is clamped about half of the time.
    eps : float, optional
        The least scale, rounded to the type of scale. Without eps, and for a smaller one, the smallest normal float32
        number, below which ``1 / scale`` overflows. PyTorch's observers take ``2**-23``.

    Returns
    -------
    QParams
        scale (float32, or float64 if xmin or xmax is) and zero_point (int64) of the broadcast shape, qmin and qmax.
        Where xmin and xmax are both 0, any scale is exact: it is eps if eps is given, as PyTorch's, otherwise 1.0.

    Raises
    ------
    TypeError
        If xmin, xmax or eps is not real, xmax is missing, or bits is not an integer.
    ValueError
        If xmin or xmax is NaN or infinite, xmin exceeds xmax, bits or formula is impossible, eps is not positive and
        finite in the type of scale, or the scale would overflow.

    Notes
    -----
    The ends lie in range as they are and cast to float32, for x and scale of either type.

    References
    ----------
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
    (2018).

    Examples
    --------
    >>> import numpy as np, fq
    >>> fq.choose_qparams(np.float32(-1.0), np.float32(2.0), bits=4, signed=False)
    QParams(scale=np.float32(0.2), zero_point=np.int64(5), qmin=0, qmax=15)
    >>> weights = np.float32([[0.5, -1.0], [0.25, 0.125]])
    >>> qparams = fq.choose_qparams(weights.min(1, keepdims=True), weights.max(1, keepdims=True), 4, symmetric=True)
    >>> qparams.scale.shape, qparams.qmin, qparams.qmax
    ((2, 1), -8, 7)
    """
    options = bits, signed, symmetric, narrow_range, formula, eps
    found: QParams | None = _core._choose_qparams(QParams, xmin, xmax, *options, None)
    return _choose_with_care(xmin, xmax, *options) if found is None else found


def _choose_with_care(
    xmin: ArrayLike,
    xmax: ArrayLike | None,
    bits: int,
    signed: bool,
    symmetric: bool,
    narrow_range: bool,
    formula: Literal["cover", "torch"],
    eps: float | None,
) -> QParams:
    """The same for arguments that C does not read as they are, and an error for those that are wrong."""
    if formula not in _FORMULAS:
        raise ValueError(f"formula must be 'cover' or 'torch', got {formula!r}")
    check_bits(bits, narrow_range)
    low, high, dtype = _range(xmin, xmax)
    least = None if eps is None else _least(eps, dtype)
    flags = bool(signed), bool(symmetric), bool(narrow_range), _FORMULAS[_FORMULAS.index(formula)], least
    found: QParams = _core._choose_qparams(QParams, low, high, int(bits), *flags, dtype is np.float64)
    finite = np.isfinite(found.scale)
    if not finite.all():
        low, high = (_first(end, ~finite) for end in (xmin, xmax))
        raise ValueError(
            f"the range from {low} to {high}{_place(~finite)} is too wide for a scale in {found.scale.dtype} "
            f"at {bits} bits"
        )
    return found


def check_bits(bits: int, narrow_range: bool) -> None:
    if isinstance(bits, bool) or not isinstance(bits, (int, np.integer)):
        raise TypeError(f"bits must be an integer, got {bits!r}")
    fewest = 2 if narrow_range else 1
    if not fewest <= bits <= _MAX_BITS:
        raise ValueError(f"bits must be {fewest} to {_MAX_BITS}{' for a narrow range' * narrow_range}, got {bits}")


def _least(eps: float, dtype: type[np.floating[Any]]) -> float:
    """eps as a float, if it can be a scale of this type."""
    if isinstance(eps, bool | np.bool_) or not isinstance(eps, int | float | np.integer | np.floating):
        raise TypeError(f"eps must be a real number, got {eps!r}")
    try:
        least = float(eps)
    except OverflowError:  # an int beyond float64
        least = np.inf
    with np.errstate(over="ignore", under="ignore"):
        if not (least > 0 and dtype(least) < np.inf):
            raise ValueError(f"eps must be positive and finite in {dtype.__name__}, got {eps}")
    return least


def _range(xmin: ArrayLike, xmax: ArrayLike | None) -> tuple[Array, Array, type[np.floating[Any]]]:
    """The ends of the range in float64, broadcast, and the type for the scale."""
    if xmax is None:
        raise TypeError("choose_qparams takes the range of x, not x: choose_qparams(x.min(), x.max())")
    for name, end in (("xmin", xmin), ("xmax", xmax)):
        if np.ma.isMaskedArray(end):
            raise TypeError(f"{name} must not be a masked array, whose mask would be lost: {name}.filled(0)")
    xmin, xmax = (np.asarray(in_memory(end)) for end in (xmin, xmax))
    dtype = np.float64 if np.float64 in (xmin.dtype.type, xmax.dtype.type) else np.float32
    low, high = _end("xmin", xmin), _end("xmax", xmax)
    exceeds = low > high
    if exceeds.any():
        raise ValueError(
            f"xmin must not exceed xmax, got {_first(xmin, exceeds)} and {_first(xmax, exceeds)}{_place(exceeds)}"
        )
    return np.broadcast_to(low, exceeds.shape), np.broadcast_to(high, exceeds.shape), dtype


def _end(name: str, given: Array) -> Array:
    """An end of the range in float64."""
    if not np.can_cast(given.dtype, np.float64, "same_kind"):
        raise TypeError(f"{name} must be real, got {given.dtype}")
    with np.errstate(over="ignore"):
        end = given.astype(np.float64)
    finite = np.isfinite(end)
    if not finite.all():
        raise ValueError(f"{name} must be finite, got {_first(end, ~finite)}{_place(~finite)}")
    return end


def _first(given: ArrayLike | None, wrong: Array) -> Any:
    """The first wrong element of what was given, for a message."""
    return np.broadcast_to(np.asarray(given), wrong.shape)[wrong][0]


def _place(wrong: Array) -> str:
    """Where the first wrong element is, for a message; nothing for a scalar."""
    if not wrong.ndim:
        return ""
    index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
    return f" at index {index[0] if len(index) == 1 else index}"
