"""torchao's two ways to train: PT2E's quantizers, and quantize_ with a QATConfig, with fq's fake quantization."""

import copy
import doctest
import importlib
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402

with warnings.catch_warnings():  # of torchao, when it is imported
    warnings.simplefilter("ignore")
    pytest.importorskip("torchao", reason="torchao is not installed")
    from torchao.quantization import quantize_
    from torchao.quantization.pt2e import move_exported_model_to_eval, move_exported_model_to_train
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig

    import fq.torch.pt2e as pt2e
    import fq.torch.torchao as ao

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bn, self.linear = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8 * 16, 5)

    def forward(self, x):
        return self.linear(torch.relu(self.bn(self.conv(x))).flatten(1))


def trained(config, steps=4):
    """The losses, and the model that was prepared."""
    x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    exported = torch.export.export(Net().eval(), (x,), strict=True).module()
    prepared = prepare_qat_pt2e(exported, x86.X86InductorQuantizer().set_global(config))
    move_exported_model_to_train(prepared)
    optimizer, losses = torch.optim.SGD(prepared.parameters(), 0.05), []
    for step in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(prepared(x * (1 + step / 10)), torch.arange(4))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    move_exported_model_to_eval(prepared)
    return losses, prepared, x


def test_pt2e_trains_to_the_same_losses_and_converts_to_the_same_model():
    config = x86.get_default_x86_inductor_quantization_config(is_qat=True)
    expected, theirs, x = trained(config)
    found, ours, _ = trained(pt2e.quantization_config(config))
    assert found == expected
    kinds = {type(m).__module__ for m in ours.modules() if "FakeQuantize" in type(m).__name__}
    assert kinds == {"fq.torch.pt2e"}
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))
        converted = [convert_pt2e(copy.deepcopy(one)) for one in (ours, theirs)]
        assert torch.equal(*(one(x) for one in converted))
    assert not [m for m in converted[0].modules() if "FakeQuantize" in type(m).__name__]


CONFIGS = {
    "int4 groups": IntxFakeQuantizeConfig(torch.int4, group_size=16),
    "int4 affine groups": IntxFakeQuantizeConfig(torch.int4, group_size=16, is_symmetric=False),
    "int8 channels": IntxFakeQuantizeConfig(torch.int8, "per_channel"),
    "int8 tokens": IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False),
}


def run(module, x):
    x = x.clone().requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = module(x)
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    return y.detach(), dx, {id(t.untyped_storage()): t for t in kept}.values()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_quantizer_of_torchao_has_torchaos_values_and_keeps_bits(config):
    ours, theirs = (one(config) for one in (ao.IntxFakeQuantizer, ao.qat.IntxFakeQuantizer))
    x = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(run(ours, x)[:2], run(theirs, x)[:2], strict=True):
        assert torch.allclose(found, expected, rtol=1e-6, atol=0)
    y, _, kept = run(ours, x)
    assert torch.equal(y, theirs(x))
    assert sum(t.untyped_storage().nbytes() for t in kept) <= x.numel() // 8
    assert torch.equal(ours.scale, theirs.scale)
    assert torch.equal(ours.zero_point, theirs.zero_point)
    ours.enabled = False
    assert ours(x) is x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_fq_does_not_compute_alike_is_torchaos(dtype):
    config = CONFIGS["int4 groups"]
    x = torch.randn(6, 64).to(dtype)
    assert torch.equal(ao.IntxFakeQuantizer(config)(x), ao.qat.IntxFakeQuantizer(config)(x))


def losses(replaces):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    activation, weight = CONFIGS["int8 tokens"], CONFIGS["int4 groups"]
    quantize_(net, QATConfig(activation_config=activation, weight_config=weight, step="prepare"))
    if replaces:
        ao.replace(net)
        assert all(type(m).__module__ != "torchao.quantization.qat.fake_quantizer" for m in net.modules())
    optimizer, found = torch.optim.SGD(net.parameters(), 0.1), []
    x = torch.randn(16, 32, generator=torch.Generator().manual_seed(1))
    for _ in range(8):
        loss = nn.functional.cross_entropy(net(x), torch.arange(16) % 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    quantize_(net, QATConfig(step="convert"))
    return found, net(x)


def test_a_replaced_model_trains_as_torchaos_and_converts():
    (found, y), (expected, _) = losses(True), losses(False)
    assert found == pytest.approx(expected, rel=1e-4)
    assert found[-1] < found[0]
    assert y.shape == (16, 4)


@pytest.mark.parametrize("name", ["fq.torch.pt2e", "fq.torch.torchao"])
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
