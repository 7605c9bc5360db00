"""fq.torch's modules in the place of PyTorch's: the same training to the last bit, with a bit per element kept."""

import copy
import doctest
import importlib

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.ao import quantization as theirs  # noqa: E402

import fq.torch as ours  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")

CLASSES = ["FakeQuantize", "FusedMovingAvgObsFakeQuantize"]
MOVING = theirs.MovingAverageMinMaxObserver
PER_CHANNEL = {
    "observer": theirs.MovingAveragePerChannelMinMaxObserver,
    "quant_min": -128,
    "quant_max": 127,
    "dtype": torch.qint8,
    "qscheme": torch.per_channel_symmetric,
}
SETTINGS = {
    "default": {"observer": MOVING, "quant_min": 0, "quant_max": 255},
    "reduced": {"observer": MOVING, "quant_min": 0, "quant_max": 255, "reduce_range": True},
    "4 bits": {"observer": MOVING, "quant_min": 0, "quant_max": 15, "averaging_constant": 0.3},
    "symmetric": {
        "observer": MOVING,
        "quant_min": -128,
        "quant_max": 127,
        "dtype": torch.qint8,
        "qscheme": torch.per_tensor_symmetric,
    },
    "per channel": PER_CHANNEL,
    "axis 1": PER_CHANNEL | {"ch_axis": 1},
    "affine channels": PER_CHANNEL | {"qscheme": torch.per_channel_affine},
}


def pair(name, **settings):
    return getattr(theirs, name)(**settings), getattr(ours, name)(**settings)


def run(module, x):
    x = x.detach().requires_grad_()
    y = module(x)
    (dx,) = torch.autograd.grad(y, x, torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape) + 1)
    return y.detach(), dx


def assert_alike(their, our, x):
    for expected, found in zip(run(their, x), run(our, x), strict=True):
        assert torch.equal(expected, found)
    assert their.state_dict().keys() == our.state_dict().keys()
    for name, expected in their.state_dict().items():
        assert torch.equal(expected, our.state_dict()[name]), name
        assert expected.dtype == our.state_dict()[name].dtype


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_values_gradients_and_state_are_those_of_pytorch_step_by_step(name, settings):
    if name == CLASSES[1] and settings.get("ch_axis"):
        pytest.skip("PyTorch's fused operator takes axis 0 alone")
    their, our = pair(name, **settings)
    generator = torch.Generator().manual_seed(0)
    for step in range(6):
        x = torch.randn(4, 5, 3, 2, generator=generator) * 3**step
        assert_alike(their, our, x if step % 2 else x.contiguous(memory_format=torch.channels_last))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("settings", [SETTINGS["default"], PER_CHANNEL], ids=["per tensor", "per channel"])
def test_switches(name, settings):
    their, our = pair(name, **settings)
    x = torch.randn(5, 7)
    switches = ["disable_observer", "enable_observer", "disable_fake_quant", "disable_observer", "enable_fake_quant"]
    assert_alike(their, our, x)
    for switch in switches:
        for module in (their, our):
            module.apply(getattr(theirs, switch))
        assert_alike(their, our, x := x * 1.5)


@pytest.mark.parametrize("name", CLASSES)
def test_state_goes_from_one_to_the_other_and_back(name):
    for settings in (SETTINGS["default"], PER_CHANNEL):
        their, our = pair(name, **settings)
        for _ in range(3):
            their(torch.randn(4, 3))
        our.load_state_dict(their.state_dict())
        theirs.disable_observer(our)
        theirs.disable_observer(their)
        assert_alike(their, our, torch.randn(4, 3))
        back = getattr(theirs, name)(**settings)
        back.load_state_dict(our.state_dict())
        assert_alike(back, our, torch.randn(4, 3))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(("settings", "amount"), [(SETTINGS["default"], 8 * 9 * 2), (PER_CHANNEL, 8 * 18)])
