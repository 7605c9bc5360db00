"""Tries an installed fq: a call, a call on threads, a call in a forked child, and no file too many."""

import os
import platform
import sys
from importlib.metadata import files, version
from pathlib import Path, PurePosixPath

import numpy as np

import fq
from fq import _core

SUFFIXES = {".py", ".pyi", ".so", ".pyd", ".typed", ".css", ".js"}


def check_files():
    """fq's own files are modules, stubs and parts of a page; a repair may add libraries, and there is nothing else."""
    listed = [PurePosixPath(file) for file in files("fq")]
    installed = [file for file in listed if file.suffix != ".pyc" and file.parts[0] not in ("fq.libs", "..")]
    others = [file for file in installed if file.parts[0] != "fq" and not file.parts[0].endswith(".dist-info")]
    own = [file for file in installed if file.parts[0] == "fq"]
    needless = others + [file for file in own if file.suffix not in SUFFIXES]
    assert not needless, f"the wheel carries {needless}"
    assert {"py.typed", "__init__.pyi"} <= {file.name for file in own}
    return len(own)


def check_threads():
    x = np.linspace(-3, 3, 1 << 20, dtype=np.float32)
    found = []
    for threads in (1, 2):
        fq.set_num_threads(threads)
        found.append(fq.forward(x, 0.25, 0, -8, 7))
    for one, two in zip(*found, strict=True):
        assert one.tobytes() == two.tobytes()
    return found[0][0]


def check_fork(y):
    """After a call on threads: OpenMP's do not survive a fork, and a child that waited for them would hang."""
    x = np.linspace(-3, 3, y.size, dtype=np.float32)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(fq.fake_quantize(x, 0.25, 0, -8, 7), y) else 1)
    assert os.waitpid(child, 0)[1] == 0


def check_complete():
    """What a wheel for Linux has: OpenMP and a runtime of its own for it, and handlers for XLA."""
    assert _core.has_openmp()
    assert any("libgomp" in file.name for file in files("fq"))
    assert _core.xla_handlers()


def main():
    assert version("fq") == fq.__version__
    assert "site-packages" in Path(fq.__file__).parts, f"not installed: {fq.__file__}"
    y, mask = fq.forward(np.float32([0.2, 9.0]), 0.25, 0, -8, 7)
    assert (y.tolist(), mask.tolist()) == ([0.25, 1.75], [True, False])
    count = check_files()
    y = check_threads()
    if hasattr(os, "fork"):
        check_fork(y)
    if sys.argv[1:] == ["--complete"]:
        check_complete()
    versions = f"fq {fq.__version__}, NumPy {np.__version__}, Python {platform.python_version()}"
    print(f"{versions}, {_core.target()}: {count} files, the calls are right")


if __name__ == "__main__":
    main()
