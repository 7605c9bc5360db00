"""``python -m fq gradcheck``: the gradient checks of every function and type, or of the user's own, as a table."""

import numpy as np

import fq
from fq import _core, gradcheck
from fq._gradcheck_inputs import Candidate
from fq._input import InputError, imported

_GRIDS = {"tensor": ((), ()), "channel": ((4, 1), (4, 1))}


def run(forward=None, backward=None, only=None, seed=0):
    """Print the table, then a report of each mismatch; returns the exit code."""
    if (forward is None) != (backward is None):
        raise InputError("--forward and --backward are needed together")
    types = [dtype.name for dtype in _core.types()]
    if only and only not in types:
        raise InputError(f"argument --type: {only} is not one of {', '.join(types)}")
    names = [only] if only else types
    checks = _own_checks()
    if forward is not None:
        own = _function("--forward", forward), _function("--backward", backward)
        checks = {"yours": _input_check(*own)}
    width = max(map(len, checks)) + 2
    print(" " * width + "".join(f"{name:>18}" for name in names))
    failures = []
    for label, check in checks.items():
        cells = []
        for name in names:
            reports = {grid: check(*_case(grid, np.dtype(name), seed)) for grid in _GRIDS}
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
        for suffix, bits in (("", 8), ("_packed", 4)):
            name = f"backward_residual{suffix}"
            through = _through(getattr(module, f"forward_residual{suffix}"), getattr(module, name), True)
            checks[f"{prefix}{name}, dx"] = _input_check(module.fake_quantize, through)
            checks[f"{prefix}{name}, parameters"] = _parameter_check(through, bits)
    return checks


def _through(forward, backward, with_grid=False):
    return lambda dy, x, *qparams: backward(dy, forward(x, *qparams)[1], *(qparams if with_grid else ()))


def _input_check(forward, backward):
    return lambda x, qparams: gradcheck.check_input_gradient(forward, backward, x, qparams)


def _parameter_check(backward, codes=None):
    return lambda x, qparams: gradcheck.check_parameter_gradients(backward, x, qparams, codes=codes)


def _case(grid, dtype, seed):
    """x in and out of range, at every level and end, and the grid's parameters."""
    rng = np.random.default_rng(seed)
    of_scale, of_zero_point = _GRIDS[grid]
    scale = np.float32(2.0) ** rng.integers(-4, 0, of_scale) * np.float32(1.25)
    zero_point = rng.integers(-2, 3, of_zero_point)
    places = np.concatenate([np.arange(-12, 13) + 0.25, rng.uniform(-12, 12, 75)])
    return (np.tile(places, (4, 1)) * scale).astype(dtype), (scale, zero_point, -8, 7)


def _function(option, path):
    found = imported(option, path, "pkg.mod:name")
    try:
        Candidate(option.removeprefix("--"), found)
    except TypeError as error:
        raise InputError(f"argument {option}: {path}: {error}") from None
    return found
