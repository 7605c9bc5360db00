"""Run by test_failing_memory.py under failing_malloc.c: prints, as JSON, what happens when each allocation fails."""

import ctypes
import gc
import json
import os
import sys

import numpy as np

try:  # here, so that its import, or the search for it, is no part of fq's
    import ml_dtypes
except ImportError:
    ml_dtypes = sys.modules["ml_dtypes"] = None

SHIM = ctypes.CDLL(None)
SHIM.stop_failing.restype = ctypes.c_long
SHIM.fail_nth.argtypes = [ctypes.c_long]
SHIM.watch.argtypes = SHIM.spare.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
MOST = 400
# Python 3.11 has no error of its own for a frame that it cannot allocate: calls that are refused run fq/_errors.py.
OUT_OF_MEMORY = ("MemoryError", "SystemError") if sys.version_info < (3, 12) else ("MemoryError",)
SMALLEST_LEAK = 24  # bytes per call; malloc's smallest piece takes 32
NOT_OURS = (
    "_multiarray_umath failed to import",
    "_UFUNC_API not found",
    "can't allocate lock",
    # Python 3.11 has no error for a frame that it cannot allocate.
    "error return without exception set",
    "<function _find_and_load",
)


def place_of(path):
    """The addresses from and to which a library lies in memory; it must have been loaded."""
    with open("/proc/self/maps") as lines:
        spans = [line.split()[0].split("-") for line in lines if line.rstrip().endswith(path)]
    return min(int(begin, 16) for begin, _ in spans), max(int(end, 16) for _, end in spans)


def operations(fq):
    """name -> a call of the public surface that allocates in the extension."""
    from fq import _core

    x = np.linspace(-3, 3, 1200, dtype=np.float32).reshape(30, 40)
    mask = np.ones((30, 40), bool)
    bits = np.packbits(mask, axis=-1, bitorder="little")
    scale = np.full((30, 1), 0.1, np.float32)
    grid, channels = (0.1, 0, -8, 7), (scale, 0, -8, 7)
    wide, refused = (scale.astype(np.float64), 0, -8, 7), (-scale, 0, -8, 7)
    found = {}
    arrays = {"x": x, "dy": x, "mask": mask, "bits": bits}
    residuals = {None: np.ones(x.shape, np.int8), "residual": np.ones((30, 20), np.uint8)}
    for prefix, functions in (("", fq), ("reciprocal.", fq.reciprocal)):
        for name, operation in _core.operations().items():
            function, inputs = (
                getattr(functions, name),
                [residuals[operation["packed"]] if one == "residual" else arrays[one] for one in operation["inputs"]],
            )
            if not operation["parameters"]:
                found[f"{prefix}{name}"] = lambda function=function, inputs=inputs: function(*inputs)
                continue
            for how, qparams in (("", grid), (" per channel", channels), (" of float64", wide), (" refused", refused)):
                call = lambda function=function, given=(*inputs, *qparams): function(*given)  # noqa: E731
                found[f"{prefix}{name}{how}"] = call
    q, packed, levels = fq.quantize(x, *grid), fq.quantize_packed(x, *grid), np.zeros((30, 1), np.int64)
    for how, scale_of in (
        ("", 0.1),
        (" per channel", scale),
        (" of float64", scale.astype(np.float64)),
        (" refused", -scale),
    ):
        found[f"quantize{how}"] = lambda s=scale_of: fq.quantize(x, s, levels, -8, 7)
        found[f"quantize_packed{how}"] = lambda s=scale_of: fq.quantize_packed(x, s, 0, -8, 7)
        found[f"dequantize{how}"] = lambda s=scale_of: fq.dequantize(q, s, levels)
        found[f"dequantize_packed{how}"] = lambda s=scale_of: fq.dequantize_packed(packed, s, 0, 4, 40)
    found["quantize a level that no type holds"] = lambda: fq.quantize(x, 0.1, levels, -8, levels + 2**31)
    found["dequantize a zero point that is too far"] = lambda: fq.dequantize(q, 0.1, levels + 2**31)
    found["_core.storages"] = lambda: len(_core.storages())
    found["by name"] = lambda: fq.fake_quantize(x=x, scale=0.1, zero_point=0, qmin=-8, qmax=7)
    found["strided"] = lambda: fq.forward(x[:, ::2], *channels)
    found["a scale of another shape"] = lambda: fq.forward(x, scale[:, 0], *grid[1:])
    found["a name that is missing"] = lambda: fq.fake_quantize(x, scale=0.1)
    found["a level beyond int64"] = lambda: fq.forward(x, 0.1, [2**63], -8, 7)
    found["backward_packed refused"] = lambda: fq.backward_packed(x, bits[:, :-1])
    ends = -np.abs(scale), np.abs(scale)
    found["choose_qparams"] = lambda: fq.choose_qparams(-1.0, 2.0)
    found["choose_qparams per channel"] = lambda: fq.choose_qparams(*ends, symmetric=True)
    found["a wrong type"] = lambda: fq.forward(x.astype(int), *grid)
    groups, bins = (True, False), _core._distribution(x, (True, False))
    low, high = x.min(1).astype(np.float64), x.max(1).astype(np.float64)
    found["_clip_range"] = lambda: _core._clip_range(
        "mse", x.dtype, (*bins, low, high), low.copy(), high.copy(), 15, False, 1.0
    )
    found["_values_of_bins"] = lambda: _core._values_of_bins(x.dtype, *bins, low, high)
    found["_extremes"] = lambda: _core._extremes(x, groups)
    found["_extremes of NaN"] = lambda: _core._extremes(np.full_like(x, np.nan), groups)
    found["_extremes of columns"] = lambda: _core._extremes(x, groups[::-1])
    found["_distribution"] = lambda: _core._distribution(x, (False, False))
    found["_distribution per row"] = lambda: _core._distribution(x, groups)
    found["_merge_bins"] = lambda: _core._merge_bins(*bins, *bins)
    found["_merge_bins refused"] = lambda: _core._merge_bins(*bins, *bins[::-1])
    for name in ("targets", "target", "compiler", "cache_threshold", "get_num_threads"):
        found[f"_core.{name}"] = getattr(_core, name)
    found["_core.xla_handlers"] = lambda: sorted(_core.xla_handlers())
    found["_set_target"] = lambda: _core._set_target("nonsense")
    return found


