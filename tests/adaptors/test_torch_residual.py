"""fq.torch with codes of residuals kept in the place of x: values, gradients, what is saved, and what is refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import fq  # noqa: E402
import fq.torch as ft  # noqa: E402
from fq.torch import _residual  # noqa: E402

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
CODES = {name: bits for name, bits in _residual.KEEPS.items() if bits}
EVERY = pytest.mark.parametrize("keep", CODES)
SHAPES = [((5,), None), ((), None), ((4, 3, 5, 7), 1), ((2, 8), 0), ((3, 5), 1), ((0, 3), None)]


def parameters(shape, axis, dtype):
    of_scale = () if axis is None else (shape[axis], *(1 for _ in shape[axis + 1 :]))
    scale = torch.full(of_scale, 0.3, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    return scale.requires_grad_(), torch.zeros_like(scale).requires_grad_()


def steps(x, dy, shape, axis, function, **how):
    """y, and the gradients of x, scale and zero_point, of an x that is no leaf."""
    leaf, (scale, zero_point) = x.detach().clone().requires_grad_(), parameters(shape, axis, x.dtype)
    y = function(leaf * 1, scale, zero_point, -3, 3, **how)
    y.backward(dy)
    return y.detach(), leaf.grad, scale.grad, zero_point.grad


def arrays(shape, dtype, layout):
    torch.manual_seed(0)
    x, dy = (torch.randn(shape, dtype=torch.float64).to(dtype) for _ in range(2))
    if layout == "permuted" and len(shape) > 1:
        x = x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "channels last" and len(shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    return x, dy


@EVERY
@pytest.mark.parametrize("layout", ["contiguous", "permuted", "channels last"])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_gradients_are_those_of_x_and_that_of_scale_nearly(shape, axis, dtype, layout, keep):
    x, dy = arrays(shape, dtype, layout)
    expected = steps(x, dy, shape, axis, ft.fake_quantize_learnable)
    found = steps(x, dy, shape, axis, ft.fake_quantize_learnable, keep=keep)
    assert all(map(torch.equal, found[:2], expected[:2]))
    torch.testing.assert_close(found[3], expected[3])
    most = dy.double().abs().sum() / (4 * (2 ** (CODES[keep] - 1) - 2)) + 1e-3
    assert not found[2].numel() or (found[2] - expected[2]).abs().max() <= most


@EVERY
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_other_devices_have_the_codes_of_the_kernels(shape, axis, dtype, keep):
    """By PyTorch's own operations, which run here too."""
    x, dy = arrays(shape, dtype, "contiguous")
    elsewhere = lambda *arguments: _residual.Elsewhere.apply(*arguments, False, CODES[keep])  # noqa: E731
    expected = steps(x, dy, shape, axis, ft.fake_quantize_learnable, keep=keep)
    found = steps(x, dy, shape, axis, elsewhere)
    assert all(map(torch.equal, found[:2], expected[:2]))
    torch.testing.assert_close(found[2:], expected[2:], rtol=1e-5, atol=1e-5)


@EVERY
def test_a_nan_and_an_infinity_are_carried_by_codes(keep):
    x, dy = torch.tensor([0.2, torch.nan, torch.inf, -torch.inf]), torch.ones(4)
    elsewhere = lambda *arguments: _residual.Elsewhere.apply(*arguments, False, CODES[keep])  # noqa: E731
    for function, how in ((ft.fake_quantize_learnable, {"keep": keep}), (elsewhere, {})):
        _, dx, dscale, dzero_point = steps(x, dy, (4,), None, function, **how)
        assert dx.tolist() == [1, 0, 0, 0]
        assert dscale.isnan()
        assert dzero_point.item() == pytest.approx(-0.6)


def saved_bytes(run):
    """The bytes that a graph keeps, of tensors that are no leaves."""
    kept = {}

    def pack(tensor):
        if not (tensor.is_leaf and tensor.requires_grad):
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(kept.values())


@pytest.mark.parametrize(("keep", "bytes_"), [("x", 4000), ("residual", 1000), ("residual4", 500)])
def test_what_is_kept_of_an_activation(keep, bytes_):
    x, (scale, zero_point) = torch.randn(1000, requires_grad=True) + 1, parameters((), None, torch.float32)
    y = []
    found = saved_bytes(lambda: y.append(ft.fake_quantize_learnable(x, scale, zero_point.detach(), -3, 3, keep=keep)))
    assert bytes_ <= found <= bytes_ + 8


@EVERY
def test_a_weight_is_kept_itself_whatever_is_said(keep):
    weight, (scale, zero_point) = torch.randn(1000, requires_grad=True), parameters((), None, torch.float32)
    exact = torch.autograd.grad(ft.fake_quantize_learnable(weight, scale, zero_point, -3, 3).sum(), scale)
    y = []
    assert saved_bytes(lambda: y.append(ft.fake_quantize_learnable(weight, scale, zero_point, -3, 3, keep=keep))) <= 8
    assert torch.equal(torch.autograd.grad(y[0].sum(), scale)[0], exact[0])


