"""The modules of torch.ao.quantization that fake-quantize in training, with fq's kernels and packed masks."""

import torch
from torch.ao import quantization
from torch.ao.nn import qat, quantized
from torch.ao.nn.intrinsic import qat as intrinsic
from torch.ao.quantization.fake_quantize import _is_float_qparams
from torch.nn.modules.module import register_module_module_registration_hook

from fq.torch import _arguments, _fast, _operators
from fq.torch._keep import Float32

RESULTS = "results"
# Modules whose every result is new memory, which their own backward does not need. A stub, Identity, Flatten or Dropout
# may hand its input on; ReLU saves its result. A subclass may do anything, so the types must be these themselves.
COMPUTES_ANEW = frozenset(
    {
        *(qat.Conv1d, qat.Conv2d, qat.Conv3d, qat.Linear),
        *(intrinsic.ConvBn1d, intrinsic.ConvBn2d, intrinsic.ConvBn3d, intrinsic.LinearBn1d),
        *(torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d),
        quantized.FloatFunctional,
    }
)


class _Packed(Float32):
    """What all modules do once scale and zero_point are known."""

    def __init__(self, *args, inplace=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.inplace = inplace
        self.quantizes = True  # what fake_quant_enabled holds, for tracers that see no values
        self.sees_new_results = None  # until a module takes this one as its activation_post_process

    def extra_repr(self):
        """PyTorch's, and whether x is overwritten."""
        return super().extra_repr() + (f", inplace={self.inplace}" if self.inplace else "")

    def __prepare_scriptable__(self):
        """TorchScript compiles PyTorch's module, of the same buffers, in this one's place."""
        theirs = next(one for one in type(self).__mro__ if one.__module__.startswith(("torch.", "torchao.")))
        twin = theirs.__new__(theirs)
        twin.__dict__.update(self.__dict__)
        return twin

    def enable_fake_quant(self, enabled=True):
        """PyTorch's switch."""
        super().enable_fake_quant(enabled)
        self.quantizes = bool(enabled)

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        if not self.fake_quant_enabled.is_meta:
            self.quantizes = bool(self.fake_quant_enabled[0])

    def elsewhere(self, x):
        """What torch.fx and torch.export see of the call: a leaf, or no observer. None where the call is to be done."""
        if isinstance(x, torch.fx.Proxy):
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})
        # Not is_exporting(), which Dynamo took for True in all compiled code (pytorch/pytorch#176347).
        return self.exported(x) if getattr(torch.compiler, "_is_exporting_flag", False) else None

    def exported(self, x):
        """x by the grid found so far, without an observer: what torch.export and ONNX see."""
        if self.scale.numel() == 0 or (self.is_per_channel and self.scale.numel() != x.shape[self.ch_axis]):
            raise ValueError(f"{type(self).__name__} has seen no batch: call the model on one before it is exported")
        return self.quantize(x) if self.quantizes else x

    def overwrites(self, x):
        """Whether y goes over x."""
        if self.inplace != RESULTS:
            return self.inplace
        return bool(self.sees_new_results) and _operators.is_given_up(x)

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
        if enabled is None and not (self.inplace or torch.compiler.is_compiling()):
            observer, axis = self.activation_post_process, self.ch_axis if self.is_per_channel else None
            y = _fast.fixed(x, self.scale, self.zero_point, observer.quant_min, observer.quant_max, True, axis)
            if y is not None:
                return y
        grid = _arguments.read(x, *self.grid(x))
        try:
            return _operators.fixed(*grid, True, enabled, self.overwrites(x))
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None

    def ends(self, x):
        """The smallest and largest value of each channel, or of all of x, along the last axis.

        ValueError for NaN, an infinity, or a range beyond float32, before anything is observed.
        """
        if self.is_per_channel:  # apart, as PyTorch finds both at once in ten times the time
            rows = x.movedim(self.ch_axis, 0).reshape(x.shape[self.ch_axis], -1)
            ends = torch.stack((rows.amin(1), rows.amax(1)), -1).float()
        else:
            ends = torch.stack(x.aminmax(), -1).float()
        if _waits(x) and not _is_finite(ends):
            raise ValueError(
                f"{type(self).__name__}: x of shape {tuple(x.shape)} has NaN, an infinity, or a range beyond float32; "
                "what was observed before stays as it was"
            )
        return ends


def _waits(x):
    """Whether Python may wait for the values of x."""
    return not torch.compiler.is_compiling() and x.device.type == "cpu"


def _is_finite(ends):
    """Whether every range is, as a tensor of one element."""
    return (ends[..., 1] - ends[..., 0]).mul(0).eq(0).all()


