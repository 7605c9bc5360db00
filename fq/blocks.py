"""Fake quantization in blocks that share a scale: MX and NVFP4.

::

    y, mask = fq.blocks.forward(x, fq.formats.mxfp4, axis=-1)
    dx = fq.backward(dy, mask)
    codes, scales, tensor_scale = fq.blocks.quantize(x, fq.formats.mxfp4)

The scale of a block is chosen from its largest magnitude, by the rule of the format, and its elements are rounded to
the format's grid times that scale: all in one pass.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fq import _core
from fq._errors import in_memory, refuse_masked
from fq.formats import BlockFormat, FloatGrid, e4m3fn

__all__ = ["BlockCodes", "dequantize", "fake_quantize", "forward", "forward_packed", "quantize"]

_RULES = {"floor": 0, "up": 1, "fit": 2}
_SCALES = "e8m0", "e4m3"
_ONE_BIT, _ONE_BYTE = 1, 8


class BlockCodes(NamedTuple):
    """Blocks as they are stored.

    Attributes
    ----------
    codes : ndarray of uint8, or of int8 for mxint8
        A byte per element with the bits of its format, the upper ones 0: ``codes.view(ml_dtypes.float4_e2m1fn)``.
        ``fq.pack(codes, 4)`` puts two to a byte, as safetensors and ONNX store them.
    scales : ndarray of uint8
        One per block, in the place of the axis: bytes of E8M0, ``scales.view(ml_dtypes.float8_e8m0fnu)``, or of E4M3,
        ``scales.view(ml_dtypes.float8_e4m3fn)``.
    tensor_scale : float or None
        What scales of E4M3 are multiplied by; None for E8M0.
    """

    codes: NDArray[Any]
    scales: NDArray[np.uint8]
    tensor_scale: float | None


def fake_quantize(
    x: ArrayLike,
    format: BlockFormat,
    *,
    axis: int = -1,
    tensor_scale: float | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Round x to blocks of a format, and back to floats.

    Parameters
    ----------
    x, format, axis, tensor_scale
        As for `forward`.
    out : ndarray, optional
        Where y goes, of the shape and type of x.

    Returns
    -------
    y : ndarray of the type of x

    Raises
    ------
    TypeError, ValueError
        As of `forward`.

    Examples
    --------
    >>> import fq, numpy as np
    >>> fq.blocks.fake_quantize(np.float32([0.3, 1.0, -5.1, 8.0]), fq.formats.mxfp4)
    array([ 0.,  1., -6.,  8.], dtype=float32)
    """
    return _Call(x, format, axis, tensor_scale).run(0, out=out)[0]


