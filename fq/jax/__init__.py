"""Fake quantization for JAX, whose only residual between forward and backward is the packed mask.

::

    y = fq.jax.fake_quantize(x, scale, zero_point, qmin, qmax)

The functions work under every transform of JAX, in forward mode and to any order, and on sharded arrays without
gathering x. Values are those of `fq.fake_quantize`, bit for bit. On the CPU the loops of fq are called by XLA itself,
where fq was built beside jaxlib; elsewhere the same formula runs in XLA's own operations.
"""

from functools import partial

import numpy as np

import fq
from fq.formats import FloatGrid

try:
    import jax
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError('fq.jax needs JAX: pip install jax, or in a checkout of fq pip install ".[jax]"') from error

import jax.numpy as jnp

from fq.jax import _arguments, _calls, _floats, _rules  # noqa: F401
from fq.jax._integers import dequantize, quantize
from fq.jax._ranges import calibrate, choose_qparams, grouped
from fq.jax.rules import Quantized, Rule, quantized

__all__ = [
    "Quantized",
    "Rule",
    "calibrate",
    "choose_qparams",
    "dequantize",
    "export_checks",
    "fake_quantize",
    "fake_quantize_blocks",
    "fake_quantize_float",
    "fake_quantize_learnable",
    "grouped",
    "quantize",
    "quantized",
]

KEEPS = {"x": None, "residual": "", "residual4": "_packed"}  # what follows the names of the functions of codes

_calls.handlers()  # an exported function needs them without a call here


def fake_quantize(x, scale, zero_point, qmin, qmax, *, reciprocal=False, via=None):
    """Round x to the grid of quantized levels and back, with the straight-through gradient.

    Between forward and backward only the packed mask is kept: a bit per element, and nothing of x.

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        Values to quantize, of any shape. float64 needs ``jax_enable_x64``.
    scale : array_like of real numbers
        Width of a step: positive and finite, cast to float32, or float64 for float64 x. Like the other parameters it
        broadcasts into x, and may be traced.
    zero_point : array_like of integers
        The level of 0.0, within [qmin, qmax].
    qmin, qmax : array_like of integers
        The first and last level of the grid, which do not vary along the last axis of x.
    reciprocal : bool
        ``x * (1 / scale)`` in place of ``x / scale``, PyTorch's arithmetic: the values of `fq.reciprocal`.
    via : {None, "c", "xla", "callback"}
        How y is computed: by fq's C, which XLA calls itself on the CPU; in XLA's own operations, on any device; or by
        fq's C through ``jax.pure_callback``, for which XLA gathers a sharded x, outside of ``jax.shard_map``. None
        takes C on the CPU, where this build of fq has it, and XLA's operations elsewhere. The bits are the same.

    Returns
    -------
    y : array
        Of x's shape and type. Its gradient reaches x where x was inside the range, and nothing else.

    Raises
    ------
    TypeError
        If x is not of the four types, or zero_point, qmin or qmax is not an integer.
    ValueError
        If shapes do not broadcast into x, or a parameter is refused by `fq.fake_quantize`: at once where it is a
        number or a NumPy array. One that is traced or a JAX array is refused when the call runs, with the same message,
        which JAX raises as a ValueError or a jax.errors.JaxRuntimeError. XLA's own operations cannot refuse: there y is
        NaN, and the gradient 0, where fq refuses a parameter.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([-9.0, 0.2, 5.0])
    >>> print(fake_quantize(x, 0.25, 0, -8, 7))
    [-2.    0.25  1.75]
    >>> print(jax.grad(lambda x: fake_quantize(x, 0.25, 0, -8, 7).sum())(x))
    [0. 1. 0.]
    """
    _calls.check_way(via, reciprocal)
    return _fixed(via, reciprocal, *_arguments.known(x, scale, zero_point, qmin, qmax))


