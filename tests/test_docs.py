"""Every public name is documented, and a ufunc shows the names of its parameters."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fq

MODULES = {"fq": fq, "fq.reciprocal": fq.reciprocal, "fq.reference": fq.reference}
NAMES = [(module, name) for module, found in MODULES.items() for name in found.__all__]
QPARAMS = ["scale", "zero_point", "qmin", "qmax"]
INPUTS = {
    "fake_quantize": ["x", *QPARAMS],
    "forward": ["x", *QPARAMS],
    "backward": ["dy", "mask"],
    "backward_recompute": ["dy", "x", *QPARAMS],
}
SETTABLE = hasattr(np.add, "__signature__")


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_is_documented(module, name):
    assert getattr(MODULES[module], name).__doc__


@pytest.mark.parametrize("module", ["fq", "fq.reciprocal"])
@pytest.mark.parametrize("name", INPUTS)
def test_docstring_says_what_users_need(module, name):
    doc = getattr(MODULES[module], name).__doc__
    for word in ["Parameters", "Returns", "Raises", "Source", "Examples", *INPUTS[name]]:
        assert word in doc


@pytest.mark.skipif(not SETTABLE, reason="a ufunc carries a signature from NumPy 2.4 on")
@pytest.mark.parametrize("module", ["fq", "fq.reciprocal"])
@pytest.mark.parametrize("name", INPUTS)
def test_signature_gives_the_real_names(module, name):
    ufunc = getattr(MODULES[module], name)
    names = list(inspect.signature(ufunc).parameters)
    assert names[: len(INPUTS[name])] == INPUTS[name]
    assert names[len(INPUTS[name])] == "out"
    assert ufunc.__module__ == module


def test_a_missing_extension_says_how_to_build_it(tmp_path):
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(Path(fq.__file__).parent, tmp_path / "fq", ignore=ignored)
    # An editable install would find the extension of the checkout.
    code = "import sys; sys.meta_path = [f for f in sys.meta_path if 'ditable' not in repr(f)]; import fq"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: fq's C extension is not built here" in done.stderr
    assert "pip install -e ." in done.stderr
