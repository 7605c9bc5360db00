"""fq.torch under forward mode and the transforms of torch.func: the masked tangent, the gradient, or a refusal."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import torch.autograd.forward_ad as forward_ad  # noqa: E402
from helpers import FLOAT_TYPES, GRIDS, assert_same, hard_values  # noqa: E402
from torch.ao import quantization as theirs  # noqa: E402
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap  # noqa: E402

import fq.torch  # noqa: E402
from fq.torch import _formula  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
GRID = 0.25, 0, -8, 7
X = torch.linspace(-3, 3, 24).reshape(4, 6)
ONES = torch.ones_like(X)


def fixed(x, scale=0.25):
    return fq.torch.fake_quantize(x, scale, *GRID[1:])


def reciprocal(x):
    return fq.torch.fake_quantize(x, *GRID, reciprocal=True)


def learnable(x, scale=0.25, zero_point=0):
    return fq.torch.fake_quantize_learnable(x, scale, zero_point, *GRID[2:])


def in_place(x):
    return fq.torch.fake_quantize(x * 1, *GRID, inplace=True)


def module(name):
    def run(x):
        one = getattr(fq.torch, name)(quant_min=-8, quant_max=7, dtype=torch.qint8)
        one.scale.fill_(0.25)
        theirs.disable_observer(one)
        if name.startswith("Fused"):  # which works out scale from these
            one.activation_post_process.min_val.fill_(-2.0)
            one.activation_post_process.max_val.fill_(1.75)
        return one(x)

    return run


FUNCTIONS = {
    "fixed": fixed,
    "reciprocal": reciprocal,
    "learnable": learnable,
    "in place": in_place,
    "FakeQuantize": module("FakeQuantize"),
    "FusedMovingAvgObsFakeQuantize": module("FusedMovingAvgObsFakeQuantize"),
}
MASK = torch.from_numpy(fq.forward(X.numpy(), *GRID)[1])


def by_jvp(function, x, tangent):
    return jvp(function, (x,), (tangent,))[1]


def by_dual(function, x, tangent):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, tangent))).tangent


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("way", [by_jvp, by_dual])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_forward_mode_gives_the_masked_tangent(function, way, asks):
    tangent = torch.linspace(1, 2, 24).reshape(4, 6)
    assert torch.equal(way(function, X.clone().requires_grad_(asks), tangent), tangent * MASK)


@pytest.mark.parametrize(("function", "way"), [(fixed, by_jvp), (learnable, by_dual)])
def test_forward_mode_through_what_is_compiled_is_the_masked_tangent_or_refused(function, way):
    torch.compiler.reset()
    compiled = torch.compile(function, backend="aot_eager")
    compiled(X)
    if way is by_jvp:  # PyTorch leaves the call to Python
        assert torch.equal(way(compiled, X, ONES), ONES * MASK)
    else:
        with pytest.raises(NotImplementedError, match="forward mode does not reach"):
            way(compiled, X, ONES)
    torch.compiler.reset()
    assert torch.equal(torch.compile(lambda x: way(function, x, ONES), backend="aot_eager")(X), ONES * MASK)
    torch.compiler.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(lambda x: way(function, x, ONES), backend="aot_eager", fullgraph=True)(X)


@pytest.mark.parametrize("way", [by_jvp, by_dual])
def test_operators_refuse_a_tangent(way):
    with pytest.raises(NotImplementedError, match="forward mode"):
        way(
            lambda x: torch.ops.fq.forward_packed(x, torch.tensor(0.25), torch.tensor(0), -8, 7, False, [0, 1])[0], X, X
        )


@pytest.mark.parametrize("way", [by_jvp, by_dual])
def test_forward_mode_of_learned_parameters_is_their_derivative(way):
    x, scale, zero_point = X.double(), torch.tensor(0.25).double(), torch.tensor(1.0).double()
    for place, parameter in ((1, scale), (2, zero_point)):

        def function(value, place=place):
            arguments = [x, scale, zero_point]
            arguments[place] = value
            return learnable(*arguments)

        found = way(function, parameter, torch.ones_like(parameter))
        for index in np.ndindex(*x.shape):
            dy = torch.zeros_like(x)
            dy[index] = 1
            expected = fq.backward_learnable(dy.numpy(), x.numpy(), 0.25, 1, -8, 7)[place]
            assert found[index].item() == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("function", [FUNCTIONS[name] for name in ("fixed", "reciprocal", "FakeQuantize")])
def test_transforms_give_what_autograd_gives(function):
    expected = 2 * function(X) * MASK
    assert torch.equal(grad(lambda x: function(x).square().sum())(X), expected)
    assert torch.equal(vjp(function, X)[1](2 * function(X))[0], expected)
    assert torch.equal(vmap(grad(lambda x: function(x).square().sum()))(X), expected)
    eye = torch.diag(MASK[1].float())
    assert torch.equal(jacrev(function)(X[1]), eye)
    assert torch.equal(jacfwd(function)(X[1]), eye)
    assert torch.equal(hessian(lambda x: function(x).square().sum())(X[1]), 2 * eye)
    for strategy in ("reverse-mode", "forward-mode"):
        assert torch.equal(torch.autograd.functional.jacobian(function, X[1], vectorize=True, strategy=strategy), eye)


def test_batched_gradients_are_those_one_by_one():
    x, dys = X.clone().requires_grad_(), torch.stack([ONES, 2 * ONES, -ONES])
    (found,) = torch.autograd.grad(fixed(x), x, dys, is_grads_batched=True)
    assert torch.equal(found, dys * MASK)
    scale = torch.tensor(0.25, requires_grad=True)
    found = torch.autograd.grad(learnable(x, scale), (x, scale), dys, is_grads_batched=True)
    one_by_one = [torch.autograd.grad(learnable(x, scale), (x, scale), dy) for dy in dys]
    for one, others in zip(found, zip(*one_by_one, strict=True), strict=True):
        assert torch.allclose(one, torch.stack(others), rtol=1e-6, atol=0)


def test_scales_may_be_mapped_over_and_are_checked():
    scales = torch.tensor([0.1, 0.25, 0.5])
    expected = torch.stack([fixed(X, scale) for scale in scales])
    assert torch.equal(vmap(fixed, (None, 0))(X, scales), expected)
    assert torch.equal(
        vmap(fixed, (1, 0))(X[:, :3], scales), torch.stack([fixed(X[:, i], scales[i]) for i in range(3)])
    )
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        vmap(fixed, (None, 0))(X, torch.tensor([1.0, -1.0]))


def test_functional_calls_of_a_module_have_gradients_per_sample():
    net = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Linear(3, 2))
    parameters = dict(net.named_parameters())

    def loss(parameters, x, function):
        return functional_call(net, {name: function(p) for name, p in parameters.items()}, (x,)).square().sum()

    found = vmap(grad(loss), (None, 0, None))(parameters, X, reciprocal)
    expected = vmap(grad(loss), (None, 0, None))(
        parameters, X, lambda p: torch.fake_quantize_per_tensor_affine(p, *GRID)
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("arithmetic", [False, True])
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_the_formula_has_the_bits_of_the_kernels(dtype, arithmetic):
    functions = fq.reciprocal if arithmetic else fq
    for grid in GRIDS:
        x = hard_values(dtype, grid, np.random.default_rng(7), 500)
        try:
            expected = functions.forward(x, *grid)
        except ValueError:
            continue  # the reciprocal of this scale overflows
        bfloat16 = dtype.name == "bfloat16"
        tensor = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if bfloat16 else torch.from_numpy(x)
        wide = torch.float64 if dtype == np.float64 else torch.float32
        y, mask = _formula.forward(
            tensor, torch.tensor(grid[0], dtype=wide), torch.tensor(grid[1]), *grid[2:], arithmetic
        )
        assert_same(y.view(torch.int16).numpy().view(dtype) if bfloat16 else y.numpy(), expected[0])
        assert_same(mask.numpy(), expected[1])


def second_by_autograd():
    x, scale = X.clone().requires_grad_(), torch.tensor(0.25, requires_grad=True)
    (dscale,) = torch.autograd.grad(learnable(x, scale).square().sum(), scale, create_graph=True)
    dscale.backward()


def second_by_grad():
    grad(lambda s: grad(lambda s: learnable(X, s).square().sum())(s))(torch.tensor(0.25))


def second_by_hessian():
    hessian(lambda s: learnable(X, s).square().sum())(torch.tensor(0.25))


def second_by_operator():
    dy = ONES.clone().requires_grad_()
    arguments = X, torch.tensor(0.25), torch.tensor(0), -8, 7, False, [0, 1]
    torch.ops.fq.backward_learnable(dy, *arguments)[0].sum().backward()


@pytest.mark.parametrize("second", [second_by_autograd, second_by_grad, second_by_hessian, second_by_operator])
def test_a_second_derivative_of_learned_parameters_is_refused_in_words(second):
    with pytest.raises(NotImplementedError, match="has no second derivative"):
        second()


def test_a_second_gradient_of_learned_scales_in_a_batch_is_refused_too():
    x, batch = X.clone().requires_grad_(), torch.ones(2, *X.shape)
    y = learnable(x, torch.tensor(0.25, requires_grad=True))
    torch.autograd.grad(y, x, batch, is_grads_batched=True, retain_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        torch.autograd.grad(y, x, batch, is_grads_batched=True, create_graph=True)