def test_it_keeps_bits_alone_and_one_byte_where_all_is_inside(name, settings, amount):
    module = getattr(ours, name)(**settings)
    x = torch.randn(8, 16, 3, 3).clamp(max=1).requires_grad_()
    kept = []
    for given, held in ((x, 1), (3 * x, amount)):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            y = module(given.detach().requires_grad_())
        assert [(t.dtype, t.numel(), t.untyped_storage().nbytes()) for t in kept] == [(torch.uint8, amount, held)]
        assert y.requires_grad


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_a_checkpoint_finds_as_much_saved_when_it_runs_again(name, inplace):
    module = getattr(ours, name)(**SETTINGS["4 bits"], inplace=inplace)
    generator = torch.Generator().manual_seed(0)
    inside = set()
    for _ in range(40):
        x = torch.randn(4, 8, generator=generator).requires_grad_()
        y = torch.utils.checkpoint.checkpoint(lambda x: module(x * 1).exp(), x, use_reentrant=False)
        y.sum().backward()
        inside.add(bool((x.grad != 0).all()))
    assert inside == {False, True}


@pytest.mark.parametrize("name", CLASSES)
def test_it_is_a_subclass_that_copies_and_takes_arguments(name):
    factory = getattr(ours, name).with_args(quant_min=0, quant_max=15).with_args(averaging_constant=0.5)
    module = factory()
    assert isinstance(module, getattr(theirs, name))
    assert isinstance(module, theirs.FakeQuantizeBase)
    module(torch.tensor([0.0, 15.0]))
    module(torch.tensor([0.0, 45.0]))
    assert module.scale.item() == 2.0
    twin = copy.deepcopy(module)
    assert torch.equal(twin(torch.tensor([3.0])), module(torch.tensor([3.0])))


