"""The two usual idioms of fake quantization in JAX, on the CPU, under jit."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fq.testing.quantizer import Quantizer
from fq.testing.rounder import FORMATS, FloatSupports, Rounder
from fq.testing.subject import Candidate, Supports

_VERSIONS = {"JAX": jax.__version__}
_AUTOMATIC = """\
`clip(round(x / scale) + zero_point)` with JAX's own gradient: that of `round` is 0 everywhere, so nothing trains."""
_CUSTOM = """\
The same with a `custom_vjp` that lets the gradient through `round`: at the end levels `clip` halves it."""
_STOP = """\
`x + stop_gradient(q - x)`: the gradient passes everywhere, clamped or not, and adding x back rounds y once more; an
infinite x becomes NaN."""

_CASTS = "`astype` of a float8, as ml_dtypes casts: NaN or an infinity beyond the largest number."
_TO_INTEGERS = """\
`clip(round(x / scale) + zero_point)`, then `astype`: XLA's conversion makes 0 of NaN."""


def rounders(_arithmetic: str) -> list[Rounder]:
    """A cast on the CPU."""
    formats = tuple(name for name in FORMATS if hasattr(jnp, f"float8_{name}"))
    supports = FloatSupports(("float32", "float16", "bfloat16"), formats=formats, scales=False)
    return [Rounder("JAX cast", _cast, supports, _CASTS, _VERSIONS)]


def _cast(x: Any, _scale: Any, format: str) -> Any:
    x = jnp.asarray(x)
    return x.astype(getattr(jnp, f"float8_{format}")).astype(x.dtype)


def candidates(_arithmetic: str) -> list[Candidate]:
    """Three."""
    types = Supports(("float32", "float16", "bfloat16"), channels=True)
    made = [
        ("JAX clip(round)", partial(_clip_of, jnp.round), _AUTOMATIC),
        ("JAX clip(round), custom gradient", partial(_clip_of, _round_straight_through), _CUSTOM),
        ("JAX x + stop_gradient(q - x)", _stop_gradient, _STOP),
    ]
    return [_candidate(name, function, types, about) for name, function, about in made]


def _candidate(name: Any, function: Any, supports: Any, about: Any) -> Any:
    forward, backward = jax.jit(function), jax.jit(partial(_pulled_back, function))
    return Candidate(
        name,
        lambda x, *qparams: forward(x, *_weak(*qparams)),
        supports,
        about,
        _VERSIONS,
        gradient=lambda dy, x, *qparams: backward(dy, x, *_weak(*qparams)),
    )


def _weak(scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    """Numbers as Python's, so that x alone decides the type, as in code written with literals."""
    if scale.ndim:
        return scale, zero_point, qmin, qmax
    return float(scale), zero_point, qmin, qmax


def _pulled_back(function: Any, dy: Any, x: Any, *qparams: Any) -> Any:
    return jax.vjp(lambda x: function(x, *qparams), x)[1](dy)[0]


def _clip_of(rounding: Any, x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    level = jnp.clip(rounding(x / scale) + zero_point, qmin, qmax)
    return (level - zero_point) * scale


@jax.custom_vjp
def _round_straight_through(x: Any) -> Any:
    return jnp.round(x)


_round_straight_through.defvjp(lambda x: (jnp.round(x), None), lambda _, dy: (dy,))


def _stop_gradient(x: Any, *qparams: Any) -> Any:
    return x + jax.lax.stop_gradient(_clip_of(jnp.round, x, *qparams) - x)


def quantizers(_arithmetic: str) -> list[Quantizer]:
    """One."""
    supports = Supports(("float32", "float16", "bfloat16"), channels=True)
    quantize, dequantize = jax.jit(_levels_of), jax.jit(_values_of)
    return [
        Quantizer(
            "JAX clip(round)",
            lambda x, *qparams: quantize(x, *_weak(*qparams)),
            supports,
            _TO_INTEGERS,
            _VERSIONS,
            lambda q, *qparams: dequantize(q, *_weak(*qparams)),
        )
    ]


def _levels_of(x: Any, scale: Any, zero_point: Any, qmin: Any, qmax: Any) -> Any:
    return jnp.clip(jnp.round(x / scale) + zero_point, qmin, qmax).astype(jnp.int32)


def _values_of(q: Any, scale: Any, zero_point: Any, *_: Any) -> Any:
    return (q - zero_point).astype(jnp.float32) * scale