def outcome(call):
    """How a call ends: its result, or the name of what it raised."""
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def alike(one, other):
    return type(one) is type(other) and str(one) == str(other)


def tried(call):
    """{failed: how many allocations failed in turn, wrong: what was not as it should be}."""
    expected = outcome(call)
    wrong = []
    for n in range(1, MOST):
        SHIM.fail_nth(n)
        found = outcome(call)
        reached = SHIM.stop_failing() >= n
        if not reached:
            if not alike(found, expected):
                wrong.append(f"undisturbed call {n}: {found}")
            return {"failed": n - 1, "wrong": wrong}
        # An allocation that something can do without, such as a cache's, may fail unnoticed.
        if not alike(found, expected) and not (isinstance(found, str) and found in OUT_OF_MEMORY):
            wrong.append(f"allocation {n}: {found}")
        if not alike(outcome(call), expected):
            wrong.append(f"after allocation {n}")
    return {"failed": MOST, "wrong": [*wrong, "no end"]}


def leaked(call, times=200, stretches=40):
    """Bytes in use that a call leaves behind on average, after some stretches of calls in which caches fill."""
    in_use = ctypes.CDLL(None).mallinfo2
    in_use.restype = type("Info", (ctypes.Structure,), {"_fields_": [(str(i), ctypes.c_size_t) for i in range(10)]})

    def bytes_in_use():
        gc.collect()  # which empties Python's free lists too
        return getattr(in_use(), "7")

    def growth(n):
        before = bytes_in_use()
        for _ in range(times):
            SHIM.fail_nth(n)
            outcome(call)
            SHIM.stop_failing()
        return (bytes_in_use() - before) / times

    def least(n):
        found = (growth(n) for _ in range(stretches))
        return next((one for one in found if one < SMALLEST_LEAK), SMALLEST_LEAK)

    return max(least(n) for n in (1, 2, 3))


def importing(path):
    """Exit codes of children that import the extension while the n-th allocation fails.

    0: nothing was left to fail, 1: MemoryError, 3: what NumPy's C API or Python makes of it, 4: imported in spite of
    it, as where Python's own import does without, and working, bfloat16 included.
    """
    codes = []
    import importlib.util

    spec = importlib.util.spec_from_file_location("fq._core", path)
    ctypes.CDLL(path)  # so that it lies where it will
    SHIM.watch(*place_of(path))
    # Where NumPy cannot finish a ufunc, it frees what it has not set yet, and may crash.
    SHIM.spare(*place_of(sys.modules["numpy._core._multiarray_umath"].__file__))
    while not codes or codes[-1] in (1, 3, 4):
        child = os.fork()
        if child == 0:
            os._exit(import_once(spec, len(codes) + 1))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return codes


def import_once(spec, n):
    import importlib.util

    # What a failure leaves behind is the child's, and goes with it.
    SHIM.fail_nth(n)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except MemoryError:
        return 1
    except Exception as error:
        SHIM.stop_failing()
        print(n, repr(error), file=sys.stderr)
        return 3 if any(words in str(error) for words in NOT_OURS) else 2
    reached = SHIM.stop_failing() >= n
    for dtype in (np.float32, *([ml_dtypes.bfloat16] if ml_dtypes else [])):
        y = module.divide["fake_quantize"](np.ones(3, dtype), 0.25, 0, -8, 7)
        if y.dtype != dtype or y.tolist() != [1, 1, 1]:
            return 5
    return 4 if reached else 0


def main():
    path = sys.argv[1]
    if sys.argv[2] == "import":
        json.dump(importing(path), sys.stdout)
        return
    import fq

    SHIM.watch(*place_of(path))
    calls = operations(fq)
    gc.freeze()  # what is there by now, so that collections take no time
    json.dump({name: tried(call) | {"leaked": leaked(call)} for name, call in calls.items()}, sys.stdout)


main()
