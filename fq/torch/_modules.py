"""The modules of torch.ao.quantization that fake-quantize in training, with fq's kernels and packed masks."""

import torch
from torch.ao import quantization
from torch.ao.quantization.fake_quantize import _is_float_qparams

from fq.torch import _arguments, _operators


class _Packed:
    """What both modules do once scale and zero_point are known."""

    def __init__(self, *args, inplace=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.inplace = inplace

    def extra_repr(self):
        """PyTorch's, and whether x is overwritten."""
        return super().extra_repr() + ", inplace=True" * self.inplace

    def grid(self, x):
        """scale, zero_point, qmin and qmax, which broadcast into x."""
        scale, zero_point = self.scale, self.zero_point
        if self.is_per_channel:
            shape = [1] * x.dim()
            shape[self.ch_axis] = -1
            scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
        observer = self.activation_post_process
        return scale, zero_point, observer.quant_min, observer.quant_max

    def quantize(self, x, enabled=None):
        """x by this grid in PyTorch's arithmetic, or a copy of x where `enabled` holds 0."""
        return _operators.fixed(*_arguments.read(x, *self.grid(x)), True, enabled, self.inplace)


class FakeQuantize(_Packed, quantization.FakeQuantize):
    """Takes the place of `torch.ao.quantization.FakeQuantize`, and keeps at most a bit an element for the backward.

    Observer, switches, ``state_dict``, ``with_args``, and values on finite inputs are those of PyTorch's module (but
    for the sign of zeros: fq never gives -0.0). NaN stays NaN; PyTorch makes the first level of it.

    Parameters
    ----------
    observer, quant_min, quant_max, is_dynamic, **observer_kwargs
        As for `torch.ao.quantization.FakeQuantize`. An observer whose zero points are real numbers
        (``torch.per_channel_affine_float_qparams``) is served by PyTorch's own kernels.
    inplace : bool
        Whether x may be overwritten where the graph allows it, as for `fake_quantize`. With ``prepare_qat`` nothing but
        this module sees what it quantizes, except for the network's input: that is overwritten if it is itself a result
        with a gradient. Weights are not.

    Raises
    ------
    NotImplementedError
        When called on a tensor that is not on the CPU.

    Examples
    --------
    >>> import torch
    >>> module = FakeQuantize.with_args(observer=torch.ao.quantization.MinMaxObserver, quant_min=0, quant_max=3)()
    >>> module(torch.tensor([0.0, 0.4, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """

    def forward(self, X):
        _arguments.check_device("x", X)
        if _is_float_qparams(self.qscheme):
            return super().forward(X)
        if self.observer_enabled[0] == 1:
            self._observe(X.detach())
        return self.quantize(X) if self.fake_quant_enabled[0] == 1 else X

    def _observe(self, x):
        self.activation_post_process(x)
        for kept, new in zip((self.scale, self.zero_point), self.calculate_qparams(), strict=True):
            kept.resize_(new.shape).copy_(new)


class FusedMovingAvgObsFakeQuantize(_Packed, quantization.FusedMovingAvgObsFakeQuantize):
    """Takes the place of `torch.ao.quantization.FusedMovingAvgObsFakeQuantize`, as `FakeQuantize` does of its class.

    The observation is PyTorch's own, of the smallest and largest value: the same scale and zero_point to the last bit.

    Parameters
    ----------
    observer, quant_min, quant_max, **observer_kwargs
        As for `torch.ao.quantization.FusedMovingAvgObsFakeQuantize`.
    inplace : bool
        As for `FakeQuantize`.

    Raises
    ------
    NotImplementedError
        When called on a tensor that is not on the CPU.

    Examples
    --------
    >>> import torch
    >>> module = FusedMovingAvgObsFakeQuantize(quant_min=0, quant_max=3)
    >>> module(torch.tensor([0.0, 0.4, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """

    def forward(self, X):
        _arguments.check_device("x", X)
        self._observe(X.detach())
        return self.quantize(X, self.fake_quant_enabled)

    def _observe(self, x):
        """PyTorch's fused operator sees the ends alone, of each channel or of all: its own pass over x is spared."""
        if torch.compiler.is_compiling() or self.observer_enabled[0] == 1:
            if self.is_per_channel:  # apart, as PyTorch finds both at once in ten times the time
                rows = x.movedim(self.ch_axis, 0).flatten(1)
                ends = rows.amin(1), rows.amax(1)
            else:
                ends = x.aminmax()
            ends = torch.stack(ends, -1).float()
        else:
            ends = torch.zeros(x.shape[self.ch_axis] if self.is_per_channel else 1, 2)
        observer = self.activation_post_process
        torch.fused_moving_avg_obs_fake_quant(
            ends,
            self.observer_enabled,
            self.fake_quant_enabled,
            observer.min_val,
            observer.max_val,
            self.scale,
            self.zero_point,
            observer.averaging_constant,
            observer.quant_min,
            observer.quant_max,
            0,
            self.is_per_channel,
            self.is_symmetric_quant,
        )


def get_default_qat_qconfig(backend="x86", version=1, *, inplace=False):
    """The QConfig of `torch.ao.quantization.get_default_qat_qconfig`, with the modules of fq.

    Parameters
    ----------
    backend : {"x86", "fbgemm", "qnnpack", "onednn"}
    version : {0, 1}
        0 for `FakeQuantize`, 1 for `FusedMovingAvgObsFakeQuantize`.
    inplace : bool
        Whether activations may be overwritten, as `FakeQuantize` says.

    Returns
    -------
    torch.ao.quantization.QConfig

    Raises
    ------
    AssertionError
        For another backend or version, by PyTorch.

    Examples
    --------
    >>> type(get_default_qat_qconfig("fbgemm").activation()).__name__
    'FusedMovingAvgObsFakeQuantize'
    """
    theirs = quantization.get_default_qat_qconfig(backend, version)
    return quantization.QConfig(_ours(theirs.activation).with_args(inplace=inplace), _ours(theirs.weight))


def _ours(factory):
    """A factory of PyTorch's modules as one of fq's, with the same arguments."""
    modules = {
        quantization.FakeQuantize: FakeQuantize,
        quantization.FusedMovingAvgObsFakeQuantize: FusedMovingAvgObsFakeQuantize,
    }
    partial = factory.p
    return modules[partial.func].with_args(*partial.args, **partial.keywords)