def _tell(parent, name, module):
    """Tell a module of fq whose results it will see; PyTorch calls this for every module that takes another."""
    if isinstance(module, _Packed):
        computes_anew = name == "activation_post_process" and type(parent) in COMPUTES_ANEW
        module.sees_new_results = computes_anew and module.sees_new_results is not False


register_module_module_registration_hook(_tell)


class Observing(_Packed):
    """Observer and fake quantization one after the other, over a FakeQuantize of PyTorch or torchao."""

    def forward(self, X):
        if _is_float_qparams(self.qscheme):
            return super().forward(X)
        y = self.elsewhere(X)
        if y is not None:
            return y
        if self.observer_enabled[0] == 1 and X.numel() > 0:
            self._observe(X.detach())
        return self.quantize(X) if self.fake_quant_enabled[0] == 1 else X

    def _observe(self, x):
        self.ends(x)
        self.activation_post_process(x)
        for kept, new in zip((self.scale, self.zero_point), self.calculate_qparams(), strict=True):
            kept.resize_(new.shape).copy_(new)


class FakeQuantize(Observing, quantization.FakeQuantize):
    """Takes the place of `torch.ao.quantization.FakeQuantize`, and keeps at most a bit per element for the backward.

    Observer, switches, ``state_dict``, ``with_args``, and values on finite inputs are those of PyTorch's module (but
    for the sign of zeros: fq never gives -0.0). NaN stays NaN; PyTorch makes the first level of it.

    Parameters
    ----------
    observer, quant_min, quant_max, is_dynamic, **observer_kwargs
        As for `torch.ao.quantization.FakeQuantize`. An observer whose zero points are real numbers
        (``torch.per_channel_affine_float_qparams``) is served by PyTorch's own kernels.
    inplace : bool or "results"
        True: y is written over x, as by `fake_quantize`. "results": only where this module is the
        ``activation_post_process`` of a module whose results are always new memory that its backward does not need:
        convolutions, linear layers, batch normalizations and FloatFunctional, none of them with a ReLU. Elsewhere, and
        in compiled code, y is new memory.

    Raises
    ------
    NotImplementedError
        When called on a tensor that is not on the CPU.
    ValueError
        When x that is to be observed has NaN, an infinity, or a range beyond float32: buffers stay as they were. In
        compiled code such an x is not observed, and NaN stays NaN in y.

    Examples
    --------
    >>> import torch
    >>> module = FakeQuantize.with_args(observer=torch.ao.quantization.MinMaxObserver, quant_min=0, quant_max=3)()
    >>> module(torch.tensor([0.0, 0.4, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """


class Fixed(_Packed):
    """Fake quantization without an observer."""

    def forward(self, X):
        y = self.elsewhere(X)
        if y is not None:
            return y
        return self.quantize(X) if self.fake_quant_enabled[0] == 1 else X


class FixedQParamsFakeQuantize(Fixed, quantization.FixedQParamsFakeQuantize):
    """Takes the place of `torch.ao.quantization.FixedQParamsFakeQuantize`: scale and zero_point are given.

    Parameters
    ----------
    observer
        Makes a `torch.ao.quantization.FixedQParamsObserver`.
    inplace : bool or "results"
        As for `FakeQuantize`.

    Raises
    ------
    ValueError
        When called, if scale or zero_point is refused.

    Examples
    --------
    >>> import torch
    >>> fixed = torch.ao.quantization.default_fixed_qparams_range_0to1_observer
    >>> FixedQParamsFakeQuantize(fixed)(torch.tensor([0.2, 1.5])).tolist()
    [0.19921875, 0.99609375]
    """