def forward(
    x: ArrayLike, format: BlockFormat, *, axis: int = -1, tensor_scale: float | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Round x to blocks of a format, and say which elements were inside its range.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        At least one axis.
    format : BlockFormat
        Of `fq.formats`, or one of your own: ``mxfp4._replace(rule="fit")``.
    axis : int
        Along which blocks lie: that of a matrix product's sum. A last block that is short has fewer elements.
    tensor_scale : float, optional
        Of a format whose scales are E4M3: a positive number, normal in float32. From x by default, its largest finite
        magnitude / (448 * grid.max), and 1.0 where all is 0.

    Returns
    -------
    y : ndarray of the type of x
        A block with a NaN or an infinity is NaN.
    mask : ndarray of bool
        True where the rounded element is at most the format's largest number. Only rule "floor", and a given
        tensor_scale, clamp anything: by "up" and "fit" the mask is True but in blocks of NaN.

    Raises
    ------
    TypeError
        If x is not of the four types, or format is not a `fq.formats.BlockFormat`.
    ValueError
        If axis is out of range, the block has no element, no rule or kind of scale has the name, the grid is none of
        float32, or tensor_scale is not positive.

    Notes
    -----
    With amax the largest magnitude of a block and emax the exponent of grid.max, a scale of E8M0 is 2**k, and k is
    clamped to [-127, 127]::

        floor    k = floor(log2(amax)) - emax
        up       the smallest k with amax <= max * 2**k
        fit      the smallest k with which amax is at most max after it is rounded

    A scale of E4M3 is b * tensor_scale with b = amax / (max * tensor_scale), rounded to E4M3 and at least 2**-9. All is
    computed in float32 (float64 for float64), each step rounded once.

    References
    ----------
    OCP, "Microscaling Formats Specification" v1.0 (2023), 6.3; NVIDIA, "Introducing NVFP4" (2025).

    Examples
    --------
    >>> import fq, numpy as np
    >>> x = np.float32([0.3, 1.0, -5.1, 7.5])
    >>> fq.blocks.forward(x, fq.formats.mxfp4)
    (array([ 0.5,  1. , -6. ,  6. ], dtype=float32), array([ True,  True,  True, False]))
    >>> fq.blocks.forward(x, fq.formats.mxfp4._replace(rule="fit"))[0]
    array([ 0.,  1., -6.,  8.], dtype=float32)
    """
    return _Call(x, format, axis, tensor_scale).run(_ONE_BYTE)[:2]


def forward_packed(
    x: ArrayLike, format: BlockFormat, *, axis: int = -1, tensor_scale: float | None = None
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Round x to blocks of a format, and say in one bit per element which were inside its range.

    Parameters
    ----------
    x, format, axis, tensor_scale
        As for `forward`.

    Returns
    -------
    y : ndarray of the type of x
    bits : ndarray of uint8
        The mask, packed along the last axis of x, whatever axis is: `fq.backward_packed` takes it. All ones for "up"
        and "fit" without NaN: then there is no need to keep it.

    Raises
    ------
    TypeError, ValueError
        As of `forward`.

    Examples
    --------
    >>> import fq, numpy as np
    >>> y, bits = fq.blocks.forward_packed(np.float32([0.3, 1.0, -5.1, 7.5]), fq.formats.mxfp4)
    >>> bits
    array([7], dtype=uint8)
    """
    call = _Call(x, format, axis, tensor_scale)
    if call.can_pack:
        return call.run(_ONE_BIT)[:2]
    y, mask, _ = call.run(_ONE_BYTE)
    return y, np.packbits(mask, axis=-1, bitorder="little")


def quantize(x: ArrayLike, format: BlockFormat, *, axis: int = -1, tensor_scale: float | None = None) -> BlockCodes:
    """Round x to blocks of a format, as these are stored.

    Parameters
    ----------
    x, format, axis, tensor_scale
        As for `forward`.

    Returns
    -------
    BlockCodes
        codes of the shape of x, scales with ceil(n / block) in the place of its n, tensor_scale.
        ``dequantize(*blocks, format)`` is what `fake_quantize` gives, to the last bit.

    Raises
    ------
    TypeError, ValueError
        As of `forward`; and where a number of the format does not fit 8 bits.

    Examples
    --------
    >>> import fq, numpy as np
    >>> fq.blocks.quantize(np.float32([0.3, 1.0, -5.1, 8.0]), fq.formats.mxfp4)
    BlockCodes(codes=array([ 0,  1, 13,  6], dtype=uint8), scales=array([128], dtype=uint8), tensor_scale=None)
    """
    call = _Call(x, format, axis, tensor_scale)
    points, _, scales = call.run(0, points=True)
    codes = _codes_of(points.astype(np.float32, copy=False), format.grid)
    return BlockCodes(codes, scales, call.tensor_scale if format.scale == "e4m3" else None)


def dequantize(
    codes: ArrayLike,
    scales: ArrayLike,
    tensor_scale: float | None,
    format: BlockFormat,
    *,
    axis: int = -1,
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Floats of blocks as they are stored.

    Parameters
    ----------
    codes, scales, tensor_scale
        As `quantize` gives them; tensor_scale is None for scales of E8M0.
    format : BlockFormat
    axis : int
        Along which blocks lie.
    dtype : float16, bfloat16, float32 or float64
        Of the result; that of x for what `fake_quantize` gave.

    Returns
    -------
    y : ndarray
        Elements of a block whose scale is NaN are NaN.

    Raises
    ------
    TypeError
        If codes are not bytes, or format is not a `fq.formats.BlockFormat`.
    ValueError
        If a code is none of the format, or shapes do not fit.

    Examples
    --------
    >>> import fq, numpy as np
    >>> fq.blocks.dequantize(np.uint8([0, 1, 13, 6]), np.uint8([128]), None, fq.formats.mxfp4)
    array([ 0.,  1., -6.,  8.], dtype=float32)
    """
    _check_format(format)
    codes, scales = _bytes_of(codes, format.grid), np.asarray(in_memory(scales))
    axis = _checked_axis(axis, codes.ndim)
    expected = (*codes.shape[:axis], -(-codes.shape[axis] // format.block), *codes.shape[axis + 1 :])
    if scales.dtype.itemsize != 1 or scales.shape != expected:
        raise ValueError(f"scales must be bytes of shape {expected}, got {scales.dtype} of shape {scales.shape}")
    compute = np.float64 if np.dtype(dtype) == np.float64 else np.float32
    with np.errstate(all="ignore"):
        scale = _values_of_scales(scales.view(np.uint8), format, tensor_scale, compute)
        scale = np.repeat(scale, format.block, axis).take(range(codes.shape[axis]), axis)
        y: NDArray[Any] = _values_of(codes, format.grid).astype(compute) * scale
        y += compute(0) if not format.grid.signed_zero else compute(-0.0)  # the first makes 0.0 of -0.0
        return y.astype(dtype)


def _check_format(given: Any) -> None:
    if not isinstance(given, BlockFormat):
        raise TypeError(f"format must be a BlockFormat of fq.formats, as fq.formats.mxfp4, got {given!r}")
    block: Any = given.block
    if isinstance(block, bool) or not isinstance(block, (int, np.integer)) or block < 1:
        raise ValueError(f"a block must have 1 element or more, got {block!r}")
    if given.rule not in _RULES:
        raise ValueError(f"the rule of a scale must be one of {', '.join(_RULES)}, got {given.rule!r}")
    if given.scale not in _SCALES:
        raise ValueError(f"the scale of a block must be one of {', '.join(_SCALES)}, got {given.scale!r}")


def _checked_axis(axis: Any, axes: int) -> int:
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"axis must be an int, got {type(axis).__name__}")
    if not -axes <= axis < axes:
        raise ValueError(f"axis must lie within [{-axes}, {axes}) for x of {axes} axes, got {axis}")
    return int(axis) % axes


def check_call(format: Any, axis: Any, axes: int, tensor_scale: Any) -> None:
    """TypeError or ValueError for what `forward` refuses of an x of so many axes, x aside."""
    _Call(np.zeros((0,) * axes, np.float32), format, axis, tensor_scale)


class _Call:
    """A call's arguments, checked."""

    def __init__(self, x: ArrayLike, format: BlockFormat, axis: int, tensor_scale: float | None) -> None:
        _check_format(format)
        x = in_memory(x)
        refuse_masked("x", x)
        native = np.asarray(x)
        if native.dtype.newbyteorder("=") not in _core.types():
            raise TypeError(
                f"x must be float16, bfloat16, float32 or float64, got {native.dtype}; convert it: .astype(np.float32)"
            )
        if not native.ndim:
            raise ValueError("x must have an axis, along which blocks lie: np.atleast_1d(x)")
        self.x = np.require(native, native.dtype.newbyteorder("="), ["C", "A"])
        self.format, self.axis = format, _checked_axis(axis, native.ndim)
        self.tensor_scale = self._scale_of_tensor(tensor_scale)

    def _scale_of_tensor(self, given: float | None) -> float:
        if self.format.scale == "e8m0":
            if given is not None:
                raise ValueError(f"only scales of e4m3 have a tensor_scale, got {given!r}")
            return 1.0
        if given is None:
            return found_tensor_scale(self.x, self.format.grid.max)
        with np.errstate(all="ignore"):
            narrow = np.float32(given)
        if not np.finfo(np.float32).tiny <= narrow < np.inf:
            raise ValueError(f"tensor_scale must be positive and a normal number of float32, got {given!r}")
        return float(narrow)

    @property
    def can_pack(self) -> bool:
        """Whether the kernel itself writes bits: blocks and rows are whole bytes of them."""
        return self.axis == self.x.ndim - 1 and self.x.shape[-1] % 8 == 0 and self.format.block % 8 == 0

    def run(
        self, kept: int, *, points: bool = False, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], Any, NDArray[np.uint8]]:
        """y, or points of the grid, and the mask or its bits or None, and the scales."""
        x, axis, format = self.x, self.axis, self.format
        outer, n, inner = (int(np.prod(part)) for part in (x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]))
        y = self._place(out)
        scales = np.empty((*x.shape[:axis], -(-n // format.block), *x.shape[axis + 1 :]), np.uint8)
        mask: Any = None
        if kept:
            shape = x.shape if kept == _ONE_BYTE else (*x.shape[:-1], x.shape[-1] // 8)
            mask = np.empty(shape, bool if kept == _ONE_BYTE else np.uint8)
        rule = 3 if format.scale == "e4m3" else _RULES[format.rule]
        block, grid = min(int(format.block), max(n, 8)), tuple(format.grid)
        _core._blocks(x, y, mask, scales, (outer, n, inner, block), rule, grid, self.tensor_scale, kept, points)
        if out is not None and y is not out:
            out[...] = y
        return y if out is None else out, mask, scales

    def _place(self, out: Any) -> NDArray[Any]:
        """Where the kernel writes y."""
        if out is None:
            return np.empty_like(self.x)
        if not isinstance(out, np.ndarray) or (out.shape, out.dtype) != (self.x.shape, self.x.dtype):
            what = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else repr(out)
            raise ValueError(f"out must be an array of {self.x.dtype} of shape {self.x.shape}, got {what}")
        if not out.flags.writeable:
            raise ValueError("out must be writeable")
        same = out.__array_interface__["data"][0] == self.x.__array_interface__["data"][0]
        direct = out.flags.c_contiguous and out.flags.aligned and (same or not np.may_share_memory(out, self.x))
        return out if direct else np.empty_like(self.x)


def found_tensor_scale(x: NDArray[Any], largest: float) -> float:
    """That of NVFP4 for x: its largest finite magnitude / (448 * largest) in float32, and 1.0 where all is 0."""
    with np.errstate(all="ignore"):
        size = abs(x)
        amax = size.max(initial=0)
        if not np.isfinite(amax):
            amax = size.max(initial=0, where=np.isfinite(size))
        scale = np.float32(amax) / (np.float32(e4m3fn.max) * np.float32(largest))
    return 1.0 if amax == 0 else float(np.clip(scale, np.finfo(np.float32).tiny, np.finfo(np.float32).max))


def _are_integers(grid: FloatGrid) -> bool:
    """Whether points lie evenly, so that they are stored as integers: mxint8."""
    return not grid.signed_zero and grid.max < 2.0 ** (grid.min_exponent + 1)


def _codes_of(points: NDArray[np.float32], grid: FloatGrid) -> NDArray[Any]:
    """The bits of numbers of a format. NaN, whose scale is NaN too, is 0."""
    last, is_nan = _last_code(grid), np.isnan(points)
    steps = np.ldexp(np.where(is_nan, 0, points), grid.mantissa_bits - grid.min_exponent)
    if _are_integers(grid):
        return steps.astype(np.int8)
    normal = (points.view(np.uint32) & 0x7FFFFFFF) >> np.uint32(23 - grid.mantissa_bits)
    least = (126 + grid.min_exponent) << grid.mantissa_bits
    size = np.where(abs(steps) < 2**grid.mantissa_bits, abs(steps).astype(np.int64), normal.astype(np.int64) - least)
    sign = np.signbit(points).astype(np.int64) << last.bit_length()
    return np.where(is_nan, 0, size | sign).astype(np.uint8)


def _last_code(grid: FloatGrid) -> int:
    """That of the largest number."""
    if _are_integers(grid):
        last = int(np.ldexp(grid.max, grid.mantissa_bits - grid.min_exponent))
    else:
        exponent = max(int(np.frexp(grid.max)[1]) - 1, grid.min_exponent)
        steps = int(np.ldexp(grid.max, grid.mantissa_bits - exponent))
        last = steps + ((exponent - grid.min_exponent) << grid.mantissa_bits)
    if last > 127:
        raise ValueError(f"the numbers of {grid} take more than 8 bits; codes are bytes")
    return last


def _values_of(codes: NDArray[Any], grid: FloatGrid) -> Any:
    """The numbers that codes stand for."""
    last = _last_code(grid)
    if _are_integers(grid):
        return np.ldexp(codes.astype(np.float32), grid.min_exponent - grid.mantissa_bits)
    size = np.arange(last + 1)
    exponent = np.maximum(size >> grid.mantissa_bits, 1) - 1
    fraction = size - (exponent << grid.mantissa_bits)
    values = np.ldexp(fraction.astype(np.float32), exponent + grid.min_exponent - grid.mantissa_bits)
    table = np.full(256, np.nan, np.float32)
    table[: last + 1] = values
    table[(size | 1 << last.bit_length())] = -values
    return table[codes]


def _bytes_of(codes: ArrayLike, grid: FloatGrid) -> NDArray[Any]:
    """Codes as uint8, or int8 of integers; ValueError for one that is no number of the format."""
    codes, last = np.asarray(in_memory(codes)), _last_code(grid)
    if codes.dtype.itemsize != 1:
        raise TypeError(f"codes must be bytes, as quantize gives them, got {codes.dtype}")
    if not codes.ndim:
        raise ValueError("codes must have an axis, along which blocks lie: np.atleast_1d(codes)")
    if _are_integers(grid):
        codes = codes.view(np.int8)
        wrong = abs(codes.astype(np.int16)) > last
    else:
        codes = codes.view(np.uint8)
        sign = 1 << last.bit_length()
        wrong = ((codes & (sign - 1)) > last) | (codes >= 2 * sign if sign < 128 else False)
        wrong |= (codes == sign) & (not grid.signed_zero)
    if wrong.any():
        index = tuple(int(one) for one in np.argwhere(wrong)[0])
        raise ValueError(f"codes must be numbers of the format, up to {last}, got {codes[index]} at index {index}")
    return codes


def _values_of_scales(
    scales: NDArray[np.uint8], format: BlockFormat, tensor_scale: float | None, compute: type[np.floating[Any]]
) -> Any:
    if format.scale == "e8m0":
        if tensor_scale is not None:
            raise ValueError(f"only scales of e4m3 have a tensor_scale, got {tensor_scale!r}")
        powers = np.ldexp(compute(1), np.arange(256) - 127)
        return np.where(np.arange(256) == 255, compute(np.nan), powers)[scales]
    if tensor_scale is None or not 0 < tensor_scale < np.inf:
        raise ValueError(f"tensor_scale must be positive, got {tensor_scale!r}")
    numbers = np.full(256, np.nan, np.float32)
    numbers[:127] = _values_of(np.arange(127, dtype=np.uint8), e4m3fn)
    return numbers[scales].astype(compute) * compute(np.float32(tensor_scale))
