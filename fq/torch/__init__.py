"""Fake quantization for PyTorch, which keeps at most the packed mask between forward and backward.

::

    y = fq.torch.fake_quantize(x, scale, zero_point, qmin, qmax)

The functions are custom operators of ``torch.library``: they work under ``torch.compile`` without a graph break. The
modules take the place of those of ``torch.ao.quantization`` in a QConfig. All of it computes on the CPU.
"""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("fq.torch needs PyTorch: pip install torch, or fq[torch]") from error

from fq.torch import _arguments, _operators
from fq.torch._modules import FakeQuantize, FusedMovingAvgObsFakeQuantize, get_default_qat_qconfig

__all__ = [
    "FakeQuantize",
    "FusedMovingAvgObsFakeQuantize",
    "fake_quantize",
    "fake_quantize_learnable",
    "get_default_qat_qconfig",
]


def fake_quantize(x, scale, zero_point, qmin, qmax, *, reciprocal=False, inplace=False):
    """Round x to the grid of quantized levels and back, with the straight-through gradient.

    Between forward and backward only the packed mask is kept: a bit an element, and nothing of x. Where all of x was
    inside the range, the gradient passes as it is, and one byte is kept (but in compiled code).

    Parameters
    ----------
    x : Tensor of float16, bfloat16, float32 or float64
        Values to quantize, of any shape and strides, on the CPU. bfloat16 needs ml_dtypes.
    scale : Tensor, array or float
        Width of a step: positive and finite, cast to float32, or float64 for float64 x. It broadcasts into x: per
        channel is a scale of shape (C, 1, 1) for x of shape (N, C, H, W).
    zero_point : Tensor or array of integers, or int
        The level of 0.0, within [qmin, qmax]. It broadcasts into x.
    qmin, qmax : int
        The first and last level of the grid.
    reciprocal : bool
        Whether to compute x * (1 / scale), as PyTorch's own functions do, in place of x / scale.
    inplace : bool
        Whether y may be written over x, which is then returned, as by `torch.nn.ReLU6`: do not use x afterwards. x is
        left as it is where it is a leaf, needs no gradient, has gaps, has a view, or was saved by an operation for its
        backward; and in compiled code.

    Returns
    -------
    y : Tensor
        Of x's shape, type and memory format. Its gradient reaches x where x was inside the range, and nothing else.
        Where nothing else holds the gradient of y, that of x takes its memory.

    Raises
    ------
    TypeError
        If x is not of the four types, or zero_point, qmin or qmax is not an integer.
    ValueError
        If scale or zero_point does not broadcast into x, or a parameter is refused by `fq.fake_quantize`.
    NotImplementedError
        If a tensor is not on the CPU.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([-9.0, 0.2, 5.0], requires_grad=True)
    >>> y = fake_quantize(x, 0.25, 0, -8, 7)
    >>> y.tolist()
    [-2.0, 0.25, 1.75]
    >>> y.sum().backward()
    >>> x.grad.tolist()
    [0.0, 1.0, 0.0]
    """
    x, scale, zero_point, qmin, qmax = _arguments.read(x, scale, zero_point, qmin, qmax)
    return _operators.fixed(x, scale.detach(), zero_point, qmin, qmax, reciprocal, inplace=inplace)


def fake_quantize_learnable(x, scale, zero_point, qmin, qmax, *, reciprocal=False):
    """`fake_quantize` with gradients for scale and zero_point too, which need x: it is kept for the backward.

    Parameters
    ----------
    x, scale, qmin, qmax, reciprocal
        As for `fake_quantize`.
    zero_point : Tensor of integers, or of real numbers to be learned; or a number
        Integers get no gradient. Real numbers are rounded to the nearest integer and clamped to [qmin, qmax], and their
        gradient is passed straight through both; NaN is refused.

    Returns
    -------
    y : Tensor
        Of x's shape, type and memory format. Its gradients are those of `fq.backward_learnable`: with respect to scale
        and zero_point they are sums over the elements that share the value, of scale's and zero_point's own shape and
        type.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As for `fake_quantize`.

    Notes
    -----
    Where neither scale nor zero_point asks for a gradient, x is not kept. `fq.scale_gradient_factor` is LSQ's factor
    for the gradient of scale.

    Examples
    --------
    >>> import torch
    >>> scale, zero_point = torch.tensor(0.25, requires_grad=True), torch.tensor(0.0, requires_grad=True)
    >>> fake_quantize_learnable(torch.tensor([0.25, 9.0]), scale, zero_point, -8, 7).sum().backward()
    >>> scale.grad.item(), zero_point.grad.item()
    (7.0, -0.25)
    """
    x, scale, zero_point, qmin, qmax = _arguments.read(x, scale, zero_point, qmin, qmax, real=True)
    if not (scale.requires_grad or zero_point.requires_grad):
        level = _arguments.nearest_level(zero_point, qmin, qmax)
        return _operators.fixed(x, scale, level, qmin, qmax, reciprocal)
    return _operators.learnable(x, scale, zero_point, qmin, qmax, reciprocal)
