"""fq's fake quantization for torchao's ``prepare_qat_pt2e`` and ``convert_pt2e``. Needs torchao.

::

    config = fq.torch.pt2e.quantization_config(get_default_x86_inductor_quantization_config(is_qat=True))
    quantizer = X86InductorQuantizer().set_global(config)
"""

import dataclasses

try:
    from torchao.quantization import pt2e
except ModuleNotFoundError as error:
    raise ImportError("fq.torch.pt2e needs torchao: pip install torchao") from error

from fq.torch._modules import Fixed, Fused, Observing

__all__ = ["FakeQuantize", "FixedQParamsFakeQuantize", "FusedMovingAvgObsFakeQuantize", "quantization_config"]


class FakeQuantize(Observing, pt2e.FakeQuantize):
    """Takes the place of torchao's ``FakeQuantize``, as `fq.torch.FakeQuantize` does of PyTorch's.

    Parameters
    ----------
    observer, quant_min, quant_max, is_dynamic, **observer_kwargs
        As for torchao's class.
    inplace : bool
        As for `fq.torch.FakeQuantize`.

    Raises
    ------
    ValueError
        As for `fq.torch.FakeQuantize`.

    Examples
    --------
    >>> import torch
    >>> module = FakeQuantize(quant_min=0, quant_max=3)
    >>> module(torch.tensor([0.0, 0.4, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """


class FixedQParamsFakeQuantize(Fixed, pt2e.FixedQParamsFakeQuantize):
    """Takes the place of torchao's ``FixedQParamsFakeQuantize``.

    Parameters
    ----------
    observer
        As for torchao's class.
    inplace : bool
        As for `fq.torch.FakeQuantize`.

    Raises
    ------
    ValueError
        When called, if scale or zero_point is refused.

    Examples
    --------
    >>> import torch
    >>> from torchao.quantization.pt2e.observer import default_fixed_qparams_range_0to1_observer as observer
    >>> FixedQParamsFakeQuantize(observer)(torch.tensor([0.2, 1.5])).tolist()
    [0.19921875, 0.99609375]
    """


class FusedMovingAvgObsFakeQuantize(Fused, pt2e.FusedMovingAvgObsFakeQuantize):
    """Takes the place of torchao's ``FusedMovingAvgObsFakeQuantize``, with scale and zero_point found in the same call.

    Parameters
    ----------
    observer, quant_min, quant_max, **observer_kwargs
        As for torchao's class.
    inplace : bool
        As for `fq.torch.FakeQuantize`.

    Raises
    ------
    ValueError
        As for `fq.torch.FakeQuantize`.

    Examples
    --------
    >>> import torch
    >>> module = FusedMovingAvgObsFakeQuantize(quant_min=0, quant_max=3)
    >>> module(torch.tensor([0.0, 0.4, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """


_OURS = {
    pt2e.FakeQuantize: FakeQuantize,
    pt2e.FixedQParamsFakeQuantize: FixedQParamsFakeQuantize,
    pt2e.FusedMovingAvgObsFakeQuantize: FusedMovingAvgObsFakeQuantize,
}


def quantization_config(config):
    """The configuration of a quantizer with fq's fake quantization in the places of torchao's.

    Parameters
    ----------
    config : torchao.quantization.pt2e.quantizer.QuantizationConfig
        As ``get_default_x86_inductor_quantization_config(is_qat=True)`` gives it, and those of other quantizers.

    Returns
    -------
    QuantizationConfig
        The same, but for the factories of fake quantizers. Observers stay as they are.

    Raises
    ------
    TypeError
        If config is no dataclass.

    Examples
    --------
    >>> from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    >>> config = quantization_config(x86.get_default_x86_inductor_quantization_config(is_qat=True))
    >>> type(config.input_activation.observer_or_fake_quant_ctr()).__module__
    'fq.torch.pt2e'
    """
    changed = {}
    for field in dataclasses.fields(config):
        spec = getattr(config, field.name)
        factory = getattr(spec, "observer_or_fake_quant_ctr", None)
        partial = getattr(factory, "p", None)
        ours = _OURS.get(getattr(partial, "func", factory))
        if ours is not None:
            with_arguments = ours.with_args(**(partial.keywords if partial else {}))
            changed[field.name] = dataclasses.replace(spec, observer_or_fake_quant_ctr=with_arguments)
    return dataclasses.replace(config, **changed)
