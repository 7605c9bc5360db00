"""Calls of fq's functions from JAX: through XLA or a callback, batched by `jax.vmap` and split by `jax.jit`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

import fq
from fq import _core
from fq.jax import _sharding

WAYS = None, "ffi", "callback"


@dataclass(frozen=True)
class Function:
    """One function of fq: arrays like its results, and the function itself on NumPy arrays."""

    like: Callable
    numpy: Callable
    whole: int  # how many of its arguments, the first ones, do not broadcast over a batch
    sums: bool = False  # whether its results after the first are sums to the shapes of scale and zero_point


def _like_bits(x):
    """Sharded as x is, where the type of an array tells its sharding and a byte does not span two shards."""
    like = x[..., ::8] if _sharding.whole_bytes(jax.typeof(x)) else x.sum(-1, keepdims=True)
    return jnp.broadcast_to(like, (*x.shape[:-1], -(-x.shape[-1] // 8))).astype(np.uint8)


def _fake_quantize(*arguments):
    return (fq.fake_quantize(*arguments),)


def _forward_packed(x, scale, zero_point, qmin, qmax):
    return fq.forward_packed(x, scale, zero_point, qmin[..., 0], qmax[..., 0])


def _backward_packed(dy, bits):
    return (fq.backward_packed(dy, bits),)


FUNCTIONS = MappingProxyType(
    {
        "fq_fake_quantize": Function(lambda x, *_: (x,), _fake_quantize, 1),
        "fq_forward_packed": Function(lambda x, *_: (x, _like_bits(x)), _forward_packed, 1),
        "fq_backward_packed": Function(lambda dy, bits: (dy,), _backward_packed, 2),
        "fq_backward_learnable": Function(
            lambda dy, x, scale, zero_point, *_: (dy, scale, zero_point.astype(scale.dtype)),
            fq.backward_learnable,
            6,
            sums=True,
        ),
    }
)


@cache
def handlers():
    """The targets that XLA calls itself on the CPU: registered once; none where jaxlib refuses those of this build."""
    found = _core.xla_handlers()
    try:
        for name, capsule in found.items():
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except Exception:  # of a jaxlib that is older than the header
        return frozenset()
    return frozenset(found)


def check_via(via):
    """ValueError for an unknown way, and for "ffi" where this build has none."""
    if via not in WAYS:
        raise ValueError(f'via must be None, "ffi" or "callback", got {via!r}')
    if via == "ffi" and not handlers():
        raise ValueError(
            'via="ffi" needs an fq that was built beside this jaxlib: install jax first, then fq from its source'
        )


def fake_quantize(via, x, *qparams):
    """(y,)."""
    return _call("fq_fake_quantize", via)(x, *qparams)


def forward_packed(via, x, *qparams):
    """(y, bits)."""
    return _call("fq_forward_packed", via)(x, *qparams)


def backward_packed(via, dy, bits):
    """(dx,)."""
    return _call("fq_backward_packed", via)(dy, bits)


def backward_learnable(via, dy, x, *qparams):
    """(dx, dscale, dzero_point)."""
    return _call("fq_backward_learnable", via)(dy, x, *qparams)


@cache
def _call(name, via):
    """The function for JAX: one that `jax.vmap` can batch."""
    run = _way(name, via)

    @custom_vmap
    def call(*arrays):
        return tuple(run(*arrays))

    @call.def_vmap
    def batched(size, in_batch, *arrays):
        results = call(*_with_batch_axis(FUNCTIONS[name], size, in_batch, arrays))
        return results, (True,) * len(results)

    return call


def _way(name, via):
    """The function on arrays without further axes. A callback cannot be split: XLA gathers a sharded x for it."""
    by_callback = partial(_by_callback, name)
    if via == "callback" or name not in handlers():
        return by_callback
    by_xla = _sharding.partitioned(partial(_by_xla, name), FUNCTIONS[name].sums)
    return by_xla if via == "ffi" else partial(jax.lax.platform_dependent, cpu=by_xla, default=by_callback)


def _with_batch_axis(function, size, in_batch, arrays):
    """Arrays that lack it get an axis of the batch's size, or of 1 where they broadcast."""
    return [
        array if batched else jnp.broadcast_to(array, (size if position < function.whole else 1, *array.shape))
        for position, (array, batched) in enumerate(zip(arrays, in_batch, strict=True))
    ]


def _by_xla(name, *arrays):
    return jax.ffi.ffi_call(name, jax.eval_shape(FUNCTIONS[name].like, *arrays))(*arrays)


def _by_callback(name, *arrays):
    results = jax.pure_callback(partial(_in_numpy, name), jax.eval_shape(FUNCTIONS[name].like, *arrays), *arrays)
    return tuple(_sharding.varying_alike(arrays[0], *results)[1:])


def _in_numpy(name, *arrays):
    """Without operations of JAX, which may wait for the callback that they are in."""
    return tuple(map(np.asarray, FUNCTIONS[name].numpy(*map(np.asarray, arrays))))
