"""The candidates that come with fq, a file for each framework, loaded only when it is installed.

A file here defines ``candidates(arithmetic)``, a list of `fq.testing.Candidate`, and is named in `_FILES`.
"""

import importlib

__all__ = ["load"]

_FILES = (
    "numpy_formula",
    "fq_targets",
    "pytorch",
    "jax_idioms",
    "onnx_runtime",
    "openvino_operation",
    "tensorflow_operation",
)


def load(arithmetic="divide"):
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
    found, absent = [], []
    for name in _FILES:
        try:
            found += importlib.import_module(f"fq.testing.candidates.{name}").candidates(arithmetic)
        except ModuleNotFoundError as error:
            absent.append(f"{name.replace('_', ' ')}: {error.name} is not installed")
        except Exception as error:  # whatever another library does when it is imported
            told = next(iter(str(error).splitlines()), "")
            absent.append(f"{name.replace('_', ' ')}: {type(error).__name__}: {told}")
    return found, absent
