"""Stands in for JAX and PyTorch, so that the site comes out the same with and without them."""

import sys
from unittest.mock import MagicMock

_MODULES = (
    "jax",
    "jax.custom_batching",
    "jax.experimental.custom_partitioning",
    "jax.numpy",
    "jax.sharding",
    "torch",
    "torch.ao",
    "torch.ao.quantization",
    "torch.ao.quantization.fake_quantize",
)
_CLASSES = ("FakeQuantize", "FusedMovingAvgObsFakeQuantize")  # which those of fq inherit


def install():
    """Put modules that have every attribute where the adaptors import the frameworks from."""
    for name in _MODULES:
        sys.modules[name] = MagicMock(name=name)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, sys.modules[name])
    for name in _CLASSES:
        theirs = type(name, (), {"__module__": "torch.ao.quantization"})
        setattr(sys.modules["torch.ao.quantization"], name, theirs)
    sys.modules["jax.numpy"].bfloat16 = "float16"  # which NumPy is asked to know
