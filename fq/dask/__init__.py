"""The functions of fq on Dask arrays: lazy, chunk by chunk, with the bits of NumPy's. Needs dask: the extra ``dask``.

::

    import dask.array as da
    import fq.dask

    x = da.from_zarr("activations.zarr")
    qparams = fq.dask.calibrate(x, 8, method="mse")
    y, bits = fq.dask.forward_packed(x, *qparams)

Every argument that is an array may be one of Dask or NumPy, with any chunks; numbers stay numbers. Nothing is computed
until ``compute``, ``persist`` or ``store`` asks, with the progress bars, dashboard and schedulers of Dask.
"""

from functools import partial

import numpy as np

try:
    import dask.array as da
except ImportError as error:
    raise ImportError('fq.dask needs dask: in a checkout of fq, pip install -e ".[dask]"') from error

import fq
from fq import calibration
from fq.dask import _arguments, _observers
from fq.dask._arguments import PARAMETERS
from fq.dask._blocks import aligned, array_of, chunked_as, is_lazy, mapped, of_whole, operand
from fq.qparams import QParams

__all__ = [
    "backward",
    "backward_learnable",
    "backward_packed",
    "backward_recompute",
    "backward_residual",
    "backward_residual_packed",
    "calibrate",
    "choose_qparams",
    "dequantize",
    "dequantize_packed",
    "fake_quantize",
    "forward",
    "forward_packed",
    "forward_residual",
    "forward_residual_packed",
    "grouped",
    "observe",
    "pack",
    "quantize",
    "quantize_packed",
    "sqnr",
    "unpack",
]

WHOLE_BYTES = "whole bytes"


