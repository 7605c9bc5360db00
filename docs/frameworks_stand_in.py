"""Stands in for Dask, JAX, PyTorch, torchao, ONNX and safetensors, so that the site comes out the same without them."""

import sys
from unittest.mock import MagicMock

_MODULES = (
    "dask",
    "dask.array",
    "dask.array.core",
    "jax",
    "jax.export",
    "jax.experimental.custom_partitioning",
    "jax.extend",
    "jax.extend.core",
    "jax.interpreters",
    "jax.numpy",
    "jax.sharding",
    "google.protobuf",
    "google.protobuf.message",
    "onnx",
    "onnx.inliner",
    "onnx.shape_inference",
    "onnx.version_converter",
    "safetensors",
    "safetensors.numpy",
    "torch",
    "torch.ao",
    "torch.ao.nn",
    "torch.ao.nn.intrinsic",
    "torch.ao.quantization",
    "torch.ao.quantization.fake_quantize",
    "torch.autograd",
    "torch.nn",
    "torch.nn.modules",
    "torch.nn.modules.module",
    "torch.overrides",
    "torch.utils._python_dispatch",
    "torchao",
    "torchao.quantization",
    "torchao.quantization.quant_primitives",
    "torchao.quantization.utils",
)
_QUANTIZERS = ("FakeQuantize", "FixedQParamsFakeQuantize", "FusedMovingAvgObsFakeQuantize")
_CLASSES = {  # which those of fq inherit, or look into
    "torch": ("Tensor",),
    "torch.autograd": ("Function",),
    "torch.nn": ("Module",),
    "torch.ao.quantization": _QUANTIZERS,
}


def install():
    """Put modules that have every attribute where the adaptors import the frameworks from."""
    for name in _MODULES:
        sys.modules[name] = MagicMock(name=name)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, sys.modules[name])
    for module, names in _CLASSES.items():
        for name in names:
            base = type("_FunctionBase", (), {"apply": None})
            setattr(sys.modules[module], name, type(name, (base,), {"__module__": module}))
    torchao = sys.modules["torchao.quantization"]
    for name in _QUANTIZERS:
        setattr(torchao.pt2e, name, type(name, (), {"__module__": "torchao.quantization.pt2e"}))
    torchao.qat.IntxFakeQuantizer = type("IntxFakeQuantizer", (), {"__module__": "torchao.quantization.qat"})
    sys.modules["jax.numpy"].bfloat16 = "float16"  # which NumPy is asked to know
