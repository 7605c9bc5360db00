"""Run by test_faults.py under failing_malloc.c: prints, as JSON, what operations do when each allocation fails."""

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
SMALLEST_LEAK = 24  # bytes a call; malloc's smallest piece takes 32
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
    found = {}
    for prefix, functions in (("", fq), ("reciprocal.", fq.reciprocal)):
        for name in ("fake_quantize", "forward", "forward_packed"):
            function = getattr(functions, name)
            found[f"{prefix}{name}"] = lambda function=function: function(x, *grid)
            found[f"{prefix}{name} per channel"] = lambda function=function: function(x, *channels)
            found[f"{prefix}{name} refused"] = lambda function=function: function(x, -1.0, 0, -8, 7)
        found[f"{prefix}backward_recompute"] = lambda functions=functions: functions.backward_recompute(x, x, *grid)
        found[f"{prefix}backward_learnable"] = lambda functions=functions: functions.backward_learnable(x, x, *channels)
    found["backward"] = lambda: fq.backward(x, mask)
    found["backward_packed"] = lambda: fq.backward_packed(x, bits)
    found["backward_packed refused"] = lambda: fq.backward_packed(x, bits[:, :-1])
    found["a wrong type"] = lambda: fq.forward(x.astype(int), *grid)
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
        if not (found == "MemoryError" if isinstance(found, str) else alike(found, expected)):
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
