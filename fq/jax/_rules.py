"""Derivatives of fq's functions for JAX, of any order: those of the straight-through formula.

Backward is linear in dy, and its own transpose. With a learned scale, y is x + scale * (a constant) inside the range
and (end - zero_point) * scale outside: the one second derivative is -1, of scale and zero_point, where x was outside.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.interpreters import ad

from fq.jax import _calls, _formula


def fake_quantize(of, primals, tangents, via, reciprocal, **_):
    """Of y alone: the mask is computed where it is needed.

    `of` begins the names of the functions: "floats_" for those that take a format in the place of the arithmetic.
    """
    if type(tangents[0]) is ad.Zero:
        y = _calls.bind(f"{of}fake_quantize", via, reciprocal, *primals)
        return y, [_zero(y[0])]
    y, bits = _calls.bind(f"{of}forward_packed", via, reciprocal, *primals)
    return [y], _calls.bind("backward_packed", via, reciprocal is True, tangents[0], bits)


def forward_packed(of, primals, tangents, via, reciprocal, **_):
    """Of y; bits have none."""
    y, bits = _calls.bind(f"{of}forward_packed", via, reciprocal, *primals)
    dx = tangents[0]
    if type(dx) is not ad.Zero:
        (dx,) = _calls.bind("backward_packed", via, reciprocal is True, dx, bits)
    return [y, bits], [dx, _zero(bits)]


def backward_packed(primals, tangents, via, reciprocal, **_):
    """Linear in dy."""
    dy, bits = primals
    change = tangents[0]
    if type(change) is not ad.Zero:
        (change,) = _calls.bind("backward_packed", via, reciprocal, change, bits)
    return _calls.bind("backward_packed", via, reciprocal, dy, bits), [change]


def backward_packed_transposed(cotangents, dy, bits, via, reciprocal, **_):
    """Itself."""
    (cotangent,) = cotangents
    if type(cotangent) is ad.Zero:
        return [ad.Zero(dy.aval), None]
    return [*_calls.bind("backward_packed", via, reciprocal, cotangent, bits), None]


def backward_learnable(primals, tangents, via, reciprocal, **_):
    """Linear in dy; dscale changes with zero_point, and dzero_point with scale."""
    dy, *rest = primals
    results = _calls.bind("backward_learnable", via, reciprocal, *primals)
    changes = [_zero(result) for result in results]
    if type(tangents[0]) is not ad.Zero:
        changes = _calls.bind("backward_learnable", via, reciprocal, tangents[0], *rest)
    if _any(tangents[2], tangents[6]):
        of_scale, of_zero_point = ad.instantiate_zeros(tangents[2]), ad.instantiate_zeros(tangents[6])
        clamped = _clamped(reciprocal, rest) * dy.astype(of_scale.dtype)
        changes = [ad.instantiate_zeros(change) for change in changes]
        changes[1] -= _formula.summed(clamped * of_zero_point, results[1].shape)
        changes[2] -= _formula.summed(clamped * of_scale, results[2].shape)
    return results, changes


def backward_learnable_transposed(cotangents, dy, *rest, via, reciprocal, **_):
    """The forward's tangent."""
    changes = map(ad.instantiate_zeros, cotangents)
    return [*_calls.bind("learnable_tangent", via, reciprocal, *changes, *rest), *[None] * len(rest)]


NO_SECOND = 'what keeps codes of residuals has no second derivative, nor one in forward mode: keep="x" has both'


def refused(name, primals, tangents, via, reciprocal, **_):
    """Codes say too little of x for derivatives of gradients."""
    if _any(*tangents):
        raise NotImplementedError(NO_SECOND)
    results = _calls.bind(name, via, reciprocal, *primals)
    return results, [_zero(result) for result in results]


def learnable_tangent(primals, tangents, via, reciprocal, **_):
    """Linear in dx, dscale and dzero_point."""
    (dx, dscale, dzero_point), rest = primals[:3], primals[3:]
    results = _calls.bind("learnable_tangent", via, reciprocal, *primals)
    change = _zero(results[0])
    if _any(*tangents[:3]):
        (change,) = _calls.bind("learnable_tangent", via, reciprocal, *map(ad.instantiate_zeros, tangents[:3]), *rest)
    if _any(tangents[4], tangents[8]):
        of_scale, of_zero_point = ad.instantiate_zeros(tangents[4]), ad.instantiate_zeros(tangents[8])
        cross = _clamped(reciprocal, rest) * (dscale * of_zero_point + dzero_point * of_scale)
        change = ad.instantiate_zeros(change) - cross.astype(dx.dtype)
    return results, [change]


def learnable_tangent_transposed(cotangents, dx, dscale, dzero_point, *rest, via, reciprocal, **_):
    """The backward."""
    (dy,) = cotangents
    linear = dx, dscale, dzero_point
    if type(dy) is ad.Zero:
        return [ad.Zero(each.aval) if ad.is_undefined_primal(each) else None for each in linear] + [None] * len(rest)
    found = _calls.bind("backward_learnable", via, reciprocal, dy, *rest)
    return [each if ad.is_undefined_primal(of) else None for each, of in zip(found, linear, strict=True)] + [
        None
    ] * len(rest)


def _zero(value):
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _any(*tangents):
    return any(type(each) is not ad.Zero for each in tangents)


def _clamped(reciprocal, rest):
    return _outside(reciprocal, *map(jax.lax.stop_gradient, rest[:5]))


@partial(jax.jit, static_argnums=0)
def _outside(reciprocal, x, scale, *levels):
    """1 where x was outside the range, else 0."""
    inside, *_ = _formula.derivatives(reciprocal, x, scale, *levels)
    return jnp.where(inside, 0, 1).astype(scale.dtype)


JVPS = {
    **{f"{of}fake_quantize": partial(fake_quantize, of) for of in ("", "floats_")},
    **{f"{of}forward_packed": partial(forward_packed, of) for of in ("", "floats_")},
    "backward_packed": backward_packed,
    "backward_learnable": backward_learnable,
    "learnable_tangent": learnable_tangent,
    **{name: partial(refused, name) for name in _calls.FUNCTIONS if "residual" in name},
}
TRANSPOSES = {
    "backward_packed": backward_packed_transposed,
    "backward_learnable": backward_learnable_transposed,
    "learnable_tangent": learnable_tangent_transposed,
}
for name, primitive in _calls.PRIMITIVES.items():
    ad.primitive_jvps[primitive] = JVPS[name]
    if name in TRANSPOSES:
        ad.primitive_transposes[primitive] = TRANSPOSES[name]
