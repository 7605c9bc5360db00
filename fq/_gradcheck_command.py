"""``python -m fq gradcheck``: the gradient checks of every function and type, or of the user's own, as a table."""

import importlib

import numpy as np

import fq
from fq import gradcheck

_GRIDS = {"tensor": ((), ()), "channel": ((4, 1), (4, 1))}


class InputError(Exception):
    """What the user gave cannot be used; the message says why."""


def types():
    """The element types by name; bfloat16 where ml_dtypes is installed."""
    found = {"float16": np.float16, "float32": np.float32, "float64": np.float64}
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        return found
    return {"float16": np.float16, "bfloat16": bfloat16, "float32": np.float32, "float64": np.float64}


def run(forward=None, backward=None, only=None, seed=0):
    """Print the table, then a report of each mismatch; returns the exit code."""
    if (forward is None) != (backward is None):
        raise InputError("--forward and --backward are needed together")
    names = [only] if only else list(types())
    if only and only not in types():
        raise InputError(f"argument --type: {only} is not one of {', '.join(types())}")
    checks = _own_checks() if forward is None else {"yours": _input_check(_load(forward), _load(backward))}
    width = max(map(len, checks)) + 2
    print(" " * width + "".join(f"{name:>18}" for name in names))
    failures = []
    for label, check in checks.items():
        cells = []
        for name in names:
            reports = {grid: check(*_case(grid, types()[name], seed)) for grid in _GRIDS}
            failures += [(label, name, grid, one) for grid, one in reports.items() if not one.ok]
            checked = sum(sum(one.checked.values()) for one in reports.values())
            cells.append(f"{checked} ok" if all(one.ok for one in reports.values()) else "MISMATCH")
        print(f"{label:{width}}" + "".join(f"{cell:>18}" for cell in cells))
    for label, name, grid, report in failures:
        print(f"\n{label}, {name}, per {grid}: {report}")
    return 1 if failures else 0


def _own_checks():
    checks = {}
    for prefix, module in (("", fq), ("reciprocal.", fq.reciprocal)):
        checks[f"{prefix}backward"] = _input_check(module.forward, _through(module.forward, module.backward))
        checks[f"{prefix}backward_packed"] = _input_check(
            module.forward_packed, _through(module.forward_packed, module.backward_packed)
        )
        checks[f"{prefix}backward_recompute"] = _input_check(module.fake_quantize, module.backward_recompute)
        checks[f"{prefix}backward_learnable, dx"] = _input_check(module.fake_quantize, module.backward_learnable)
        checks[f"{prefix}backward_learnable, parameters"] = _parameter_check(module.backward_learnable)
    return checks


def _through(forward, backward):
    return lambda dy, x, *qparams: backward(dy, forward(x, *qparams)[1])


def _input_check(forward, backward):
    return lambda x, qparams: gradcheck.check_input_gradient(forward, backward, x, qparams)


def _parameter_check(backward):
    return lambda x, qparams: gradcheck.check_parameter_gradients(backward, x, qparams)


def _case(grid, dtype, seed):
    """x in and out of range, at every level and end, and the grid's parameters."""
    rng = np.random.default_rng(seed)
    of_scale, of_zero_point = _GRIDS[grid]
    scale = np.float32(2.0) ** rng.integers(-4, 0, of_scale) * np.float32(1.25)
    zero_point = rng.integers(-2, 3, of_zero_point)
    places = np.concatenate([np.arange(-12, 13) + 0.25, rng.uniform(-12, 12, 75)])
    return (np.tile(places, (4, 1)) * scale).astype(dtype), (scale, zero_point, -8, 7)


def _load(spec):
    module, _, name = spec.partition(":")
    if not module or not name:
        raise InputError(f"{spec} must have the form pkg.mod:name")
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{spec}: {error}") from None
    if not callable(found):
        raise InputError(f"{spec} is not a function")
    return found
