"""The candidates that come with fq, a file for each framework, loaded only when it is installed.

A file here defines ``candidates(arithmetic)``, a list of `fq.testing.Candidate`, and is named in `_FILES`. Where the
framework quantizes to integers, ``quantizers(arithmetic)`` is a list of `fq.testing.Quantizer`; where it rounds to
float formats, ``rounders(arithmetic)`` is one of `fq.testing.Rounder`.
"""

import importlib
from typing import Any

from fq._input import one_line
from fq.testing.quantizer import Quantizer
from fq.testing.rounder import Rounder
from fq.testing.subject import Candidate

__all__ = ["load", "load_quantizers", "load_rounders"]

_FILES = (
    "numpy_formula",
    "fq_targets",
    "pytorch",
    "jax_idioms",
    "onnx_runtime",
    "openvino_operation",
    "tensorflow_operation",
    "ml_dtypes_casts",
    "gfloat_rounding",
)


def load(arithmetic: str = "divide") -> tuple[list[Candidate], list[str]]:
    """The candidates whose frameworks are installed, and why others are not.

    Parameters
    ----------
    arithmetic : str
        Which of fq's own functions: "divide" or "reciprocal".

    Returns
    -------
    candidates : list of Candidate
    absent : list of str
        A line for each framework that is not here.

    Examples
    --------
    >>> candidates, absent = load()
    >>> candidates[0].name
    'NumPy formula'
    """
    return _load("candidates", arithmetic)


def load_quantizers(arithmetic: str = "divide") -> tuple[list[Quantizer], list[str]]:
    """The quantizers whose frameworks are installed, and why others are not.

    Parameters
    ----------
    arithmetic : str
        Which of fq's own functions: "divide" or "reciprocal".

    Returns
    -------
    quantizers : list of Quantizer
    absent : list of str
        A line for each framework that is not here.

    Examples
    --------
    >>> quantizers, absent = load_quantizers()
    >>> quantizers[0].name
    'NumPy formula'
    """
    return _load("quantizers", arithmetic)


def load_rounders() -> tuple[list[Rounder], list[str]]:
    """The roundings to float formats whose packages are installed, and why others are not.

    Returns
    -------
    rounders : list of Rounder
    absent : list of str
        A line for each package that is not here.

    Examples
    --------
    >>> rounders, absent = load_rounders()
    >>> rounders[0].name.partition(",")[0]
    'fq'
    """
    return _load("rounders", "divide")


def _load(what: str, arithmetic: str) -> tuple[list[Any], list[str]]:
    found: list[Any] = []
    absent: list[str] = []
    for name in _FILES:
        try:
            module = importlib.import_module(f"fq.testing.candidates.{name}")
            found += getattr(module, what)(arithmetic) if hasattr(module, what) else []
        except ModuleNotFoundError as error:
            absent.append(f"{name.replace('_', ' ')}: {error.name} is not installed")
        except (Exception, SystemExit) as error:  # whatever another library does when it is imported
            told = next(iter(str(error).splitlines()), "")
            absent.append(one_line(f"{name.replace('_', ' ')}: {type(error).__name__}: {told}"))
    return found, absent
