"""Memory that runs out: every allocation of the extension fails once, each a MemoryError, and none leaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fq import _core

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the shim is for glibc")


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """The library that fails allocations, built here."""
    path = tmp_path_factory.mktemp("shim") / "failing_malloc.so"
    command = ["cc", "-O2", "-fPIC", "-shared", "-o", str(path), str(HERE.parent / "c" / "failing_malloc.c")]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler that can build it")
    return path


def failing(shim, what):
    environment = os.environ | {"LD_PRELOAD": str(shim), "PYTHONMALLOC": "malloc", "FQ_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "failing_calls.py"), _core.__file__, what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_allocation_that_fails_is_a_memory_error_and_the_next_call_works(shim):
    found = failing(shim, "call")
    assert {name: one["wrong"] for name, one in found.items() if one["wrong"]} == {}
    assert {name: one["leaked"] for name, one in found.items() if one["leaked"] >= 24} == {}
    assert found["backward_learnable"]["failed"] > 0
    assert sum(one["failed"] for one in found.values()) > 40


def test_an_import_that_runs_out_of_memory_is_a_memory_error(shim):
    *failed, last = failing(shim, "import")
    assert last == 0
    assert {1} < set(failed) <= {1, 3, 4}
    assert failed.count(3) + failed.count(4) < len(failed) / 4
    assert len(failed) > 20
