"""LearnableFakeQuantize: how it starts, that its scale stays positive, and what it learns."""

import copy
import io
import math

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402

import fq.torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
Learnable = fq.torch.LearnableFakeQuantize
X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
PLACES = {
    "a tensor": {},
    "an axis": {"axis": 0, "channels": 6},
    "the last axis": {"axis": -1, "channels": 8},
    "groups": {"group": 4, "shape": (6, 8)},
}


def rows_of(x, place):
    if "group" in place:
        return x.reshape(-1, 4)
    return x.reshape(1, -1) if not place else x.movedim(place["axis"], 0).flatten(1)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_first_batch_chooses_scale_by_the_rule(place):
    module, rows = Learnable(-8, 7, **place), rows_of(X, place)
    module(X)
    expected = 2 * rows.abs().mean(1) / math.sqrt(7)
    assert torch.allclose(module.scale.detach().reshape(-1), expected, rtol=1e-6)
    before = module.scale.detach().clone()
    module(3 * X)
    assert torch.equal(module.scale, before)
    weights = Learnable(-8, 7, rule="lsq+", **place)
    weights(X)
    ends = [rows.mean(1) + sign * 3 * rows.std(1, correction=0) for sign in (-1, 1)]
    assert torch.allclose(weights.scale.detach().reshape(-1), torch.maximum(*map(torch.abs, ends)) / 8, rtol=1e-6)
    activations = Learnable(0, 15, learn_zero_point=True, **place)
    y = activations(X)
    assert ((y - X).abs() <= activations.scale.max() * 0.51).all()


@pytest.mark.parametrize("learn_zero_point", [False, True])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_y_and_gradients_are_those_of_the_function(place, learn_zero_point):
    module = Learnable(-8, 7, learn_zero_point=learn_zero_point, **place)
    module.start(X)
    x = X.clone().requires_grad_()
    y = module(x)
    y.square().sum().backward()
    scale, zero_point = module.scale.detach().clone().requires_grad_(), module.zero_point.detach().clone()
    zero_point = zero_point.requires_grad_(learn_zero_point)
    twin = X.clone().requires_grad_()
    seen = twin.reshape(6, 2, 4) if "group" in place else twin
    shape = (-1, 1) if place.get("axis") == 0 else scale.shape
    y_twin = fq.torch.fake_quantize_learnable(seen, scale.reshape(shape), zero_point.reshape(shape), -8, 7)
    y_twin.square().sum().backward()
    assert torch.equal(y, y_twin.reshape(6, 8))
    assert torch.equal(x.grad, twin.grad)
    factor = fq.scale_gradient_factor(X.numel() // scale.numel(), 7)
    assert torch.allclose(module.scale.grad, scale.grad * factor, rtol=1e-6)
    if learn_zero_point:
        assert torch.allclose(module.zero_point.grad, zero_point.grad * factor, rtol=1e-6)


def test_the_scale_that_is_used_is_positive_whatever_the_optimizer_does():
    module = Learnable(-8, 7, eps=1e-3)
    module(X)
    for value in (0.0, -1e3, 1e-30):
        with torch.no_grad():
            module.scale.fill_(value)
        module.zero_grad()
        y = module(X)
        assert torch.isfinite(y).all()
        assert torch.equal(y, fq.torch.fake_quantize(X, 1e-3, 0, -8, 7))
        (y - X).square().sum().backward()
        assert module.scale.grad < 0  # a step makes scale larger again


def test_adam_does_not_lose_a_scale():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), Learnable(0, 15, learn_zero_point=True), nn.Linear(16, 1))
    optimizer, losses = torch.optim.Adam(net.parameters(), 0.03), []
    for _ in range(200):
        loss = (net(X) - X.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_state_goes_round():
    module = Learnable(-8, 7)
    module(X)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = Learnable(-8, 7)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(3 * X), module(3 * X))
    assert set(module.state_dict()) == {"scale", "zero_point", "started"}
    assert torch.equal(copy.deepcopy(module)(X), module(X))
    fresh = Learnable(-8, 7)
    fresh.load_state_dict(Learnable(-8, 7).state_dict())
    fresh(X)
    assert torch.equal(fresh.scale, module.scale)


@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Learnable(-8, 7),
        fq.torch.FusedMovingAvgObsFakeQuantize,
        lambda: fq.torch.FakeQuantize(quant_min=0, quant_max=255),
    ],
)
def test_ranges_stay_float32_in_a_model_of_another_type(make, cast):
    net = nn.Sequential(nn.Linear(8, 8), make()).to(cast)
    y = net(X.to(cast))
    assert y.dtype == net[0].weight.dtype == cast
    kept = [*net[1].parameters(), *net[1].buffers()]
    assert {t.dtype for t in kept if t.is_floating_point()} == {torch.float32}
    y.float().sum().backward()


def test_what_is_refused_names_the_module():
    module = Learnable(-8, 7)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match=r"LearnableFakeQuantize: the first batch, of shape \(2,\), has NaN"):
            module(torch.tensor([bad, 1.0]))
    assert not module.started
    assert module(torch.zeros(0, 3)).shape == (0, 3)
    assert not module.started
    module(X)
    with torch.no_grad():
        module.scale.fill_(torch.nan)
    with pytest.raises(ValueError, match="LearnableFakeQuantize: scale must be positive"):
        module(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"axis": 0}, "axis and channels"),
        ({"group": 4}, "group and shape"),
        ({"axis": 0, "channels": 2, "group": 4, "shape": (2, 8)}, "or none"),
        ({"group": 3, "shape": (2, 8)}, r"last axis of \(2, 8\) cannot be cut into groups of 3"),
        ({"rule": "median"}, "rule must be one of lsq"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Learnable(-8, 7, **settings)
    with pytest.raises(ValueError, match="must hold 0 and another level"):
        Learnable(1, 7)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_started_module_compiles_whole_and_transforms(place):
    torch.compiler.reset()
    module = Learnable(-8, 7, **place)
    module(X)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    results = []
    for call in (module, compiled):
        module.zero_grad()
        y = call(X)
        y.square().sum().backward()
        results.append((y.detach(), module.scale.grad.clone()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-6)
    tangent = torch.func.jvp(module, (X,), (torch.ones_like(X),))[1]
    assert set(tangent.unique().tolist()) <= {0.0, 1.0}
    torch.compiler.reset()
