"""Fake quantization for JAX, whose only residual between forward and backward is the packed mask.

::

    y = fq.jax.fake_quantize(x, scale, zero_point, qmin, qmax)

Both functions work under ``jax.jit``, ``jax.grad``, ``jax.vmap`` and ``jax.shard_map``, and on sharded arrays without
gathering x. Values are those of `fq.fake_quantize`, bit for bit. On the CPU the loops of fq are called by XLA itself,
where fq was built beside jaxlib; elsewhere through ``jax.pure_callback``.
"""

from functools import partial

try:
    import jax
except ModuleNotFoundError as error:
    if error.name != "jax":
        raise
    raise ImportError("fq.jax needs JAX: pip install jax, or fq[jax]") from error

from fq.jax import _arguments, _calls

__all__ = ["fake_quantize", "fake_quantize_learnable"]


def fake_quantize(x, scale, zero_point, qmin, qmax, *, via=None):
    """Round x to the grid of quantized levels and back, with the straight-through gradient.

    Between forward and backward only the packed mask is kept: a bit an element, and nothing of x.

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
    via : {None, "ffi", "callback"}
        How fq is called: by XLA itself, or through ``jax.pure_callback``. None takes the first on the CPU, where this
        build of fq has it, and the second elsewhere. For a callback XLA gathers a sharded x, outside of
        ``jax.shard_map``.

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
        which JAX raises as a ValueError or a jax.errors.JaxRuntimeError.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> x = jnp.array([-9.0, 0.2, 5.0])
    >>> print(fake_quantize(x, 0.25, 0, -8, 7))
    [-2.    0.25  1.75]
    >>> print(jax.grad(lambda x: fake_quantize(x, 0.25, 0, -8, 7).sum())(x))
    [0. 1. 0.]
    """
    _calls.check_via(via)
    x, qparams = _arguments.read(x, scale, zero_point, qmin, qmax)
    return _with_an_axis(partial(_fixed_compiled, via), x, *qparams)


def fake_quantize_learnable(x, scale, zero_point, qmin, qmax, *, via=None):
    """`fake_quantize` with gradients for scale and zero_point too, which need x: it is kept for the backward.

    Parameters
    ----------
    x, scale, qmin, qmax, via
        As for `fake_quantize`.
    zero_point : array_like of integers, or of real numbers to be learned
        Integers get no gradient. Real numbers are rounded to the nearest integer and clamped to [qmin, qmax], and their
        gradient is passed straight through both; NaN is refused.

    Returns
    -------
    y : array
        Of x's shape and type. Its gradients are those of `fq.backward_learnable`: with respect to scale and zero_point
        they are sums over the elements that share the value, of scale's and zero_point's own shape and type.

    Raises
    ------
    TypeError, ValueError
        As for `fake_quantize`.

    Notes
    -----
    Over a sharded x each device adds up its own part and the parts are added after: the sums may then differ from the
    unsharded ones in the last place. y and the gradient of x do not differ.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> loss = lambda scale, zero_point: fake_quantize_learnable(jnp.array([0.25, 9.0]), scale, zero_point, -8, 7).sum()
    >>> print(*jax.grad(loss, (0, 1))(0.25, 0.0))
    7.0 -0.25
    """
    _calls.check_via(via)
    level, real = zero_point, 0.0
    if _arguments.is_real(zero_point):
        level, real = _arguments.nearest_level(zero_point, qmin, qmax)
    x, qparams = _arguments.read(x, scale, level, qmin, qmax)
    gradient_of = _arguments.gradient_of(real, x, qparams)
    return _with_an_axis(partial(_learnable_compiled, via), x, *qparams, gradient_of)


def _with_an_axis(function, x, *others):
    """Scalars have no last axis to pack."""
    if x.ndim:
        return function(x, *others)
    return function(x[None], *(other[None] for other in others))[0]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _fixed(via, x, *qparams):
    return _calls.fake_quantize(via, x, *qparams)[0]


def _fixed_forward(via, x, *qparams):
    return _calls.forward_packed(via, x, *qparams)


def _fixed_backward(via, bits, dy):
    return (*_calls.backward_packed(via, dy, bits), None, None, None, None)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _learnable(via, x, scale, zero_point, qmin, qmax, gradient_of):
    """gradient_of stands for zero_point, an integer, where gradients are concerned."""
    return _calls.fake_quantize(via, x, scale, zero_point, qmin, qmax)[0]


def _learnable_forward(via, *arguments):
    return _learnable(via, *arguments), arguments[:-1]


def _learnable_backward(via, kept, dy):
    dx, dscale, dzero_point = _calls.backward_learnable(via, dy, *kept)
    return dx, dscale, None, None, None, dzero_point


_fixed.defvjp(_fixed_forward, _fixed_backward)
_learnable.defvjp(_learnable_forward, _learnable_backward)

# Compiled outside of jax.jit too: a sharded x would be gathered otherwise.
_fixed_compiled = jax.jit(_fixed, static_argnums=0)
_learnable_compiled = jax.jit(_learnable, static_argnums=0)