def test_fused_takes_any_axis():
    first, last = (ours.FusedMovingAvgObsFakeQuantize(**PER_CHANNEL | {"ch_axis": axis}) for axis in (0, 2))
    for x in torch.randn(3, 5, 4, 6):
        assert torch.equal(first(x), last(x.permute(1, 2, 0)).permute(2, 0, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_fused_takes_types_that_pytorch_does_not(dtype):
    x = torch.tensor([0.0, 0.3, 2.0, 15.0], dtype=dtype)
    y = ours.FusedMovingAvgObsFakeQuantize(quant_min=0, quant_max=15)(x)
    assert y.dtype == dtype
    assert y.tolist() == [0.0, 0.0, 2.0, 15.0]


def test_real_zero_points_are_left_to_pytorch():
    settings = {
        "observer": theirs.PerChannelMinMaxObserver,
        "dtype": torch.quint8,
        "qscheme": torch.per_channel_affine_float_qparams,
        "ch_axis": 0,
    }
    assert_alike(*pair("FakeQuantize", **settings), torch.randn(3, 8))


def test_fused_compiles_without_a_graph_break():
    torch.compiler.reset()
    for settings in (SETTINGS["default"], PER_CHANNEL):
        plain, compiled = (ours.FusedMovingAvgObsFakeQuantize(**settings) for _ in range(2))
        function = torch.compile(compiled, fullgraph=True, backend="aot_eager")
        plain(torch.zeros(4, 3)), compiled(torch.zeros(4, 3))  # which sizes the buffers
        for step, switch in enumerate(("enable_fake_quant", "disable_fake_quant", "disable_observer")):
            for module in (plain, compiled):
                getattr(theirs, switch)(module)
            x = torch.randn(4, 3) * (step + 1)
            assert all(torch.equal(a, b) for a, b in zip(run(plain, x), run(function, x), strict=True))
            assert all(torch.equal(a, compiled.state_dict()[name]) for name, a in plain.state_dict().items())


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.quant, self.dequant = theirs.QuantStub(), theirs.DeQuantStub()
        self.conv, self.bn, self.relu = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        self.deep = torch.nn.Conv2d(8, 8, 3, groups=8)
        self.linear = torch.nn.Linear(8 * 4 * 4, 5)

    def forward(self, x):
        x = self.deep(self.relu(self.bn(self.conv(self.quant(x)))))
        return self.dequant(self.linear(x.flatten(1)))


class NetWithSum(Net):
    """Of what is quantized, one is saved by its producer, one added to another, one flattened, one none of these."""

    def __init__(self):
        super().__init__()
        self.deep, self.add = torch.nn.Conv2d(8, 8, 3, padding=1), torch.ao.nn.quantized.FloatFunctional()
        self.linear = torch.nn.Linear(8 * 6 * 6, 5)

    def forward(self, x):
        x = self.relu(self.bn(self.conv(self.quant(x))))
        return self.linear(self.add.add(x, self.deep(x)).flatten(1))


def losses(qconfig, fuse, steps=8, net=Net):
    net = net().train()
    if fuse:
        net = theirs.fuse_modules_qat(net, [["conv", "bn", "relu"]])
    net.qconfig = qconfig
    net = theirs.prepare_qat(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    generator = torch.Generator().manual_seed(1)
    found = []
    for step in range(steps):
        x = torch.randn(6, 3, 8, 8, generator=generator)
        before = x.clone()
        loss = torch.nn.functional.cross_entropy(net(x), torch.arange(6) % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.equal(x, before)
        found.append(loss.item())
        if step == 5:
            net.apply(theirs.disable_observer)
    return found, net


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    "backend", ["x86", *(pytest.param(one, marks=pytest.mark.slow) for one in ("fbgemm", "qnnpack", "onednn"))]
)
def test_prepare_qat_trains_to_the_same_losses(backend, version, fuse):
    expected, _ = losses(theirs.get_default_qat_qconfig(backend, version), fuse)
    found, net = losses(ours.get_default_qat_qconfig(backend, version), fuse)
    assert found == expected
    assert found[-1] < found[0]
    modules = [type(m) for m in net.modules() if isinstance(m, theirs.FakeQuantizeBase)]
    assert modules
    assert all(module.__module__.startswith("fq.torch") for module in modules)


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("version", [0, 1])
def test_prepare_qat_in_place_trains_to_the_same_losses_and_keeps_the_batch(version, fuse):
    expected, _ = losses(theirs.get_default_qat_qconfig("fbgemm", version), fuse, net=NetWithSum)
    found, net = losses(ours.get_default_qat_qconfig("fbgemm", version, inplace=True), fuse, net=NetWithSum)
    assert found == expected
    quantizers = [m for m in net.modules() if isinstance(m, theirs.FakeQuantizeBase)]
    assert {m.inplace for m in quantizers} == {False, "results"}
    assert all(bool(m.inplace) == (m.qscheme == torch.per_tensor_affine) for m in quantizers)


class Branches(torch.nn.Module):
    """Modules that hand their input on, each before a stub's fake quantization, while another branch reads it too."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.conv = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3, padding=1)
        self.quant, self.other, self.between = theirs.QuantStub(), theirs.QuantStub(), between

    def forward(self, x):
        f = self.first(x)
        return self.conv(self.quant(self.between(f))) + self.other(f) + f


HANDING_ON = {
    "nothing": torch.nn.Identity,
    "dropout of nothing": lambda: torch.nn.Dropout(0.0),
    "a view": lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Unflatten(1, (4, 6, 6))),
    "a stub": lambda: torch.nn.Sequential(theirs.QuantStub(), theirs.QuantStub()),
}


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("between", HANDING_ON.values(), ids=HANDING_ON)
def test_in_place_a_stub_leaves_its_input_to_others(between, version):
    def results(qconfig, inplace=False):
        net = Branches(between())
        net.first.qconfig = None
        net.qconfig = qconfig
        net = theirs.prepare_qat(net.train())
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        kept, before = [], x.clone()
        net.first.register_forward_hook(lambda module, given, result: kept.extend((result, result.detach().clone())))
        loss = net(x).square().mean()
        loss.backward()
        assert torch.equal(x, before)
        assert torch.equal(*kept)
        return loss.item(), *(p.grad for p in net.parameters() if p.grad is not None)

    expected = results(theirs.get_default_qat_qconfig("fbgemm", version))
    found = results(ours.get_default_qat_qconfig("fbgemm", version, inplace=True))
    assert found[0] == expected[0]
    assert all(torch.equal(a, b) for a, b in zip(found[1:], expected[1:], strict=True))


def test_results_are_overwritten_only_where_the_parent_is_known_to_compute_them_anew():
    qconfig = ours.get_default_qat_qconfig("fbgemm", inplace=True)
    h = torch.linspace(-1, 1, 24).reshape(1, 4, 2, 3).requires_grad_() * 1

    def overwrites(parent):
        module = qconfig.activation()
        if parent is not None:
            parent.activation_post_process = module
        return module.overwrites(h), copy.deepcopy(module).overwrites(h)

    class Special(torch.nn.BatchNorm2d):
        def forward(self, x):
            return x

    assert overwrites(torch.nn.BatchNorm2d(4)) == (True, True)
    assert overwrites(torch.ao.nn.quantized.FloatFunctional()) == (True, True)
    for parent in (None, theirs.QuantStub(), torch.nn.Identity(), torch.nn.ReLU(), Special(4)):
        assert overwrites(parent) == (False, False)
    shared = qconfig.activation()
    for parent in (torch.nn.BatchNorm2d(4), theirs.QuantStub(), torch.nn.BatchNorm2d(4)):
        parent.activation_post_process = shared
    assert not shared.overwrites(h)


def test_what_relu_saved_is_not_overwritten_where_functional_adds():
    add = torch.ao.nn.quantized.FloatFunctional()
    add.activation_post_process = ours.get_default_qat_qconfig("fbgemm", inplace=True).activation()
    x = torch.linspace(-1, 1, 24).requires_grad_()
    add.add_relu(x * 1, x * 1).square().sum().backward()
    assert torch.isfinite(x.grad).all()


BAD = {"NaN": torch.nan, "infinity": torch.inf, "minus infinity": -torch.inf}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("settings", [SETTINGS["default"], PER_CHANNEL], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("batches", [0, 2])
def test_a_bad_batch_is_refused_by_name_and_changes_no_statistic(name, settings, bad, batches):
    module, twin = (getattr(ours, name)(**settings) for _ in range(2))
    x = torch.linspace(-1, 2, 12).reshape(3, 4)
    for _ in range(batches):
        module(x), twin(x)
    wrong = x.clone()
    wrong[1, 2] = bad
    with pytest.raises(ValueError, match=rf"{name}: x of shape \(3, 4\) has NaN, an infinity"):
        module(wrong)
    state = twin.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert torch.equal(module(x), twin(x))


def test_a_refused_scale_names_the_module():
    module = ours.FakeQuantize(**SETTINGS["default"])
    theirs.disable_observer(module)
    module.scale.fill_(torch.nan)
    with pytest.raises(ValueError, match="FakeQuantize: scale must be positive and finite"):
        module(torch.ones(3))


def test_a_bad_batch_in_compiled_code_changes_no_statistic():
    torch.compiler.reset()
    module = ours.FusedMovingAvgObsFakeQuantize(**SETTINGS["default"])
    function = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.linspace(-1, 2, 12)
    function(x)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    wrong = torch.where(x == x[3], torch.nan, x)
    assert function(wrong).isnan().tolist() == wrong.isnan().tolist()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("settings", [SETTINGS["default"], PER_CHANNEL], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("batches", [0, 2])
def test_an_empty_batch_passes_and_changes_no_statistic(name, settings, batches):
    module, twin = (getattr(ours, name)(**settings) for _ in range(2))
    for _ in range(batches):
        module(torch.linspace(-1, 2, 10).reshape(2, 5)), twin(torch.linspace(-1, 2, 10).reshape(2, 5))
    for shape in ((2, 0), (2, 0, 3)):
        x = torch.zeros(shape, requires_grad=True)
        y = module(x)
        y.sum().backward()
        assert y.shape == x.grad.shape == shape
    state = twin.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    if settings is not PER_CHANNEL:
        assert module(torch.zeros(0, 5)).shape == getattr(theirs, CLASSES[1])()(torch.zeros(0, 5)).shape


def test_a_trained_net_converts():
    _, net = losses(ours.get_default_qat_qconfig("fbgemm"), True)
    _, reference = losses(theirs.get_default_qat_qconfig("fbgemm"), True)
    x = torch.randn(2, 3, 8, 8)
    found, expected = (theirs.convert(one.eval())(x) for one in (net, reference))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["fq.torch._functions", "fq.torch._learned", "fq.torch._modules"])
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