def fake_quantize_learnable(x, scale, zero_point, qmin, qmax, *, eps=None, reciprocal=False, via=None, keep="x"):
    """`fake_quantize` with gradients for scale and zero_point too, which need x, or a code of each residual.

    Parameters
    ----------
    x, scale, qmin, qmax, reciprocal, via
        As for `fake_quantize`.
    zero_point : array_like of integers, or of real numbers to be learned
        Integers get no gradient. Real numbers are rounded to the nearest integer and clamped to [qmin, qmax], and their
        gradient is passed straight through both; NaN is refused.
    eps : float, optional
        The least scale there is: where scale is less, eps is taken, and its gradient is passed straight through to
        scale. So a step that brought a scale to 0 or below does not end the training, and the next may bring it back.
    keep : {"x", "residual", "residual4"}
        What is kept for the backward: x itself; or of each element a code of 8 or 4 bits, by which the gradients of x
        and zero_point are the same, and that of scale is nearly: see `fq.backward_residual`. Codes are for activations:
        weights live anyway, and x costs nothing there.

    Returns
    -------
    y : array
        Of x's shape and type. Its gradients are those of `fq.backward_learnable`: with respect to scale and zero_point
        they are sums over the elements that share the value, of scale's and zero_point's own shape and type.

    Raises
    ------
    TypeError, ValueError
        As for `fake_quantize`. ValueError too for another ``keep``, and for codes of levels that lie further than 2**15
        from zero_point, or 2**44 for float64 x.
    NotImplementedError
        For a second derivative where codes are kept. JAX itself raises TypeError for forward mode there.

    Notes
    -----
    XLA's own operations may choose the code next to C's, where a residual lies between two.

    Over a sharded x each device adds up its own part and the parts are added after: the sums may then differ from the
    unsharded ones in the last place. y and the gradient of x do not differ.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> loss = lambda scale, zero_point: fake_quantize_learnable(jnp.array([0.25, 9.0]), scale, zero_point, -8, 7).sum()
    >>> print(*jax.grad(loss, (0, 1))(0.25, 0.0))
    7.0 -0.25
    >>> print(fake_quantize_learnable(jnp.array([0.25, 9.0]), -0.125, 0, -8, 7, eps=0.25))
    [0.25 1.75]
    """
    _calls.check_way(via, reciprocal)
    scale = _arguments.at_least(scale, eps)
    if keep not in KEEPS:
        raise ValueError(f"keep must be one of {', '.join(map(repr, KEEPS))}, got {keep!r}")
    return _learnable(via, reciprocal, KEEPS[keep], *_arguments.known(x, scale, zero_point, qmin, qmax, learned=True))


def fake_quantize_float(x, scale, format, *, via=None):
    """Round x to the numbers of a float format, times scale, and back, with the straight-through gradient.

    Between forward and backward only the packed mask is kept: a bit per element, and nothing of x.

    Parameters
    ----------
    x, via
        As for `fake_quantize`.
    scale : array_like of real numbers
        Positive and finite. It broadcasts into x, and may be traced.
    format : FloatGrid
        Of `fq.formats`, as ``fq.formats.e4m3fn``, or one of your own.

    Returns
    -------
    y : array
        Of x's shape and type: `fq.floats.fake_quantize` of x. Its gradient reaches x where the rounded quotient was at
        most the largest number, and nothing else.

    Raises
    ------
    TypeError
        If x is not of the four types, or format is not a `fq.formats.FloatGrid`.
    ValueError
        If scale does not broadcast into x, or scale or format is refused by `fq.floats.fake_quantize`: as of
        `fake_quantize`.

    Examples
    --------
    >>> import fq, jax.numpy as jnp
    >>> print(fake_quantize_float(jnp.array([0.3, 1.0, 5.1]), 1, fq.formats.e2m1fn))
    [0.5 1.  6. ]
    """
    if not isinstance(format, FloatGrid):
        raise TypeError(f"format must be a FloatGrid of fq.formats, as fq.formats.e4m3fn, got {format!r}")
    _calls.check_way(via, False)
    x, scale, *_ = _arguments.known(x, scale, 0, 0, 0)
    grid = FloatGrid(int(format.mantissa_bits), int(format.min_exponent), float(format.max), bool(format.signed_zero))
    fq.floats.fake_quantize(np.zeros((), _arguments.computed_in(_arguments.dtype_of(x))), 1, *grid)
    return _on_floats(via, grid, x, scale)


def fake_quantize_blocks(x, format, *, axis=-1, tensor_scale=None):
    """Round x to blocks that share a scale, and back, with the straight-through gradient.

    Between forward and backward a bit per element is kept. XLA's own operations compute, on any device.

    Parameters
    ----------
    x : array of float16, bfloat16, float32 or float64
        At least one axis.
    format : BlockFormat
        Of `fq.formats`, as ``fq.formats.mxfp4`` or ``fq.formats.mxfp4._replace(rule="fit")``.
    axis : int
        Along which blocks lie: that of a matrix product's sum.
    tensor_scale : float or array, optional
        As for `fq.blocks.forward`; it may be traced. From x by default.

    Returns
    -------
    y : array
        Of x's shape and type: `fq.blocks.fake_quantize` of x, but where numbers are subnormal, which XLA may take for
        0. Its gradient reaches x but where elements were clamped, and where a block held NaN or an infinity.

    Raises
    ------
    TypeError, ValueError
        As of `fq.blocks.forward`; a traced tensor_scale is not checked.

    Examples
    --------
    >>> import fq, jax.numpy as jnp
    >>> print(fake_quantize_blocks(jnp.array([0.3, 1.0, -5.1, 7.5]), fq.formats.mxfp4))
    [ 0.5  1.  -6.   6. ]
    """
    x = jnp.asarray(_arguments.plain(x))
    _arguments.check_type_of_x(x.dtype)
    known = tensor_scale if isinstance(tensor_scale, (int, float)) else None
    fq.blocks.check_call(format, axis, x.ndim, known)
    if tensor_scale is not None and format.scale == "e8m0":
        raise ValueError(f"only scales of e4m3 have a tensor_scale, got {tensor_scale!r}")
    return _on_blocks(format, axis % x.ndim, x, tensor_scale)