def fake_quantize(x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.fake_quantize` of a Dask array.

    Parameters
    ----------
    x : dask.array.Array or array_like of float16, bfloat16, float32 or float64
    scale, zero_point, qmin, qmax : array_like or dask.array.Array
        As for `fq.fake_quantize`; they broadcast against x, whatever their chunks.
    reciprocal : bool
        Whether to compute as `fq.reciprocal` does.

    Returns
    -------
    dask.array.Array
        y, with the chunks of x, or finer ones where those of a parameter are.

    Raises
    ------
    TypeError, ValueError
        As `fq.fake_quantize`: at once where the parameters are in memory, else when a chunk is computed, with its
        place. ValueError too if chunks are of unknown size.

    Examples
    --------
    >>> import dask.array as da
    >>> import fq.dask
    >>> x = da.linspace(-3, 3, 7, chunks=3)
    >>> fq.dask.fake_quantize(x, 0.5, 0, -4, 3).compute()
    array([-2. , -2. , -1. ,  0. ,  1. ,  1.5,  1.5])
    """
    return _elementwise("fake_quantize", reciprocal, [x], (scale, zero_point, qmin, qmax))[0]


def forward(x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.forward` of a Dask array: y and the mask of what was inside the range.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, reciprocal
        As for `fake_quantize`.

    Returns
    -------
    y, mask : dask.array.Array
        Computed together where both are asked for at once: ``dask.compute(y, mask)``.

    Raises
    ------
    TypeError, ValueError
        As `fake_quantize`.
    """
    return _elementwise("forward", reciprocal, [x], (scale, zero_point, qmin, qmax))


def backward(dy, mask):
    """`fq.backward` of Dask arrays: dy where the mask is True, else 0.

    Parameters
    ----------
    dy : dask.array.Array or array_like of float16, bfloat16, float32 or float64
    mask : dask.array.Array or array_like of bool

    Returns
    -------
    dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.backward`.
    """
    dy, mask = array_of("dy", dy), array_of("mask", mask)
    fq.backward(np.zeros(1, dy.dtype), np.zeros(1, mask.dtype))
    return mapped(fq.backward, aligned([dy, mask]), [dy.dtype])[0]


def backward_recompute(dy, x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.backward_recompute` of Dask arrays: the gradient from x, without a mask.

    Parameters
    ----------
    dy : dask.array.Array or array_like of float16, bfloat16, float32 or float64
    x, scale, zero_point, qmin, qmax, reciprocal
        As for `fake_quantize`.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.backward_recompute`.
    """
    return _elementwise("backward_recompute", reciprocal, [dy, x], (scale, zero_point, qmin, qmax))[0]


def forward_packed(x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.forward_packed` of a Dask array: y, and the mask as one bit per element along the last axis.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, reciprocal
        As for `fake_quantize`; qmin and qmax have one value a row, as `fq.forward_packed` wants them. x has an axis.

    Returns
    -------
    y, bits : dask.array.Array
        Chunks along the last axis are whole bytes: x is rechunked where its chunks are not multiples of 8 elements (but
        the last one), with a ``dask.array.PerformanceWarning``.

    Raises
    ------
    TypeError, ValueError
        As `fake_quantize`.
    """
    return _packing("forward_packed", "fake_quantize", 1, x, (scale, zero_point, qmin, qmax), reciprocal)


def backward_packed(dy, bits):
    """`fq.backward_packed` of Dask arrays.

    Parameters
    ----------
    dy : dask.array.Array or array_like of float16, bfloat16, float32 or float64
        Of at least one axis; rechunked to whole bytes as by `forward_packed`.
    bits : dask.array.Array or array_like of uint8
        As `forward_packed` gives them; rechunked to go with dy.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.backward_packed`.
    """
    dy, bits = (_arguments.with_an_axis(name, one) for name, one in (("dy", dy), ("bits", bits)))
    fq.backward_packed(np.zeros(1, dy.dtype), np.zeros(1, bits.dtype))
    n, expected = dy.shape[-1], -(-dy.shape[-1] // 8)
    if bits.shape[-1] != expected:
        raise ValueError(f"bits must have {expected} bytes per row for dy of shape {dy.shape}, got shape {bits.shape}")
    outer = np.broadcast_shapes(dy.shape[:-1], bits.shape[:-1])
    dy = of_whole(da.broadcast_to(dy, (*outer, n)), 8, "dy", WHOLE_BYTES)
    bits = da.broadcast_to(bits, (*outer, expected)).rechunk(_packed_chunks(dy, 1))
    return mapped(fq.backward_packed, [dy, bits], [dy.dtype], [dy.chunks])[0]


def backward_learnable(dy, x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.backward_learnable` of Dask arrays: the gradients of x, scale and zero_point, by chunks and sums over them.

    Parameters
    ----------
    dy, x : dask.array.Array or array_like of float16, bfloat16, float32 or float64
        Of one shape.
    scale, zero_point, qmin, qmax : array_like or dask.array.Array
        As for `fq.backward_learnable`; they broadcast into x.
    reciprocal : bool
        Whether to compute as `fq.reciprocal` does.

    Returns
    -------
    dx, dscale, dzero_point : dask.array.Array
        dx has the bits of NumPy's. The sums have the shapes of scale and zero_point: those of the chunks, rounded to
        their type, and then added in float64, so that their last bits depend on the chunks.

    Raises
    ------
    TypeError, ValueError
        As `fq.backward_learnable`.
    """
    inputs = [array_of("dy", dy), array_of("x", x)]
    return _with_sums("backward_learnable", inputs, (scale, zero_point, qmin, qmax), reciprocal)


def forward_residual(x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.forward_residual` of a Dask array: y, and the residuals as codes of int8.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, reciprocal
        As for `fake_quantize`.

    Returns
    -------
    y, residual : dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.forward_residual`.
    """
    return _elementwise("forward_residual", reciprocal, [x], (scale, zero_point, qmin, qmax))


def forward_residual_packed(x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.forward_residual_packed` of a Dask array: y, and the residuals as codes of four bits, two to a byte.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, reciprocal
        As for `forward_packed`.

    Returns
    -------
    y, residual : dask.array.Array
        Chunks along the last axis are whole bytes, as those of `forward_packed`.

    Raises
    ------
    TypeError, ValueError
        As `fq.forward_residual_packed`.
    """
    parameters = scale, zero_point, qmin, qmax
    return _packing("forward_residual_packed", "forward_residual", 4, x, parameters, reciprocal)


def backward_residual(dy, residual, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.backward_residual` of Dask arrays: the gradients of x, scale and zero_point, from codes.

    Parameters
    ----------
    dy : dask.array.Array or array_like of float16, bfloat16, float32 or float64
    residual : dask.array.Array or array_like of int8
        As `forward_residual` gives them, of the shape of dy.
    scale, zero_point, qmin, qmax, reciprocal
        As for `backward_learnable`.

    Returns
    -------
    dx, dscale, dzero_point : dask.array.Array
        As of `backward_learnable`.

    Raises
    ------
    TypeError, ValueError
        As `fq.backward_residual`.
    """
    inputs = [array_of("dy", dy), array_of("residual", residual)]
    return _with_sums("backward_residual", inputs, (scale, zero_point, qmin, qmax), reciprocal)


def backward_residual_packed(dy, residual, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fq.backward_residual_packed` of Dask arrays: the gradients of x, scale and zero_point, from codes of four bits.

    Parameters
    ----------
    dy : dask.array.Array or array_like of float16, bfloat16, float32 or float64
        Of at least one axis.
    residual : dask.array.Array or array_like of uint8
        As `forward_residual_packed` gives them, two codes to a byte; rechunked to go with dy.
    scale, zero_point, qmin, qmax, reciprocal
        As for `fq.backward_residual_packed`.

    Returns
    -------
    dx, dscale, dzero_point : dask.array.Array
        As of `backward_learnable`.

    Raises
    ------
    TypeError, ValueError
        As `fq.backward_residual_packed`.
    """
    dy, residual = (_arguments.with_an_axis(name, one) for name, one in (("dy", dy), ("residual", residual)))
    if residual.dtype != np.uint8:
        raise TypeError(f"residual must be uint8, as forward_residual_packed gives it, got {residual.dtype}")
    packed = *dy.shape[:-1], -(-dy.shape[-1] // 2)
    if residual.shape != packed:
        raise ValueError(f"residual must be of shape {packed} for dy of {dy.shape}, got {residual.shape}")
    codes = unpack(residual, 4, dy.shape[-1])
    parameters = scale, zero_point, *_arguments.rows_of((qmin, qmax))
    function = partial(_from_four_bits, _arguments.functions(reciprocal))
    return _with_sums("backward_residual", [dy, codes], parameters, reciprocal, function)


def quantize(x, scale, zero_point, qmin, qmax, dtype=None, *, reciprocal=False):
    """`fq.quantize` of a Dask array: the levels, as integers.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, reciprocal
        As for `fake_quantize`.
    dtype : dtype, optional
        As for `fq.quantize`; to be given where qmin or qmax is a Dask array, whose values are not known yet.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.quantize`, and ValueError where dtype is to be given.
    """
    parameters = scale, zero_point, qmin, qmax
    if dtype is None and (is_lazy(qmin) or is_lazy(qmax)):
        raise ValueError("dtype must be given where qmin or qmax is a Dask array, whose values are not known yet")
    dtype = _arguments.tried("quantize", reciprocal, [x], parameters, dtype).dtype
    operands = aligned([array_of("x", x), *map(operand, PARAMETERS, parameters)])
    return mapped(partial(_arguments.functions(reciprocal).quantize, dtype=dtype), operands, [dtype])[0]


def dequantize(q, scale, zero_point, dtype=np.float32):
    """`fq.dequantize` of a Dask array: the values of levels.

    Parameters
    ----------
    q : dask.array.Array or array_like of integers
        Of a type that `fq.dequantize` takes.
    scale, zero_point : array_like or dask.array.Array
        As for `fq.dequantize`.
    dtype : dtype, optional
        float16, bfloat16, float32 or float64.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.dequantize`.
    """
    parameters = scale, zero_point
    _arguments.tried("dequantize", False, [q], parameters, dtype)
    operands = aligned([array_of("q", q), *map(operand, PARAMETERS, parameters)])
    return mapped(partial(fq.dequantize, dtype=np.dtype(dtype)), operands, [np.dtype(dtype)])[0]


def pack(q, bits):
    """`fq.pack` of a Dask array: integers of 1, 2 or 4 bits, several to a byte.

    Parameters
    ----------
    q : dask.array.Array or array_like of integers
        Of at least one axis; rechunked where chunks along the last axis are not whole bytes, with a warning.
    bits : int
        1, 2 or 4.

    Returns
    -------
    dask.array.Array of uint8

    Raises
    ------
    TypeError, ValueError
        As `fq.pack`.
    """
    q = _arguments.with_an_axis("q", q)
    fq.pack(np.zeros(1, q.dtype), bits)
    q = of_whole(q, 8 // bits, "q", WHOLE_BYTES)
    return mapped(partial(fq.pack, bits=bits), [q], [np.uint8], [_packed_chunks(q, bits)])[0]


def unpack(packed, bits, n, signed=True):
    """`fq.unpack` of a Dask array: the integers that share bytes.

    Parameters
    ----------
    packed : dask.array.Array or array_like of uint8
    bits, n, signed
        As for `fq.unpack`.

    Returns
    -------
    dask.array.Array of int8, or of uint8 where signed is False

    Raises
    ------
    TypeError, ValueError
        As `fq.unpack`.
    """
    packed = _arguments.with_an_axis("packed", packed)
    fq.unpack(np.broadcast_to(np.zeros((), packed.dtype), packed.shape[-1:]), bits, n, signed)
    chunks = *packed.chunks[:-1], tuple(size * 8 // bits for size in packed.chunks[-1])
    dtype = np.int8 if signed else np.uint8
    (whole,) = mapped(partial(_unpack, bits, signed), [packed], [dtype], [chunks])
    return whole[..., :n]


def quantize_packed(x, scale, zero_point, qmin, qmax, bits=4, *, reciprocal=False):
    """`fq.quantize_packed` of a Dask array: `quantize` and `pack` in one pass.

    Parameters
    ----------
    x, scale, zero_point, qmin, qmax, reciprocal
        As for `fake_quantize`; x has an axis, and is rechunked as by `pack`.
    bits : int
        1, 2 or 4.

    Returns
    -------
    dask.array.Array of uint8

    Raises
    ------
    TypeError, ValueError
        As `fq.quantize_packed`.
    """
    parameters = scale, zero_point, qmin, qmax
    _arguments.tried("quantize_packed", reciprocal, [x], parameters, bits, least=1)
    x = _arguments.broadcast(_arguments.with_an_axis("x", x), parameters)
    x = of_whole(x, 8 // bits, "x", WHOLE_BYTES)
    operands = chunked_as(x, list(map(operand, PARAMETERS, parameters)))
    function = partial(_arguments.functions(reciprocal).quantize_packed, bits=bits)
    return mapped(function, [x, *operands], [np.uint8], [_packed_chunks(x, bits)])[0]


def dequantize_packed(packed, scale, zero_point, bits, n, signed=True, dtype=np.float32):
    """`fq.dequantize_packed` of a Dask array: the values of levels that share bytes.

    Parameters
    ----------
    packed, bits, n, signed
        As for `unpack`.
    scale, zero_point, dtype
        As for `dequantize`.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.dequantize_packed`.
    """
    return dequantize(unpack(packed, bits, n, signed), scale, zero_point, dtype)


def observe(x, axis=None, group=None, distribution=True, nonfinite="skip"):
    """An `fq.Observer` of a Dask array: one of each chunk, merged in a tree.

    Parameters
    ----------
    x : dask.array.Array or array_like of float16, bfloat16, float32 or float64
    axis, group, distribution, nonfinite
        As for `fq.Observer`. Where groups do not end with the chunks along the last axis, x is rechunked, with a
        warning.

    Returns
    -------
    dask.delayed.Delayed
        Whose ``compute()`` is the observer: that of the whole array, bit for bit, for any chunks, workers and
        schedulers. A state is some kilobytes; see `fq.Observer.state` for how to save one.

    Raises
    ------
    TypeError, ValueError
        As `fq.Observer` and its ``update``: those of values when a chunk is computed, with its place.

    Examples
    --------
    >>> import dask.array as da
    >>> import fq.dask
    >>> x = da.linspace(-1, 3, 1000, chunks=100)
    >>> fq.dask.observe(x).compute().qparams(8, method="percentile", p=99).qmax
    127
    """
    settings = axis, group, distribution, nonfinite
    _, merged, _ = _observers.cells(x, axis, group, settings)
    return _observers.joined(merged, settings)


def calibrate(
    x,
    bits=8,
    axis=None,
    group=None,
    method="minmax",
    *,
    signed=True,
    symmetric=False,
    narrow_range=False,
    eps=None,
    p=99.99,
    nonfinite="skip",
    formula="cover",
):
    """`fq.calibrate` of a Dask array: the grid for its values, in one pass over the chunks.

    Parameters
    ----------
    x : dask.array.Array or array_like of float16, bfloat16, float32 or float64
    bits, axis, group, method, signed, symmetric, narrow_range, eps, p, nonfinite, formula
        As for `fq.calibrate`. A percentile that is a value of x needs a second pass: `observe`, then
        `fq.Observer.percentile` with ``data=``.

    Returns
    -------
    QParams
        scale and zero_point are Dask arrays that broadcast against x (with group, against ``grouped(x, group)``), with
        its chunks along the axes that are kept; qmin and qmax are numbers.

    Raises
    ------
    TypeError, ValueError
        As `fq.calibrate`: those of values when they are computed.

    Examples
    --------
    >>> import dask.array as da
    >>> import fq.dask
    >>> weights = da.from_array(np.float32([[0.5, -1.75], [3.5, 1.0]]), chunks=(1, 2))
    >>> qparams = fq.dask.calibrate(weights, 4, axis=0, symmetric=True, narrow_range=True)
    >>> qparams.scale.compute().tolist()
    [[0.25], [0.5]]
    """
    grid = {"signed": signed, "symmetric": symmetric, "narrow_range": narrow_range, "eps": eps, "formula": formula}
    settings = axis, group, method != "minmax", nonfinite
    x, merged, kept = _observers.cells(x, axis, group, settings)
    tried = fq.calibrate(np.ones(1, x.dtype), bits, method=method, p=p, nonfinite=nonfinite, **grid)
    chunks = _observers.chunks_of_ranges(x, kept, group)
    function = partial(_qparams_of, bits, method, p, grid, len(chunks))
    scale, zero_point = mapped(function, [merged], [tried.scale.dtype, np.int64], [chunks, chunks])
    if axis is None and group is None:
        scale, zero_point = scale.reshape(()), zero_point.reshape(())
    return QParams(scale, zero_point, tried.qmin, tried.qmax)


def choose_qparams(xmin, xmax, bits=8, **options):
    """`fq.choose_qparams` of ends that are Dask arrays.

    Parameters
    ----------
    xmin, xmax : array_like or dask.array.Array
        The smallest and largest value.
    bits, **options
        As for `fq.choose_qparams`.

    Returns
    -------
    QParams
        scale and zero_point are Dask arrays, qmin and qmax numbers.

    Raises
    ------
    TypeError, ValueError
        As `fq.choose_qparams`: those of values when they are computed.
    """
    ends = [array_of(name, one) for name, one in (("xmin", xmin), ("xmax", xmax))]
    tried = fq.choose_qparams(np.zeros((), ends[0].dtype), np.ones((), ends[1].dtype), bits, **options)
    function = partial(_chosen, bits, options)
    scale, zero_point = mapped(function, aligned(ends), [tried.scale.dtype, np.int64])
    return QParams(scale, zero_point, tried.qmin, tried.qmax)


def grouped(x, size):
    """`fq.grouped` of a Dask array: its last axis cut into groups of so many elements, in an axis of their own.

    Parameters
    ----------
    x : dask.array.Array or array_like
        Rechunked where groups do not end with the chunks along the last axis, with a warning.
    size : int
        Elements of a group, which divides the last axis.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    TypeError, ValueError
        As `fq.grouped`.
    """
    x = _arguments.with_an_axis("x", x)
    fq.grouped(np.broadcast_to(np.zeros((), x.dtype), x.shape), size)
    x = of_whole(x, size, "x", "whole groups")
    chunks = *x.chunks[:-1], tuple(one // size for one in x.chunks[-1]), (size,)
    return mapped(partial(_grouped, size), [x], [x.dtype], [chunks])[0]


def sqnr(x, y, axis=None):
    """`fq.sqnr` of Dask arrays: the ratio of a signal to the noise that quantization adds, in decibels.

    Parameters
    ----------
    x, y : dask.array.Array or array_like of real numbers
        The signal, and the same after quantization: of one shape.
    axis : int or tuple of int, optional
        The axes that are kept.

    Returns
    -------
    dask.array.Array of float64
        Its last bits depend on the chunks.

    Raises
    ------
    TypeError, ValueError
        As `fq.sqnr`.
    """
    x, y = array_of("x", x), array_of("y", y)
    fq.sqnr(np.zeros(1, x.dtype), np.zeros(1, y.dtype))
    if x.shape != y.shape:
        raise ValueError(f"x and y must have the same shape, got {x.shape} and {y.shape}")
    kept = _observers.kept_axes(x, axis, None)
    operands = aligned([x, y])
    reduced = tuple(one for one in range(x.ndim) if one not in kept)
    energies = _observers.of_blocks(partial(calibration.energies, reduced=reduced), operands)
    merged = _observers.merged(energies, kept, calibration.merged_energies)
    chunks = _observers.chunks_of_ranges(operands[0], kept, None)
    return mapped(_ratio, [merged], [np.float64], [chunks])[0].squeeze(reduced)


# ---- What runs in a chunk ----


def _elementwise(name, reciprocal, inputs, parameters):
    """A ufunc that broadcasts, as it is."""
    results = _arguments.tried(name, reciprocal, inputs, parameters)
    names = _arguments.names(name)
    operands = aligned([array_of(names[0], inputs[0]), *map(operand, names[1:], (*inputs[1:], *parameters))])
    dtypes = [one.dtype for one in (results if isinstance(results, tuple) else (results,))]
    return mapped(getattr(_arguments.functions(reciprocal), name), operands, dtypes)


def _packed_rows(function, *operands):
    """The function, whose ends, the last two operands, have one value a row."""
    return function(*operands[:-2], *(one[..., 0] if np.ndim(one) else one for one in operands[-2:]))


def _from_four_bits(functions, dy, codes, *qparams):
    return _packed_rows(functions.backward_residual_packed, dy, fq.pack(codes, 4), *qparams)


def _packed_chunks(x, bits):
    return *x.chunks[:-1], tuple(-(-size * bits // 8) for size in x.chunks[-1])


def _unpack(bits, signed, packed):
    return fq.unpack(packed, bits, packed.shape[-1] * 8 // bits, signed)


def _grouped(size, block):
    return block.reshape(*block.shape[:-1], block.shape[-1] // size, size)


def _packing(name, twin, bits, x, parameters, reciprocal):
    """A function that packs the last axis: so many bits per element. twin: of the same values, packing nothing."""
    parameters = *parameters[:2], *_arguments.rows_of(parameters[2:])
    _arguments.tried(twin, reciprocal, [x], parameters)
    x = _arguments.broadcast(_arguments.with_an_axis("x", x), parameters)
    x = of_whole(x, 8 // bits, "x", WHOLE_BYTES)
    operands = chunked_as(x, list(map(operand, PARAMETERS, parameters)))
    function = partial(_packed_rows, getattr(_arguments.functions(reciprocal), name))
    return mapped(function, [x, *operands], [x.dtype, np.uint8], [None, _packed_chunks(x, bits)])


def _with_sums(name, inputs, parameters, reciprocal, function=None):
    """dx, and the sums over chunks to the shapes of scale and zero_point. function: where not the one of this name."""
    first, second = (one.shape for one in inputs)
    if first != second:
        label = _arguments.names(name)[1]
        raise ValueError(f"dy and {label} must have one shape, got {first} and {second}")
    dx, of_scale, _ = _arguments.tried(name, reciprocal, inputs, parameters, into=True)
    operands = aligned([*inputs, *map(operand, PARAMETERS, parameters)])
    ndim, chunks = inputs[0].ndim, operands[1].chunks
    shapes = [(*(1,) * (ndim - np.ndim(one)), *np.shape(one)) for one in parameters[:2]]
    parts = [tuple((1,) * len(c) if n == 1 else c for n, c in zip(shape, chunks, strict=True)) for shape in shapes]
    function = partial(_summing, function or getattr(_arguments.functions(reciprocal), name))
    dx, *sums = mapped(function, operands, [dx.dtype, of_scale.dtype, of_scale.dtype], [None, *parts])
    return dx, *(
        _summed(part, shape, np.shape(one)) for part, shape, one in zip(sums, shapes, parameters, strict=False)
    )


def _summing(function, dy, x, *parameters):
    dx, *sums = function(dy, x, *parameters)
    return dx, *(np.reshape(one, (*(1,) * (x.ndim - np.ndim(one)), *np.shape(one))) for one in sums)


def _summed(part, shape, given):
    """The sum of what the chunks gave, in the shape that was given."""
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return part.sum(axes, dtype=np.float64, keepdims=True).astype(part.dtype).reshape(given)


def _qparams_of(bits, method, p, grid, ndim, cell):
    found = cell.item().qparams(bits, method, p=p, **grid)[:2]
    return tuple(np.asarray(one).reshape(np.shape(one) or (1,) * ndim) for one in found)


def _chosen(bits, options, low, high):
    return tuple(map(np.asarray, fq.choose_qparams(low, high, bits, **options)[:2]))


def _ratio(cell):
    return calibration.ratio_of(cell.item())
