"""Bad days: a wrong NumPy, no OpenMP, a fork or Ctrl-C in the middle of a call, and a great many calls and errors."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import fq
from fq import _core

ROOT = Path(__file__).resolve().parents[2]
GRID = 0.1, 3, -128, 127


def run(code, timeout=120, **options):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout, check=False, **options
    )


WRONG_NUMPY = """
import sys, types, ctypes, numpy
theirs = sys.modules["numpy._core._multiarray_umath"]
fake = types.ModuleType(theirs.__name__)
fake.__dict__.update(theirs.__dict__)
{change}
sys.modules[theirs.__name__] = fake
import fq
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [("del fake._ARRAY_API", "AttributeError: _ARRAY_API not found"), ("fake._ARRAY_API = 3", "not PyCapsule object")],
)
def test_a_wrong_numpy_is_an_error_and_no_crash(change, message):
    done = run(WRONG_NUMPY.format(change=change))
    assert done.returncode == 1
    assert message.split(": ")[-1].split(" not")[0] in done.stderr


OLD_NUMPY = """
import sys, types, ctypes, numpy
theirs = sys.modules["numpy._core._multiarray_umath"]
get = ctypes.pythonapi.PyCapsule_GetPointer
get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
make = ctypes.pythonapi.PyCapsule_New
make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
table = (ctypes.c_void_p * 400).from_address(get(theirs._ARRAY_API, None))
copy = (ctypes.c_void_p * 400)(*table)
version = ctypes.CFUNCTYPE(ctypes.c_uint)(lambda: 0x10)
copy[211] = ctypes.cast(version, ctypes.c_void_p).value  # PyArray_GetNDArrayCFeatureVersion
fake = types.ModuleType(theirs.__name__)
fake.__dict__.update(theirs.__dict__)
fake._ARRAY_API = make(ctypes.addressof(copy), None, None)
sys.modules[theirs.__name__] = fake
import fq
"""


def test_an_older_numpy_than_it_was_built_for_is_named():
    done = run(OLD_NUMPY)
    assert done.returncode == 1
    assert "compiled against NumPy C-API version" in done.stderr


@pytest.fixture(scope="module")
def without_openmp(tmp_path_factory):
    """A folder from which an fq without OpenMP can be imported."""
    if not (ROOT / "setup.py").is_file() or shutil.which("cc") is None:
        pytest.skip("there is no source or no compiler here")
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    folder = tmp_path_factory.mktemp("plain")
    for name in ("fq", "src"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    environment = os.environ | {"FQ_NO_OPENMP": "1", "FQ_CFLAGS": "-O1", "FQ_XLA_INCLUDE": ""}  # compiled the fastest
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_without_openmp_there_is_one_thread_and_the_same_results(without_openmp):
    code = (
        "import numpy as np, fq, sys\n"
        "fq.set_num_threads(7)\n"
        "x = np.random.default_rng(0).standard_normal(100_000, np.float32)\n"
        "y, bits = fq.forward_packed(x, 0.1, 3, -8, 7)\n"
        "print(fq._core.has_openmp(), fq.get_num_threads(), hash((y.tobytes(), bits.tobytes())), fq.__file__)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    plain = run(code, cwd=without_openmp, env=environment | {"PYTHONPATH": str(without_openmp)})
    ours = run(code, env=environment)
    assert plain.stdout.startswith("False 1 "), plain.stderr
    assert str(without_openmp) in plain.stdout
    assert plain.stdout.split()[2] == ours.stdout.split()[2]


FORK_IN_A_CALL = """
import os, threading, numpy as np, fq
fq.set_num_threads(4)
x = np.linspace(-20, 20, 4_000_000, dtype=np.float32)
expected, mask = fq.forward(x, 0.1, 3, -128, 127)
stop = threading.Event()
def work():
    y = np.empty_like(x)
    while not stop.is_set():
        fq.forward(x, 0.1, 3, -128, 127, out=(y, None))
workers = [threading.Thread(target=work) for _ in range(2)]
for worker in workers: worker.start()
codes = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        y, found = fq.forward(x, 0.1, 3, -128, 127)
        os._exit(0 if (y == expected).all() and (found == mask).all() else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for worker in workers: worker.join()
print(set(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_during_threaded_calls_leaves_both_sides_sound():
    done = run(FORK_IN_A_CALL)
    assert done.stdout.strip() == "{0}", done.stderr


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_ctrl_c_in_long_calls_leaves_the_process_sound():
    x = np.linspace(-20, 20, 1_000_000, dtype=np.float32)
    expected, mask = fq.forward(x, *GRID)
    y, interrupted = np.empty_like(x), 0
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for delay in np.linspace(0.001, 0.02, 30):
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                for _ in range(100_000):
                    fq.forward(x, *GRID, out=(y, None))
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            found = fq.forward(x, *GRID)
            assert np.array_equal(found[0], expected)
            assert np.array_equal(found[1], mask)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 30


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as sizes:
        return int(sizes.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def calls():
    x = np.linspace(-3, 3, 64, dtype=np.float32)
    scale = np.full((4, 1), 0.1, np.float32)
    rows = x.reshape(4, 16)
    bits = fq.forward_packed(x, *GRID)[1]
    return [
        lambda: fq.forward(x, *GRID),
        lambda: fq.forward_packed(rows, scale, *GRID[1:]),
        lambda: fq.backward_packed(x, bits),
        lambda: fq.backward_recompute(x, x, *GRID),
        lambda: fq.backward_learnable(rows, rows, scale, *GRID[1:]),
        lambda: fq.reciprocal.fake_quantize(x[::-2].astype(np.float64), *GRID),
    ]


def errors():
    x = np.ones(64, np.float32)
    bad = [
        (fq.forward, (x, -1.0, 0, -8, 7)),
        (fq.forward, (x.astype(int), 0.1, 0, -8, 7)),
        (fq.forward_packed, (x, 0.1, 9, -8, 7)),
        (fq.backward_packed, (x, np.zeros(3, np.uint8))),
        (fq.backward_learnable, (x, x, np.ones(3), 0, -8, 7)),
        (_core._set_target, ("nonsense",)),
        (fq.set_num_threads, (-1,)),
    ]

    def refused(function, arguments):
        try:  # pytest.raises would keep memory of its own
            function(*arguments)
        except (TypeError, ValueError):
            return
        raise AssertionError(f"{function} took {arguments}")

    return [lambda one=one: refused(*one) for one in bad]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="this system does not tell what is resident")
@pytest.mark.slow
@pytest.mark.parametrize(("many", "times"), [(calls, 100_000), (errors, 10_000)], ids=["calls", "errors"])
def test_a_great_many_leak_nothing(many, times):
    functions = many()

    def repeat(count):
        for index in range(count):
            functions[index % len(functions)]()
        gc.collect()

    repeat(times // 10)
    before = resident()
    repeat(times)
    assert resident() - before < 2**20  # ten bytes per call

    def growth():
        first = tracemalloc.get_traced_memory()[0]
        repeat(times // 10)
        return tracemalloc.get_traced_memory()[0] - first

    tracemalloc.start()
    try:
        repeat(times // 10)
        # A leak shows in every stretch, what the interpreter keeps for itself in some.
        assert min(growth() for _ in range(4)) < times // 10
    finally:
        tracemalloc.stop()
