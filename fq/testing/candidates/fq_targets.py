"""fq itself, on every SIMD target of this machine."""

from functools import partial
from importlib.util import find_spec

import fq
from fq import _core
from fq.testing.subject import Candidate, Supports

_ABOUT = "The kernels of one SIMD target."


def candidates(arithmetic):
    """One for each target."""
    functions = fq if arithmetic == "divide" else fq.reciprocal
    types = ("float32", "float16", "float64", *(["bfloat16"] if find_spec("ml_dtypes") else []))
    return [_on(target, functions, Supports(types, channels=True)) for target in _core.targets()]


def _on(target, functions, supports):
    learnable = getattr(functions, "backward_learnable", None)
    return Candidate(
        f"fq, {target}",
        partial(_run, target, functions.forward),
        supports,
        _ABOUT,
        gradient=partial(_run, target, functions.backward_recompute),
        learnable=partial(_run, target, learnable) if learnable else None,
    )


def _run(target, function, *args):
    before = _core.target()
    _core._set_target(target)
    try:
        return function(*args)
    finally:
        _core._set_target(before)
