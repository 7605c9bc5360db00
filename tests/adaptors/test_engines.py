"""The examples of docs/guide/scale.md: states merge to the same bits by any engine's own all_reduce."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "guide" / "engines"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="there is no checkout here")


def start(*command):
    return subprocess.Popen(
        list(map(str, command)), cwd=EXAMPLES, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(*processes):
    """The digests that they print."""
    found = []
    for process in processes:
        told, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        found += re.findall("[0-9a-f]{64}", told)  # mpirun leaves out ends of lines
    return set(found)


@pytest.fixture(scope="module")
def whole():
    """The digest of one process that sees everything."""
    (found,) = ended(start(sys.executable, "data.py"))
    return {found}


def test_the_digest_sees_every_bit():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import data
    finally:
        sys.path.remove(str(EXAMPLES))
    assert data.digest(data.observed(0, 1)) != data.digest(data.observed(0, 2))


def test_multiprocessing(whole):
    assert ended(start(sys.executable, "pool.py")) == whole


def test_torch_distributed_of_three_processes(whole, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    command = sys.executable, "torch_distributed.py"
    assert ended(*(start(*command, rank, 3, tmp_path / "meet") for rank in range(3))) == whole


def test_jax_on_four_devices(whole):
    pytest.importorskip("jax", reason="JAX is not installed")
    assert ended(start(sys.executable, "jax_psum.py")) == whole


def test_mpi(whole):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    if shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun")
    command = "mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3", sys.executable, "mpi.py"
    assert ended(start(*command)) == whole