@EVERY
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_code_has_the_bits(keep):
    function = torch.compile(
        lambda x, *rest: ft.fake_quantize_learnable(x * 1, *rest, -3, 3, keep=keep), fullgraph=True
    )
    for shape, axis in SHAPES[:3]:
        x, dy = arrays(shape, torch.float32, "contiguous")
        compiled = lambda x, scale, zero_point, *_: function(x, scale, zero_point)  # noqa: E731
        found = steps(x, dy, shape, axis, compiled)
        expected = steps(x, dy, shape, axis, ft.fake_quantize_learnable, keep=keep)
        assert all(map(torch.equal, found, expected))


@EVERY
def test_operators_pass_the_checks_of_torch_library(keep):
    x, (scale, zero_point) = torch.randn(4, 3, requires_grad=True), parameters((4, 3), 0, torch.float32)
    arguments = x, scale, zero_point, -3, 3, False, [0, 1], CODES[keep]
    torch.library.opcheck(torch.ops.fq.forward_residual.default, arguments)


@EVERY
def test_transforms_keep_x_and_have_its_gradients(keep):
    x, scale = torch.randn(3, 20), torch.full((), 0.3)

    def gradient(how):
        loss = lambda s, x: ft.fake_quantize_learnable(x, s, 0, -3, 3, **how).sum()  # noqa: E731
        return torch.func.vmap(torch.func.grad(loss), (None, 0))(scale, x)

    assert torch.equal(gradient({"keep": keep}), gradient({}))


@EVERY
def test_batches_of_gradients_have_each_gradient(keep):
    x, (scale, zero_point) = torch.randn(7, requires_grad=True), parameters((), None, torch.float32)
    y = ft.fake_quantize_learnable(x * 1, scale, zero_point, -3, 3, keep=keep)
    many = torch.autograd.grad(y, (x, scale), torch.eye(7), is_grads_batched=True, retain_graph=True)
    for i, row in enumerate(torch.eye(7)):
        one = torch.autograd.grad(y, (x, scale), row, retain_graph=True)
        torch.testing.assert_close([each[i] for each in many], list(one))


@EVERY
def test_there_is_no_second_derivative(keep):
    x, (scale, zero_point) = torch.randn(7, requires_grad=True), parameters((), None, torch.float32)
    y = ft.fake_quantize_learnable(x * 1, scale, zero_point, -3, 3, keep=keep).sum()
    elsewhere = _residual.Elsewhere.apply(x * 1, scale, zero_point, -3, 3, False, CODES[keep]).sum()
    for one in (y, elsewhere):
        (dscale,) = torch.autograd.grad(one, scale, create_graph=True)
        with pytest.raises(NotImplementedError, match="no second derivative"):
            dscale.backward()


def test_what_cannot_be_kept_is_refused():
    x, (scale, zero_point) = torch.randn(7) * 1, parameters((), None, torch.float32)
    with pytest.raises(ValueError, match="keep must be one of 'x', 'residual', 'residual4', got 'bits'"):
        ft.fake_quantize_learnable(x, scale, zero_point, -3, 3, keep="bits")
    with pytest.raises(ValueError, match="keep must be one of"):
        ft.LearnableFakeQuantize(-8, 7, keep=8)
    for keep in CODES:
        with pytest.raises(ValueError, match=r"no level may lie further than 2\*\*15 .*keep x"):
            ft.fake_quantize_learnable(x, scale, zero_point, -(2**20), 2**20, keep=keep)


@EVERY
@pytest.mark.parametrize(
    "how", [{}, {"axis": 1, "channels": 6}, {"group": 3, "shape": (5, 6)}, {"learn_zero_point": True}]
)
def test_the_module_trains_with_codes(how, keep):
    torch.manual_seed(0)
    gradients = []
    for kept in ("x", keep):
        module = ft.LearnableFakeQuantize(-8, 7, keep=kept, **how)
        x = torch.linspace(-2, 2, 30).reshape(5, 6).requires_grad_()
        (module(x * 1) * torch.linspace(0, 1, 30).reshape(5, 6)).sum().backward()
        gradients.append((x.grad, module.scale.grad))
    assert repr(module).count(keep) == 1
    assert torch.equal(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1], gradients[1][1], rtol=0.5, atol=0.3)


def test_the_numbers_are_those_of_numpy():
    x, (scale, zero_point) = torch.randn(6, 7, requires_grad=True), parameters((), None, torch.float32)
    for keep, suffix in (("residual", ""), ("residual4", "_packed")):
        y = ft.fake_quantize_learnable(x * 1, scale, zero_point, -3, 3, keep=keep)
        dy = torch.randn(6, 7)
        found = torch.autograd.grad(y, (x, scale, zero_point), dy)
        flat = x.detach().numpy().reshape(-1)  # one row, whose codes are packed without a gap
        qparams = np.float32(0.3), 0, -3, 3
        codes = getattr(fq, f"forward_residual{suffix}")(flat, *qparams)[1]
        expected = getattr(fq, f"backward_residual{suffix}")(dy.numpy().reshape(-1), codes, *qparams)
        for one, other in zip(found, expected, strict=True):
            assert np.array_equal(one.numpy().reshape(-1), np.ravel(other))
