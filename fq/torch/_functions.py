"""The functions of fq.torch."""

import torch
from torch.overrides import handle_torch_function, has_torch_function

from fq.torch import _arguments, _fast, _operators


def fake_quantize(x, scale, zero_point, qmin, qmax, *, reciprocal=False, inplace=False):
    """Round x to the grid of quantized levels and back, with the straight-through gradient.

    Between forward and backward only the packed mask is kept: a bit per element, and nothing of x; one byte where all
    of x was inside the range (but in compiled code). Under the transforms of ``torch.func`` it is a byte per element.

    Parameters
    ----------
    x : Tensor of float16, bfloat16, float32 or float64
        Values to quantize, of any shape and strides, on any device. bfloat16 needs ml_dtypes.
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
        Whether y is written over x, which is then returned. It means what it means for `torch.nn.ReLU6`: PyTorch raises
        its own errors, as for a leaf that requires a gradient.

    Returns
    -------
    y : Tensor
        Of x's shape, type and memory format. Its gradient reaches x where x was inside the range, and nothing else. The
        gradient of x is memory of its own; forward mode gives the tangent of x, masked alike.

    Raises
    ------
    TypeError
        If x is not of the four types, or zero_point, qmin or qmax is not an integer.
    ValueError
        If scale or zero_point does not broadcast into x or lies on another device, or a parameter is refused by
        `fq.fake_quantize`; with ``inplace``, if x lies in memory that PyTorch does not own. On other devices than the
        CPU a refused scale or zero_point makes y NaN instead, as its value is not waited for.
    NotImplementedError
        If a tangent meets compiled code.

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
    if not (inplace or torch.compiler.is_compiling()):
        y = _fast.fixed(x, scale, zero_point, qmin, qmax, reciprocal)
        if y is not None:
            return y
    if has_torch_function((x, scale, zero_point)):
        settings = {"reciprocal": reciprocal, "inplace": inplace}
        return handle_torch_function(
            fake_quantize, (x, scale, zero_point), x, scale, zero_point, qmin, qmax, **settings
        )
    x, scale, zero_point, qmin, qmax = _arguments.read(x, scale, zero_point, qmin, qmax)
    return _operators.fixed(x, scale.detach(), zero_point, qmin, qmax, reciprocal, inplace=inplace)


def fake_quantize_learnable(x, scale, zero_point, qmin, qmax, *, eps=None, reciprocal=False, keep="x"):
    """`fake_quantize` with gradients for scale and zero_point too, which need x, or a code of each residual.

    Parameters
    ----------
    x, scale, qmin, qmax, reciprocal
        As for `fake_quantize`.
    zero_point : Tensor of integers, or of real numbers to be learned; or a number
        Integers get no gradient. Real numbers are rounded to the nearest integer and clamped to [qmin, qmax], and their
        gradient is passed straight through both; NaN is refused.
    eps : float, optional
        The least scale there is: where scale is less, eps is taken, and its gradient is passed straight through to
        scale. So a step that brought a scale to 0 or below does not end the training, and the next may bring it back.
    keep : {"x", "residual", "residual4"}
        What is kept for the backward: x itself; or of each element a code of 8 or 4 bits, by which the gradients of x
        and zero_point are the same, and that of scale is nearly: see `fq.backward_residual`. A leaf that requires a
        gradient, as a weight is (in compiled code: a Parameter), is kept itself whatever is said here, since it lives
        anyway. So is x under the transforms of ``torch.func`` and in forward mode.

    Returns
    -------
    y : Tensor
        Of x's shape, type and memory format. Its gradients are those of `fq.backward_learnable`: with respect to scale
        and zero_point they are sums over the elements that share the value, of scale's and zero_point's own shape and
        type.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As for `fake_quantize`. ValueError too for another ``keep``, and for codes of levels that lie further than 2**15
        from zero_point, or 2**44 for float64 x.

    Notes
    -----
    Where neither scale nor zero_point asks for a gradient, x is not kept. There is no second derivative: asking for one
    raises NotImplementedError. `fq.scale_gradient_factor` is LSQ's factor for the gradient of scale.

    Examples
    --------
    >>> import torch
    >>> scale, zero_point = torch.tensor(0.25, requires_grad=True), torch.tensor(0.0, requires_grad=True)
    >>> fake_quantize_learnable(torch.tensor([0.25, 9.0]), scale, zero_point, -8, 7).sum().backward()
    >>> scale.grad.item(), zero_point.grad.item()
    (7.0, -0.25)
    """
    if eps is None and keep == "x" and not torch.compiler.is_compiling():
        y = _fast.learnable(x, scale, zero_point, qmin, qmax, reciprocal)
        if y is not None:
            return y
    if has_torch_function((x, scale, zero_point)):
        return handle_torch_function(
            *(fake_quantize_learnable, (x, scale, zero_point), x, scale, zero_point, qmin, qmax),
            eps=eps,
            reciprocal=reciprocal,
            keep=keep,
        )
    x, scale, zero_point, qmin, qmax = _arguments.read(x, scale, zero_point, qmin, qmax, real=True)
    scale = _arguments.at_least(scale, eps)
    learns = scale.requires_grad or zero_point.requires_grad
    if not learns and not _operators.is_transformed(x, scale, zero_point):
        level = _arguments.nearest_level(zero_point, qmin, qmax)
        return _operators.fixed(x, scale, level, qmin, qmax, reciprocal)
    return _operators.learnable(x, scale, zero_point, qmin, qmax, reciprocal, keep)
