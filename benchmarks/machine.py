"""What a result depends on beside the code: the processor, the system, the compiler and the versions."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

import fq

PEERS = ["ml_dtypes", "torch", "numba", "jax", "onnxruntime", "openvino"]


def first_line_of(path):
    """The first line of a file, None if there is none to read."""
    try:
        return Path(path).read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def processor():
    """The model's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def caches():
    """Name -> size of the caches of the first core, empty where the system does not tell."""
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (first_line_of(folder / name) for name in ("level", "type", "size"))
        found[f"L{level} {kind}"] = size
    return found


def versions():
    """Versions of Python, NumPy, fq and those peers that are installed."""
    found = {"python": platform.python_version(), "numpy": metadata.version("numpy"), "fq": fq.__version__}
    for name in PEERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe():
    """All of it, ready for JSON."""
    compiler = getattr(fq._core, "compiler", None)
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "caches": caches(),
        "system": platform.platform(),
        "versions": versions(),
        "compiler": compiler() if compiler else None,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
