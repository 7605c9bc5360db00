"""Threads: the same bits for any number of them, controlled as users expect, and sound after a fork."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same, beside_the_tests, gradients, hard_values

import fq
from fq import _core

GRID = (0.1, 3, -128, 127)
N = 200_003

needs_openmp = pytest.mark.skipif(not _core.has_openmp(), reason="this build has no OpenMP")


@pytest.fixture
def threads():
    before = fq.get_num_threads()
    yield fq.set_num_threads
    fq.set_num_threads(before)


def results(x, dy):
    rows = x[: 150 * 1333].reshape(150, 1333)
    scale = np.linspace(0.1, 0.2, 1333, dtype=np.float32)
    strided = x[::-2]
    y, mask = fq.forward(x, *GRID)
    packed = fq.forward_packed(x, *GRID)
    return (
        y,
        mask,
        *packed,
        fq.backward(dy, mask),
        fq.backward_packed(dy, packed[1]),
        fq.backward_recompute(dy, x, *GRID),
        *fq.forward_packed(rows, *GRID),
        *fq.forward_packed(rows, scale, *GRID[1:]),
        *fq.forward(strided, *GRID),
    )


@needs_openmp
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("threshold", [0, 1])
@pytest.mark.usefixtures("target")
def test_results_do_not_depend_on_the_number_of_threads(threads, dtype, threshold):
    rng = np.random.default_rng(2)
    x, dy = hard_values(dtype, GRID, rng, N), gradients(dtype, rng, N)
    _core._set_cache_threshold(threshold)
    threads(1)
    expected = results(x, dy)
    assert_same(expected[:2], fq.reference.forward(x, *GRID))
    for n in (2, 3, 7):
        threads(n)
        assert_same(results(x, dy), expected)
    _core._set_cache_threshold(0)


@needs_openmp
def test_set_and_get(threads):
    threads(3)
    assert fq.get_num_threads() == 3
    for bad in (0, -1, 1025, 2**70):
        with pytest.raises(ValueError, match="threads must be 1 to 1024"):
            threads(bad)
    for bad in (1.5, "2", None):
        with pytest.raises(TypeError):
            threads(bad)
    assert fq.get_num_threads() == 3


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@needs_openmp
def test_environment_sets_the_number():
    code = "import fq; print(fq.get_num_threads())"
    assert run(code, FQ_NUM_THREADS="5") == "5"
    assert run(code, OMP_NUM_THREADS="3", FQ_NUM_THREADS="") == "3"
    assert run(code, OMP_NUM_THREADS="3", FQ_NUM_THREADS="2") == "2"
    for bad in ("0", "-3", "two", "2x", "99999"):
        assert run(code, FQ_NUM_THREADS=bad) == f"ImportError: FQ_NUM_THREADS must be 1 to 1024, got {bad}"


@needs_openmp
def test_threadpoolctl_controls_it():
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    code = (
        "import fq, threadpoolctl\n"
        "with threadpoolctl.threadpool_limits(1, user_api='openmp'): print(fq.get_num_threads(), end=' ')\n"
        "with threadpoolctl.threadpool_limits(2, user_api='openmp'): print(fq.get_num_threads())"
    )
    assert threadpoolctl
    assert run(code, FQ_NUM_THREADS="") == "1 2"


def calls_in_a_small_stack():
    """Every function on arrays of many layouts, with few sets of parameters and many."""
    x = np.linspace(-20, 20, 4096, dtype=np.float32).reshape(64, 64)
    deep = x.reshape((2,) * 12)[::-1, ..., ::-1]
    scale = np.linspace(0.1, 0.2, 64, dtype=np.float32)
    columns = scale[:, None]
    for one, own in ((x, scale), (x, np.float64(scale)), (x[:, ::2], columns), (x.T, columns), (deep, 0.1)):
        grid = own, *GRID[1:]
        _, mask = fq.forward(one, *grid)
        _, bits = fq.forward_packed(one, *grid)
        calls = {
            "fake_quantize": (one, *grid),
            "forward": (one, *grid),
            "forward_packed": (one, *grid),
            "backward": (one, mask),
            "backward_packed": (one, bits),
            "backward_recompute": (one, one, *grid),
        }
        assert calls.keys() == _core.divide.keys()
        for name, arguments in calls.items():
            getattr(fq, name)(*arguments)
        fq.backward_learnable(one, one, *grid)


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.4.0", reason="calls through an older NumPy need more stack"
)
def test_a_thread_of_32_kib_of_stack_lives():
    code = (
        f"import sys; sys.path.append({os.path.dirname(__file__)!r})\n"
        "import threading, test_threads\n"
        "threading.stack_size(32768)\n"
        "thread = threading.Thread(target=test_threads.calls_in_a_small_stack)\n"
        "thread.start(); thread.join(); print('lived')"
    )
    assert run(code, PYTHONPATH=beside_the_tests()["PYTHONPATH"], OMP_NUM_THREADS="1") == "lived"


def test_calls_from_several_python_threads_are_right():
    x = hard_values(np.dtype(np.float32), GRID, np.random.default_rng(3), N)
    expected = fq.reference.forward_packed(x, *GRID)
    failures = []
    start = threading.Barrier(6)

    def work():
        start.wait()
        for _ in range(10):
            try:
                assert_same(fq.forward_packed(x, *GRID), expected)
            except AssertionError as error:
                failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_the_gil_is_released():
    """Another Python thread counts while one long call runs."""
    x = np.zeros(30_000_000, np.float32)
    y = np.empty_like(x)
    done = threading.Event()
    counted = [0]

    def count():
        while not done.is_set():
            counted[0] += 1
            time.sleep(0.0005)  # gives the GIL back

    counter = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # only a release of the GIL lets the counter run
    try:
        counter.start()
        before = counted[0]
        fq.fake_quantize(x, *GRID, out=y)
        during = counted[0] - before
    finally:
        done.set()
        sys.setswitchinterval(interval)
        counter.join()
    assert during > 0


FORK = """
import os, sys, numpy as np, fq
fq.set_num_threads(4)
x = np.linspace(-20, 20, 500_000, dtype=np.float32)
expected = fq.forward(x, 0.1, 0, -128, 127)
child = os.fork()
found = fq.forward(x, 0.1, 0, -128, 127)
same = all((f == e).all() for f, e in zip(found, expected))
if child == 0:
    os._exit(0 if same and fq.get_num_threads() == 1 else 3)