class Fused(_Packed):
    """Observer and fake quantization in one call, over a FusedMovingAvgObsFakeQuantize of PyTorch or torchao."""

    def forward(self, X):
        y = self.elsewhere(X)
        if y is not None:
            return y
        if not (self.inplace or torch.compiler.is_compiling()):
            y = self._in_one_call(X)
            if y is not None:
                return y
        if X.numel() > 0:
            self._observe(X.detach())
        return self.quantize(X, self.fake_quant_enabled)

    def _in_one_call(self, x):
        """y, observer included; None where C does not take the call, and nothing has changed."""
        own, observer = self._buffers, self.activation_post_process
        seen = observer._buffers
        state = own["observer_enabled"], own["fake_quant_enabled"], seen["min_val"], seen["max_val"], own["scale"]
        grid = observer.averaging_constant, observer.quant_min, observer.quant_max, self.is_symmetric_quant
        axis = self.ch_axis if self.is_per_channel else None
        return _fast.observed(x, (*state, own["zero_point"]), (*grid, axis))

    def _make_buffers(self, x):
        """Buffers of as many values as x has channels, where there are none: compiled code cannot resize them."""
        observer = self.activation_post_process
        if self.is_per_channel and observer.min_val.numel() == 0:
            ends = observer.min_val.new_full((x.shape[self.ch_axis],), torch.inf)
            observer.min_val, observer.max_val = ends, -ends
            self.scale = torch.ones_like(ends)
            self.zero_point = torch.zeros_like(ends, dtype=self.zero_point.dtype)

    def _observe(self, x):
        """PyTorch's fused operator sees the ends alone, of each channel or of all: its own pass over x is spared."""
        if torch.compiler.is_compiling():
            self._make_buffers(x)
        on = self.observer_enabled
        if not _waits(x) or on[0] == 1:
            ends = self.ends(x)
        else:
            ends = torch.zeros(x.shape[self.ch_axis] if self.is_per_channel else 1, 2)
        if not _waits(x):
            on = on * _is_finite(ends)
        observer = self.activation_post_process
        torch.fused_moving_avg_obs_fake_quant(
            ends,
            on,
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


class FusedMovingAvgObsFakeQuantize(Fused, quantization.FusedMovingAvgObsFakeQuantize):
    """Takes the place of `torch.ao.quantization.FusedMovingAvgObsFakeQuantize`, as `FakeQuantize` does of its class.

    The observation is PyTorch's own, of the smallest and largest value: the same scale and zero_point to the last bit.

    Parameters
    ----------
    observer, quant_min, quant_max, **observer_kwargs
        As for `torch.ao.quantization.FusedMovingAvgObsFakeQuantize`.
    inplace : bool or "results"
        As for `FakeQuantize`.

    Raises
    ------
    NotImplementedError, ValueError
        As for `FakeQuantize`.

    Examples
    --------
    >>> import torch
    >>> module = FusedMovingAvgObsFakeQuantize(quant_min=0, quant_max=3)
    >>> module(torch.tensor([0.0, 0.4, 3.0])).tolist()
    [0.0, 0.0, 3.0]
    """


def get_default_qat_qconfig(backend="x86", version=1, *, inplace=False):
    """The QConfig of `torch.ao.quantization.get_default_qat_qconfig`, with the modules of fq.

    Parameters
    ----------
    backend : {"x86", "fbgemm", "qnnpack", "onednn"}
    version : {0, 1}
        0 for `FakeQuantize`, 1 for `FusedMovingAvgObsFakeQuantize`.
    inplace : bool
        Whether activations are overwritten where they are results that nothing else reads, by ``inplace="results"`` of
        the modules: never what a QuantStub is given.

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
    return _ours_of(quantization.get_default_qat_qconfig(backend, version), inplace)


def get_default_qat_qconfig_mapping(backend="x86", version=1, *, inplace=False):
    """The QConfigMapping of `torch.ao.quantization.get_default_qat_qconfig_mapping`, with the modules of fq.

    Parameters
    ----------
    backend, version, inplace
        As for `get_default_qat_qconfig`.

    Returns
    -------
    torch.ao.quantization.QConfigMapping
        For ``prepare_qat_fx``. Sigmoid, tanh and the like get fixed parameters, by `FixedQParamsFakeQuantize`.

    Raises
    ------
    AssertionError
        For another backend or version, by PyTorch.

    Examples
    --------
    >>> mapping = get_default_qat_qconfig_mapping("fbgemm")
    >>> type(mapping.object_type_qconfigs["sigmoid"].activation()).__name__
    'FixedQParamsFakeQuantize'
    """
    mapping = quantization.get_default_qat_qconfig_mapping(backend, version)
    mapping.set_global(_ours_of(mapping.global_qconfig, inplace))
    for kind, qconfig in mapping.object_type_qconfigs.items():
        mapping.set_object_type(kind, _ours_of(qconfig, inplace))
    return mapping


def _ours_of(qconfig, inplace):
    """A QConfig with fq's modules in the places of PyTorch's."""
    if qconfig is None:
        return None
    activation = _ours(qconfig.activation)
    if inplace and activation is not qconfig.activation:
        activation = activation.with_args(inplace=RESULTS)
    return quantization.QConfig(activation, _ours(qconfig.weight))


def _ours(factory):
    """A factory of PyTorch's modules as one of fq's, with the same arguments; another as it is."""
    modules = {
        quantization.FakeQuantize: FakeQuantize,
        quantization.FixedQParamsFakeQuantize: FixedQParamsFakeQuantize,
        quantization.FusedMovingAvgObsFakeQuantize: FusedMovingAvgObsFakeQuantize,
    }
    partial = getattr(factory, "p", None)
    ours = modules.get(getattr(partial, "func", None))
    return factory if ours is None else ours.with_args(*partial.args, **partial.keywords)