def export_checks():
    """The ``disabled_checks`` of `jax.export.export` for a function that calls fq's C on the CPU.

    Returns
    -------
    list of jax.export.DisabledSafetyCheck
        One for each custom call of fq. A function with ``via="xla"`` has none, and needs none of them.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from jax import export
    >>> run = jax.jit(lambda x: fake_quantize(x, 0.25, 0, -8, 7))
    >>> made = export.export(run, disabled_checks=export_checks())(jax.ShapeDtypeStruct((3,), jnp.float32))
    >>> print(export.deserialize(made.serialize()).call(jnp.array([-9.0, 0.2, 5.0])))
    [-2.    0.25  1.75]
    """
    return [jax.export.DisabledSafetyCheck.custom_call(name) for name in sorted(_calls.handlers())]


def _with_an_axis(function, x, *others):
    """Scalars have no last axis to pack."""
    if x.ndim:
        return function(x, *others)
    return function(x[None], *(other[None] for other in others))[0]


@partial(jax.jit, static_argnums=(0, 1))
def _on_floats(via, grid, x, scale):
    x, (scale, *_) = _arguments.read(x, scale, 0, 0, 0)
    return _with_an_axis(lambda *arrays: _calls.bind("floats_fake_quantize", via, grid, *arrays)[0], x, scale)


@partial(jax.jit, static_argnums=(0, 1))
def _on_blocks(format, axis, x, tensor_scale):
    compute = _arguments.computed_in(x.dtype)
    if tensor_scale is None and format.scale == "e4m3":
        tensor_scale = _floats.found_tensor_scale(format.grid, jax.lax.stop_gradient(x))
    scale = jnp.asarray(1 if tensor_scale is None else tensor_scale, np.float32).astype(compute)
    return _of_blocks(format, axis, x, jax.lax.stop_gradient(scale))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _of_blocks(format, axis, x, tensor_scale):
    return _floats.blocks(format, axis, x, tensor_scale)[0]


@_of_blocks.defjvp
def _of_blocks_tangent(format, axis, arrays, tangents):
    _, inside = _floats.blocks(format, axis, *map(jax.lax.stop_gradient, arrays))
    (dy,) = _calls.bind("backward_packed", None, False, tangents[0], _floats.packed(inside))
    return _of_blocks(format, axis, *arrays), dy


# Compiled outside of jax.jit too: a sharded x would be gathered otherwise, and a call would take many steps.
@partial(jax.jit, static_argnums=(0, 1))
def _fixed(via, reciprocal, x, *qparams):
    x, qparams = _arguments.read(x, *qparams)
    return _with_an_axis(lambda *arrays: _calls.bind("fake_quantize", via, reciprocal, *arrays)[0], x, *qparams)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _learnable(via, reciprocal, codes, x, scale, zero_point, qmin, qmax):
    level, real = zero_point, 0.0
    if _arguments.is_real(zero_point):
        level, real = _arguments.nearest_level(zero_point, qmin, qmax)
    x, qparams = _arguments.read(x, scale, level, qmin, qmax)
    gradient_of = _arguments.gradient_of(real, x, qparams)
    function = _with_gradients if codes is None else partial(_by_codes, codes)
    return _with_an_axis(partial(function, via, reciprocal), x, *qparams, gradient_of)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _with_gradients(via, reciprocal, *arrays):
    """The last array stands for zero_point, an integer, where gradients are concerned."""
    return _calls.bind("fake_quantize", via, reciprocal, *arrays[:-1])[0]


@_with_gradients.defjvp
def _tangent(via, reciprocal, arrays, tangents):
    dx, dscale, *_, dzero_point = tangents
    (dy,) = _calls.bind("learnable_tangent", via, reciprocal, dx, dscale, dzero_point, *arrays)
    return _with_gradients(via, reciprocal, *arrays), dy


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _by_codes(codes, via, reciprocal, *arrays):
    """`_with_gradients`, which keeps codes of the residuals in the place of x."""
    return _with_gradients(via, reciprocal, *arrays)


def _keep_codes(codes, via, reciprocal, *arrays):
    y, kept = _calls.bind(f"forward_residual{codes}", via, reciprocal, *arrays[:-1])
    return y, (kept, *arrays[1:-1])


def _gradients_of_codes(codes, via, reciprocal, kept, dy):
    dx, dscale, dzero_point = _calls.bind(f"backward_residual{codes}", via, reciprocal, dy, *kept)
    return dx, dscale, None, None, None, dzero_point


_by_codes.defvjp(_keep_codes, _gradients_of_codes)
