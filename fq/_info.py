"""What ``python -m fq info`` tells: the version, and how fq runs on this machine."""

import platform

import numpy as np

import fq
from fq import _core


def lines() -> list[tuple[str, str]]:
    """(what, value) for each line."""
    target = _core.target()
    threads = f"{fq.get_num_threads()}" if _core.has_openmp() else "1 (built without OpenMP)"
    return [
        ("fq", fq.__version__),
        ("NumPy", np.__version__),
        ("Python", platform.python_version()),
        ("built by", _core.compiler()),
        ("SIMD target", f"{target} (this machine has {', '.join(_core.targets())}; FQ_SIMD forces one)"),
        ("threads", f"{threads} (FQ_NUM_THREADS, OMP_NUM_THREADS or fq.set_num_threads)"),
        ("stores", f"stores are non-temporal from {_core.cache_threshold():,} bytes on (FQ_STREAM_FROM)"),
        ("XLA", _xla()),
        ("types", ", ".join(dtype.name for dtype in _core.types())),
    ]


def _xla() -> str:
    if _core.xla_handlers():
        return f"{len(_core.xla_handlers())} handlers, for fq.jax on the CPU"
    return "built without jaxlib's header: fq.jax runs in XLA's own operations (install jax, then fq from its source)"


def run() -> None:
    """Print them."""
    for what, value in lines():
        print(f"{what:16} {value}")
