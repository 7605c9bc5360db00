"""The two usual idioms of fake quantization in JAX, on the CPU, under jit."""

from functools import partial

import jax
import jax.numpy as jnp

from fq.testing.subject import Candidate, Supports

_VERSIONS = {"JAX": jax.__version__}
_AUTOMATIC = """\
`clip(round(x / scale) + zero_point)` with JAX's own gradient: that of `round` is 0 everywhere, so nothing trains."""
_CUSTOM = """\
The same with a `custom_vjp` that lets the gradient through `round`: at the end levels `clip` halves it."""
_STOP = """\
`x + stop_gradient(q - x)`: the gradient passes everywhere, clamped or not, and adding x back rounds y once more; an
infinite x becomes NaN."""


def candidates(_arithmetic):
    """Three."""
    types = Supports(("float32", "float16", "bfloat16"), channels=True)
    made = [
        ("JAX clip(round)", partial(_clip_of, jnp.round), _AUTOMATIC),
        ("JAX clip(round), custom gradient", partial(_clip_of, _round_straight_through), _CUSTOM),
        ("JAX x + stop_gradient(q - x)", _stop_gradient, _STOP),
    ]
    return [_candidate(name, function, types, about) for name, function, about in made]


def _candidate(name, function, supports, about):
    forward, backward = jax.jit(function), jax.jit(partial(_pulled_back, function))
    return Candidate(
        name,
        lambda x, *qparams: forward(x, *_weak(*qparams)),
        supports,
        about,
        _VERSIONS,
        gradient=lambda dy, x, *qparams: backward(dy, x, *_weak(*qparams)),
    )


def _weak(scale, zero_point, qmin, qmax):
    """Numbers as Python's, so that x alone decides the type, as in code written with literals."""
    if scale.ndim:
        return scale, zero_point, qmin, qmax
    return float(scale), zero_point, qmin, qmax


def _pulled_back(function, dy, x, *qparams):
    return jax.vjp(lambda x: function(x, *qparams), x)[1](dy)[0]


def _clip_of(rounding, x, scale, zero_point, qmin, qmax):
    level = jnp.clip(rounding(x / scale) + zero_point, qmin, qmax)
    return (level - zero_point) * scale


@jax.custom_vjp
def _round_straight_through(x):
    return jnp.round(x)


_round_straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, dy: (dy,))


def _stop_gradient(x, *qparams):
    return x + jax.lax.stop_gradient(_clip_of(jnp.round, x, *qparams) - x)
