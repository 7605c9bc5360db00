"""Fake quantization for NumPy arrays: forward with a mask of what was in range, backward from the mask alone.

::

    y, mask = fq.forward(x, scale, zero_point, qmin, qmax)
    dx = fq.backward(dy, mask)

The element-wise functions are ufuncs: they broadcast, and take ``out=`` and ``where=``. ``fq.reciprocal`` has the
same functions in PyTorch's arithmetic, ``fq.reference`` the same formula in plain NumPy.
"""

try:
    import fq._core as _core
except ModuleNotFoundError as error:
    if error.name != "fq._core":
        raise
    raise ImportError(
        "fq's C extension is not built here. In the root of the checkout, run: pip install -e . "
        "(a plain 'pip install .' is hidden there by the source folder fq/)"
    ) from error

from fq import _docs, gradcheck, reciprocal, reference
from fq.learnable import backward_learnable, scale_gradient_factor
from fq.qparams import QParams, choose_qparams

_docs.describe(_core.divide, "fq")

globals().update(_core.divide)  # the ufuncs: a row of src/ops.h each

set_num_threads = _core.set_num_threads
get_num_threads = _core.get_num_threads

__version__ = "0.1.0"
__all__ = [
    *_core.divide,
    "QParams",
    "backward_learnable",
    "choose_qparams",
    "get_num_threads",
    "gradcheck",
    "reciprocal",
    "reference",
    "scale_gradient_factor",
    "set_num_threads",
]
