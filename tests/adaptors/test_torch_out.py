"""Out of PyTorch: torch.export without observers, and ONNX's QuantizeLinear and DequantizeLinear, with fq's values."""

import io
from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402
from torch.ao import quantization as theirs  # noqa: E402

import fq.torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
GRIDS = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "part of int8": (-3, 100),
    "part of uint8": (0, 200),
    "part of uint16": (0, 1000),
}
PLACES = {"a tensor": (), "an axis": (6, 1), "the last axis": (8,), "blocks": (5, 6, 1)}
X = torch.randn(5, 6, 8, generator=torch.Generator().manual_seed(0))


class Function(nn.Module):
    def __init__(self, grid, shape, learns=False):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        scale = 6 / (grid[1] - grid[0]) * (1 + torch.rand(shape, generator=generator))
        zero_point = torch.full(shape, (grid[0] + grid[1]) // 2)
        self.grid, self.function = grid, fq.torch.fake_quantize_learnable if learns else fq.torch.fake_quantize
        self.scale = nn.Parameter(scale) if learns else nn.Buffer(scale)
        self.zero_point = nn.Parameter(zero_point.float()) if learns else nn.Buffer(zero_point)

    def forward(self, x):
        return self.function(x, self.scale, self.zero_point, *self.grid)


def onnx_of(net, x):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    settings = {"dynamo": True, "opset_version": 21, "verbose": False}
    return torch.onnx.export(net, (x,), **settings, custom_translation_table=fq.torch.onnx_translations())


def run(program, x):
    runtime = pytest.importorskip("onnxruntime")
    file = io.BytesIO()
    program.save(file)
    session = runtime.InferenceSession(file.getvalue())
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def nodes(program):
    return Counter(node.op_type for node in program.model.graph)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("shape", PLACES.values(), ids=PLACES)
def test_onnx_has_the_values_of_the_function(grid, shape):
    net = Function(grid, shape)
    program = onnx_of(net, X)
    found = nodes(program)
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == 1
    assert np.array_equal(run(program, X), net(X).numpy())


@pytest.mark.parametrize("learns", [False, True])
def test_onnx_of_what_asks_for_gradients(learns):
    net = nn.Sequential(nn.Linear(8, 8), Function((-8, 7), (8,), learns))
    program = onnx_of(net, X)
    assert nodes(program)["QuantizeLinear"] == 1
    assert np.allclose(run(program, X), net(X).detach().numpy(), atol=net[1].scale.max().item() * 1.01)


def test_onnx_refuses_what_it_has_no_integers_for():
    with pytest.raises(Exception, match="no integers of at most 16 bits"):
        onnx_of(Function((-(2**20), 2**20), ()), X)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu, self.linear = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4 * 16, 5)
        self.quant = theirs.QuantStub()

    def forward(self, x):
        return self.linear(self.relu(self.conv(self.quant(x))).flatten(1))


def trained(version=1):
    net = Net().train()
    net.qconfig = fq.torch.get_default_qat_qconfig("x86", version)
    net = theirs.prepare_qat(net)
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    for _ in range(3):
        net(x).square().mean().backward()
    net.apply(theirs.disable_observer)
    return net.eval(), x


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("observing", [False, True])
def test_an_exported_model_has_no_observer_and_goes_round(version, observing):
    net, x = trained(version)
    if observing:
        net.apply(theirs.enable_observer)
    program = torch.export.export(net, (x,))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not {name for name in called if "aminmax" in name or "fused_moving" in name}
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    net.apply(theirs.disable_observer)
    assert torch.equal(torch.export.load(file).module()(x), net(x))


@pytest.mark.parametrize("version", [0, 1])
def test_onnx_of_a_trained_model_quantizes_what_it_quantized(version):
    net, x = trained(version)
    program = onnx_of(net, x)
    quantizers = sum(isinstance(module, theirs.FakeQuantizeBase) for module in net.modules())
    found = nodes(program)
    assert found["QuantizeLinear"] == found["DequantizeLinear"] == quantizers
    assert not {"ReduceMin", "ReduceMax", "Min", "Max"} & set(found)
    assert np.allclose(run(program, x), net(x).detach().numpy(), atol=1e-5)


def test_a_module_that_saw_nothing_or_is_switched_off_is_exported_as_that():
    module = fq.torch.FusedMovingAvgObsFakeQuantize(
        observer=theirs.MovingAveragePerChannelMinMaxObserver,
        quant_min=-8,
        quant_max=7,
        qscheme=torch.per_channel_symmetric,
        dtype=torch.qint8,
    )
    with pytest.raises(Exception, match="has seen no batch"):
        torch.export.export(module, (X,))
    module(X)
    theirs.disable_fake_quant(module)
    assert torch.equal(torch.export.export(module, (X,)).module()(X), X)
    theirs.enable_fake_quant(module)
    assert not torch.equal(torch.export.export(module, (X,)).module()(X), X)


def test_exported_training_graphs_are_trained_on():
    net, x = trained()
    program = torch.export.export(net, (x,)).module()
    program(x).square().mean().backward()
    assert all(p.grad is not None for p in program.parameters())
