"""fq's fake quantization in what torchao's ``quantize_(model, QATConfig(...))`` made of a model. Needs torchao.

::

    quantize_(model, QATConfig(Int8DynamicActivationInt4WeightConfig(group_size=32), step="prepare"))
    fq.torch.torchao.replace(model)
"""

import torch

try:
    from torchao.quantization import qat
except ModuleNotFoundError as error:
    raise ImportError("fq.torch.torchao needs torchao: pip install torchao") from error

from torchao.quantization import PerAxis, PerGroup, PerToken
from torchao.quantization.quant_primitives import (
    _DTYPE_TO_BIT_WIDTH,
    _DTYPE_TO_QVALUE_BOUNDS,
    MappingType,
    ZeroPointDomain,
    choose_qparams_affine,
)
from torchao.quantization.utils import get_group_qparams_symmetric, get_groupwise_affine_qparams

from fq.torch._functions import fake_quantize, fake_quantize_learnable

__all__ = ["IntxFakeQuantizer", "replace"]


class IntxFakeQuantizer(qat.IntxFakeQuantizer):
    """Takes the place of torchao's ``IntxFakeQuantizer``, and keeps a bit per element for the backward.

    The ranges are torchao's, and so is y, to the last bit. The gradient is dy where x was inside the range; torchao's
    has been multiplied by scale and by 1 / scale. What is not float32, and learned zero points, are left to torchao.

    Parameters
    ----------
    config : torchao.quantization.qat.IntxFakeQuantizeConfig

    Raises
    ------
    ValueError
        When called, if a scale is refused: of x with NaN or an infinity.

    Examples
    --------
    >>> import torch
    >>> from torchao.quantization.qat import IntxFakeQuantizeConfig
    >>> module = IntxFakeQuantizer(IntxFakeQuantizeConfig(torch.int4, group_size=2))
    >>> module(torch.tensor([[1.0, 7.5, 15.0, -15.0]])).tolist()
    [[1.0, 7.0, 14.0, -16.0]]
    """

    def _per_token_forward(self, x):
        return self._quantized(x, x.shape[-1], super()._per_token_forward)

    def _per_channel_or_group_forward(self, x):
        granularity = self.config.granularity
        size = granularity.group_size if isinstance(granularity, PerGroup) else x.shape[-1]
        return self._quantized(x, size, super()._per_channel_or_group_forward)

    def _quantized(self, x, size, theirs):
        """y by scales of so many elements along the last axis."""
        if not self._takes(x, size):
            return theirs(x)
        if self._should_compute_qparams():
            self._choose(x, size)
        ends = _DTYPE_TO_QVALUE_BOUNDS[self.config.dtype]
        shape = *x.shape[:-1], x.shape[-1] // size, 1
        grid = self.scale.reshape(shape), self.zero_point.reshape(shape), *ends
        function = fake_quantize_learnable if self.scale.requires_grad else fake_quantize
        return function(x.unflatten(-1, (-1, size)), *grid, reciprocal=True).flatten(-2)

    def _takes(self, x, size):
        """Whether fq computes as torchao does: in float32, with integers as zero points."""
        config = self.config
        by_group = isinstance(config.granularity, PerGroup | PerAxis) and x.dim() == 2 and size > 1
        by_token = isinstance(config.granularity, PerToken) and not config.is_symmetric
        is_learned = config.range_learning and not config.is_symmetric
        return (
            (by_group or by_token)
            and x.dtype == config.scale_precision == torch.float32
            and not (config.zero_point_precision.is_floating_point or is_learned)
            and config.zero_point_domain == ZeroPointDomain.INT
            and x.numel() > 0
            and x.shape[-1] % size == 0
        )

    def _choose(self, x, size):
        """Scale and zero_point by torchao's own functions."""
        config = self.config
        if isinstance(config.granularity, PerToken):
            ends, block = _DTYPE_TO_QVALUE_BOUNDS[config.dtype], [1] * (x.dim() - 1) + [size]
            types = {"scale_dtype": config.scale_precision, "zero_point_dtype": config.zero_point_precision}
            found = choose_qparams_affine(
                x, MappingType.ASYMMETRIC, block, config.dtype, *ends, eps=config.eps, **types
            )
        else:
            choose = get_group_qparams_symmetric if config.is_symmetric else get_groupwise_affine_qparams
            found = choose(x, _DTYPE_TO_BIT_WIDTH[config.dtype], size, config.scale_precision, eps=config.eps)
        self.scale, self.zero_point = found[0], found[1].to(config.zero_point_precision)
        self._maybe_update_qparams_for_range_learning()


def replace(model):
    """Put fq's fake quantization in the places of torchao's, of weights and of activations.

    Parameters
    ----------
    model : torch.nn.Module
        After ``quantize_(model, QATConfig(..., step="prepare"))``.

    Returns
    -------
    torch.nn.Module
        The model, which has changed. ``quantize_(model, QATConfig(..., step="convert"))`` takes it.

    Examples
    --------
    >>> import torch
    >>> from torchao.quantization import quantize_
    >>> from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig
    >>> model = torch.nn.Sequential(torch.nn.Linear(32, 8))
    >>> weight = IntxFakeQuantizeConfig(torch.int4, group_size=32)
    >>> quantize_(model, QATConfig(weight_config=weight, step="prepare"))
    >>> type(replace(model)[0].weight_fake_quantizer).__module__
    'fq.torch.torchao'
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is qat.IntxFakeQuantizer:
                ours = IntxFakeQuantizer(child.config)
                ours.__dict__.update(child.__dict__)
                setattr(parent, name, ours)
    return model
