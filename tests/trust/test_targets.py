"""The SIMD target is chosen at import, can be forced, and an unknown one is refused."""

import os
import subprocess
import sys

import pytest

from fq import _core


def run(code, simd):
    environment = {**os.environ, "FQ_SIMD": simd}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", _core.targets())
def test_fq_simd_forces_a_target(name):
    done = run("import fq; print(fq._core.target())", name)
    assert (done.stdout.strip(), done.stderr) == (name, "")


def test_the_best_target_is_the_default():
    assert run("import fq; print(fq._core.target())", "").stdout.strip() == _core.targets()[0]


@pytest.mark.parametrize("name", ["sse9", "AVX2", " portable", "neon" if "neon" not in _core.targets() else "avx2"])
def test_an_unknown_or_unsupported_target_is_an_import_error(name):
    done = run("import fq", name)
    assert done.returncode == 1
    assert f"ImportError: no SIMD target {name} on this machine" in done.stderr
    assert "portable" in done.stderr


def test_a_wrong_target_leaves_the_one_in_use():
    before = _core.target()
    with pytest.raises(ValueError, match="no SIMD target nonsense"):
        _core._set_target("nonsense")
    assert _core.target() == before
    with pytest.raises(TypeError):
        _core._set_target(3)