print(same, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), fq.get_num_threads())
"""


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_works_on_one_thread():
    assert run(FORK) == "True 0 4"


@pytest.mark.parametrize("step", [1, -1], ids=["forward", "backward"])
@pytest.mark.parametrize("shift", [-100_000, -3, 3])
@pytest.mark.parametrize("read", ["x", "scale"])
def test_an_output_that_overlaps_what_is_read_waits_for_no_other_thread(threads, read, shift, step):
    threads(4)
    n, begin = 1_000_000, 100_000
    rng = np.random.default_rng(0)
    memory = rng.uniform(0.1 if read == "scale" else -20, 20, n + 2 * begin).astype(np.float32)
    other = rng.normal(size=n).astype(np.float32)
    given = memory[begin : begin + n][::step].copy()
    expected = _overlapping_calls(given, other, read, [None] * 3)
    for i, want in enumerate(expected):
        for _ in range(3):
            threads(4)  # again: a call that waited long makes those after it run alone
            again = memory.copy()
            out = again[begin + shift : begin + shift + n][::step]
            outs = [None] * 3
            outs[i] = out
            _overlapping_calls(again[begin : begin + n][::step], other, read, outs, only=i)
            assert_same(out, want)


def _overlapping_calls(given, other, read, outs, only=None):
    """y, dx with x and dx with dy where `given` is x; y and both of dx where it is the scales."""
    grid = (given, 0, -8, 7) if read == "scale" else GRID
    x, dy = (other, other) if read == "scale" else (given, other)
    calls = (
        lambda out: fq.fake_quantize(x, *grid, out=out),
        lambda out: fq.backward_recompute(dy, x, *grid, out=out),
        lambda out: fq.backward(given if read == "x" else dy, other > 0, out=out),
    )
    return [call(out) for i, (call, out) in enumerate(zip(calls, outs, strict=True)) if only in (None, i)]
