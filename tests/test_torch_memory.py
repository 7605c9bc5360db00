"""Whose memory fq.torch writes to: that of a gradient which nothing else holds, and of x where that was allowed."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.ao import quantization as theirs  # noqa: E402

import fq.torch  # noqa: E402
from fq.torch import _memory, _references  # noqa: E402

GRID = 0.25, 0, -8, 7
SHAPE = 2, 6, 5, 4
CHANNELS = torch.linspace(0.2, 0.3, 6).reshape(6, 1, 1)
DY = torch.linspace(1, 2, 240).reshape(SHAPE)


def fixed(x):
    return fq.torch.fake_quantize(x, *GRID)


def learnable(x):
    return fq.torch.fake_quantize_learnable(x, torch.tensor(0.25, requires_grad=True), *GRID[1:])


def leaf():
    return torch.linspace(-4, 4, 240).reshape(SHAPE).requires_grad_()


def inside(dtype=torch.float32):
    x = leaf().detach().to(dtype).float()
    return torch.from_numpy(fq.forward(x.numpy(), *GRID)[1])


@pytest.fixture
def places(monkeypatch):
    """Whether each dx took the place of its dy."""
    found = []
    real = _memory.over_or_beside

    def spy(dy, *rest):
        own, dx = real(dy, *rest)
        found.append(own is dy and dx is dy)
        return own, dx

    monkeypatch.setattr(_memory, "over_or_beside", spy)
    return found


@pytest.mark.parametrize("function", [fixed, learnable])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_gradient_that_nothing_else_holds_is_overwritten(places, function, layout, dtype):
    x = leaf().detach().to(dtype).contiguous(memory_format=layout).requires_grad_()
    dy = DY.to(dtype).contiguous(memory_format=layout)
    (function(x) * dy).sum().backward()
    assert places == [True]
    assert torch.equal(x.grad, dy * inside(dtype))


def test_so_it_is_where_a_hook_looked_at_it(places):
    x = leaf()
    y = fixed(x)
    seen = []
    y.register_hook(lambda dy: seen.append(dy.sum().item()))
    (y * DY).sum().backward()
    assert places == [True]
    assert seen == [DY.sum().item()]


def by_hook(y, kept):
    y.register_hook(kept.append)
    return y * DY


def by_prehook(y, kept):
    y.grad_fn.register_prehook(lambda gradients: kept.extend(gradients))
    return y * DY


def by_alias(y, kept):
    y.register_hook(lambda dy: kept.append(dy.detach()))
    return y * DY


def by_view(y, kept):
    y.register_hook(lambda dy: kept.append(dy.view(-1)))
    return y * DY


def by_array(y, kept):
    y.register_hook(lambda dy: kept.append(dy.numpy()))
    return y * DY


def by_retain_grad(y, kept):
    y.retain_grad()
    kept.append(y)
    return y * DY


class Keeps(torch.autograd.Function):
    """The product with DY, whose backward keeps the gradient that it returns."""

    @staticmethod
    def forward(ctx, y, kept):
        ctx.kept = kept
        return y * DY

    @staticmethod
    def backward(ctx, dz):
        dy = dz * DY
        ctx.kept.append(dy)
        return dy, None


class Saves(torch.autograd.Function):
    """The product with DY, whose gradient is what it saved."""

    @staticmethod
    def forward(ctx, y, kept):
        dy = DY.clone()
        kept.append(dy.detach())
        ctx.save_for_backward(dy)
        return y * DY

    @staticmethod
    def backward(ctx, dz):
        return ctx.saved_tensors[0], None


def by_module_hook(y, kept):
    module = torch.nn.Identity()
    module.register_full_backward_hook(lambda module, dx, dy: kept.extend(dx))
    return module(y) * DY


KEEPERS = [by_hook, by_prehook, by_alias, by_view, by_array, by_module_hook, Keeps.apply, Saves.apply, by_retain_grad]


@pytest.mark.parametrize("function", [fixed, learnable])
@pytest.mark.parametrize("keep", KEEPERS, ids=[getattr(k, "__self__", k).__name__ for k in KEEPERS])
def test_a_gradient_that_something_keeps_stays_as_it_was(keep, function, places):
    x, kept = leaf(), []
    keep(function(x), kept).sum().backward()
    assert places == [keep is by_retain_grad]  # which keeps a copy
    (held,) = kept
    held = held.grad if keep is by_retain_grad else torch.as_tensor(held)
    assert torch.equal(held.reshape(SHAPE), DY)
    assert torch.equal(x.grad, DY * inside())


@pytest.mark.parametrize("function", [fixed, learnable])
def test_a_gradient_given_or_asked_for_stays_as_it_was(function, places):
    x, dy = leaf(), DY.clone()
    function(x).backward(dy)
    assert torch.equal(dy, DY)
    y = function(x)
    dx, dy = torch.autograd.grad((y * DY).sum(), (x, y))
    assert places == [False, False]
    assert torch.equal(dy, DY)
    assert torch.equal(dx, x.grad)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("function", [fixed, learnable])
def test_a_gradient_that_goes_two_ways_is_whole_in_both(function, last):
    x = leaf()
    h = x * 1
    z = function(h * 1) + h if last else h + function(h * 1)
    (z * DY).sum().backward()
    assert torch.equal(x.grad, DY + DY * inside())


def test_a_gradient_with_gaps_or_repeats_is_copied_once(places):
    x = leaf()
    fixed(x).sum().backward()
    assert places == [False]
    assert torch.equal(x.grad, inside().float())


def test_one_backward_after_another_gives_the_same():
    x = leaf()
    z = (fixed(x) * DY).sum()
    first, second = (torch.autograd.grad(z, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_nothing_is_overwritten_where_pytorch_does_not_tell_who_holds_it(monkeypatch, places):
    monkeypatch.setattr(_references, "references", lambda tensor: (1, 1, 1))
    monkeypatch.setattr(_references, "in_graph", lambda tensor: (1, 1))
    for function in (_references.of_a_gradient_alone, _references.of_a_result_alone):
        monkeypatch.setattr(_references, function.__name__, function.__wrapped__)
    h = leaf() * 1
    y = fq.torch.fake_quantize(h, *GRID, inplace=True)
    assert y.data_ptr() != h.data_ptr()
    (y * DY).sum().backward()
    assert places == [False]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("scale", [0.25, CHANNELS], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_in_place_y_is_x_with_the_same_values_and_gradients(dtype, scale, layout):
    def results(inplace):
        x = leaf().detach().to(dtype).contiguous(memory_format=layout).requires_grad_()
        h = x * 1
        y = fq.torch.fake_quantize(h, scale, *GRID[1:], inplace=inplace)
        (dx,) = torch.autograd.grad((y * DY.to(dtype)).sum(), x)
        return y.detach(), dx, y is h, y.data_ptr() == h.data_ptr()

    *found, is_same, shares = results(True)
    *expected, _, shares_without = results(False)
    assert is_same
    assert shares
    assert not shares_without
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def of_a_view(x):
    h = x.reshape(6, -1)
    return h, h


def with_a_view(x):
    h = x * 1
    return h, h.view(-1)


def of_relu(x):
    h = torch.relu(x)
    return h, h


def of_a_module(x):
    h = torch.nn.ReLU(inplace=True)(x * 1)
    return h, h


def with_a_product(x):
    h = x * 1
    return h, h * h


def with_a_copy_in_numpy(x):
    h = x * 1
    return h, h.detach().numpy()


def with_gaps(x):
    h = torch.empty_strided(SHAPE, (240, 40, 8, 2)).copy_(x)
    return h, h


@pytest.mark.parametrize(
    "make", [of_a_view, with_a_view, of_relu, of_a_module, with_a_product, with_a_copy_in_numpy, with_gaps]
)
def test_x_stays_as_it_is_where_the_graph_or_an_array_holds_it(make):
    x, plain = leaf(), leaf()
    h, other = make(x)
    before = h.detach().clone()
    y = fq.torch.fake_quantize(h, *GRID, inplace=True)
    assert torch.equal(h, before)
    expected = fixed(make(plain)[0])
    assert torch.equal(y, expected)
    y.square().sum().backward()
    expected.square().sum().backward()
    assert torch.equal(x.grad, plain.grad)
    del other


def test_leaves_and_what_needs_no_gradient_stay_as_they_are():
    for x in (leaf(), leaf().detach(), torch.nn.Parameter(leaf().detach())):
        before = x.detach().clone()
        assert fq.torch.fake_quantize(x, *GRID, inplace=True) is not x
        assert torch.equal(x, before)
    h = leaf() * 1
    with torch.no_grad():
        assert fq.torch.fake_quantize(h, *GRID, inplace=True) is not h
    assert torch.equal(h, leaf())


def test_a_scale_that_is_refused_in_place_leaves_x_whole():
    h = torch.randn(300, 4, requires_grad=True) * 1
    before, scale = h.detach().clone(), torch.full((300, 1), 0.25)
    scale[-1] = -1
    with pytest.raises(ValueError, match="scale must be positive"):
        fq.torch.fake_quantize(h, scale, *GRID[1:], inplace=True)
    assert torch.equal(h, before)


def test_a_second_gradient_in_place_is_that_beside():
    def second(inplace):
        x, dy = leaf(), DY.clone().requires_grad_()
        y = fq.torch.fake_quantize(x * 1, *GRID, inplace=inplace)
        (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), dy)[0]

    assert torch.equal(second(True), second(False))


def test_what_is_compiled_gives_the_same_and_leaves_x():
    torch.compiler.reset()
    function = torch.compile(
        lambda x: fq.torch.fake_quantize(x * 1, *GRID, inplace=True), fullgraph=True, backend="aot_eager"
    )
    x, plain = leaf(), leaf()
    (function(x) * DY).sum().backward()
    (fixed(plain) * DY).sum().backward()
    assert torch.equal(x, plain)
    assert torch.equal(x.grad, plain.grad)


MODULES = [fq.torch.FakeQuantize, fq.torch.FusedMovingAvgObsFakeQuantize]


@pytest.mark.parametrize("module", MODULES)
def test_modules_take_inplace_say_so_and_keep_it_in_copies(module):
    plain, inplace = module(), copy.deepcopy(module.with_args(inplace=True)())
    assert not plain.inplace
    assert "inplace" not in repr(plain)
    assert ", inplace=True" in repr(inplace)
    assert plain.state_dict().keys() == inplace.state_dict().keys()
    x, other = leaf(), leaf()
    h = x * 1
    y = inplace(h)
    assert y is h
    (y * DY).sum().backward()
    (plain(other * 1) * DY).sum().backward()
    assert torch.equal(x.grad, other.grad)


@pytest.mark.parametrize("module", MODULES)
def test_in_place_with_fake_quantization_off_x_is_y(module):
    module = module(inplace=True)
    theirs.disable_fake_quant(module)
    x = leaf()
    h = x * 1
    y = module(h)
    assert y is h
    assert torch.equal(y, x)
    (y * DY).sum().backward()
    assert torch.equal(x.grad, DY)
