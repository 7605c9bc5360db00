"""The examples of modules that need packages of their own run."""

import doctest
import importlib

import pytest

MODULES = {
    "fq.onnx._weights": ("onnx",),
    "fq.onnx._quantize": ("onnx",),
    "fq.onnx._calibrate": ("onnx", "onnxruntime"),
    "fq.onnx._verify": ("onnx", "onnxruntime"),
    "fq.safetensors": ("safetensors",),
}


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(module):
    for package in MODULES[module]:
        pytest.importorskip(package)
    done = doctest.testmod(importlib.import_module(module))
    assert done.attempted > 0
    assert done.failed == 0
