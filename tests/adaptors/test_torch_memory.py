"""Whose memory fq.torch writes to: its own, and that of x where it was told to, as PyTorch's in-place operations."""

import copy
import warnings

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.ao import quantization as theirs  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import fq.torch  # noqa: E402

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


def theirs_fixed(x):
    return torch.fake_quantize_per_tensor_affine(x, *GRID)


def all_inside():
    return torch.linspace(-1.9, 1.7, 240).reshape(SHAPE).requires_grad_()


LEAVES = [leaf, all_inside]


def memory(tensor):
    return tensor.untyped_storage().data_ptr()


@pytest.mark.parametrize("make", LEAVES)
@pytest.mark.parametrize("function", [fixed, learnable])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_gradient_is_memory_of_its_own_and_the_one_given_stays(layout, function, make):
    x = make().detach().contiguous(memory_format=layout).requires_grad_()
    dy = DY.contiguous(memory_format=layout).clone()
    (dx,) = torch.autograd.grad(function(x), x, dy)
    assert memory(dx) != memory(dy)
    assert torch.equal(dx, torch.autograd.grad(theirs_fixed(x), x, dy)[0])
    dx.mul_(0.5)
    assert torch.equal(dy, DY)


MODULES_OFF = {
    "observed": lambda: fq.torch.FakeQuantize(observer=theirs.MinMaxObserver, quant_min=0, quant_max=255),
    "switched off": lambda: theirs.disable_fake_quant(module := fq.torch.FusedMovingAvgObsFakeQuantize()) or module,
}


@pytest.mark.parametrize("make", MODULES_OFF.values(), ids=MODULES_OFF)
def test_the_gradient_of_a_module_is_memory_of_its_own(make):
    x, dy, module = all_inside(), DY.clone(), make()
    (dx,) = torch.autograd.grad(module(x), x, dy)
    dx.mul_(0.5)
    assert torch.equal(dy, DY)
    assert torch.equal(2 * dx, DY)


SUMS = {
    "added axes": lambda f, a, b: f(a).unsqueeze(0) + f(b).unsqueeze(0),
    "one of them": lambda f, a, b: f(a).flatten() + b.view(-1),
    "three": lambda f, a, b: f(a) + f(b) + b,
}


@pytest.mark.parametrize("make", LEAVES)
@pytest.mark.parametrize("join", SUMS.values(), ids=SUMS)
def test_gradients_of_two_parameters_accumulate_apart(join, make):
    def grads(function):
        a, b = (torch.nn.Parameter(make().detach() * k) for k in (1, 0.9))
        for _ in range(2):
            z = join(function, a, b)
            (z * DY.view(z.shape)).sum().backward()
        assert memory(a.grad) != memory(b.grad)
        return a.grad, b.grad

    assert all(torch.equal(one, other) for one, other in zip(grads(fixed), grads(theirs_fixed), strict=True))


class Foreign(torch.autograd.Function):
    """The product with DY, whose gradient is a new tensor in memory that PyTorch does not own."""

    @staticmethod
    def forward(ctx, y, give, owner):
        ctx.give, ctx.owner = give, owner
        return y * DY

    @staticmethod
    def backward(ctx, dz):
        return ctx.give(ctx.owner), None, None


def by_numpy(owner):
    return torch.from_numpy(owner)


def by_dlpack(owner):
    return torch.from_dlpack(owner)


def by_buffer(owner):
    return torch.frombuffer(memoryview(owner).cast("B"), dtype=torch.float32).reshape(SHAPE)


def by_read_only_memory(owner):
    owner.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(owner)


@pytest.mark.parametrize("function", [fixed, learnable])
@pytest.mark.parametrize("give", [by_numpy, by_dlpack, by_buffer, by_read_only_memory])
def test_a_gradient_in_the_memory_of_another_stays_as_it_was(give, function):
    owner, x = DY.numpy().copy(), leaf()
    loss = Foreign.apply(function(x), give, owner).sum()
    for _ in range(2):
        (dx,) = torch.autograd.grad(loss, x, retain_graph=True)
        assert torch.equal(dx, DY * inside())
    assert (owner == DY.numpy()).all()


def test_a_second_backward_of_a_learned_scale_is_the_first():
    x, scale, owner = leaf(), torch.tensor(0.25, requires_grad=True), DY.numpy().copy()
    y = fq.torch.fake_quantize_learnable(x, scale, *GRID[1:])
    loss = Foreign.apply(y, by_numpy, owner).sum()
    first, second = (torch.autograd.grad(loss, (x, scale), retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def by_storage(y, kept):
    y.register_hook(lambda dy: kept.append(torch.empty(0).set_(dy.untyped_storage(), 0, SHAPE)))
    return y * DY


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


KEEPERS = [
    by_hook,
    by_prehook,
    by_alias,
    by_view,
    by_array,
    by_storage,
    by_module_hook,
    Keeps.apply,
    Saves.apply,
    by_retain_grad,
]


@pytest.mark.parametrize("make", LEAVES)
@pytest.mark.parametrize("function", [fixed, learnable])
@pytest.mark.parametrize("keep", KEEPERS, ids=[getattr(k, "__self__", k).__name__ for k in KEEPERS])
def test_a_gradient_that_something_keeps_stays_as_it_was(keep, function, make):
    x, kept = make(), []
    keep(function(x), kept).sum().backward()
    (held,) = kept
    held = held.grad if keep is by_retain_grad else torch.as_tensor(held)
    assert torch.equal(held.reshape(SHAPE), DY)
    plain = make()
    (theirs_fixed(plain) * DY).sum().backward()
    assert torch.equal(x.grad, plain.grad)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("function", [fixed, learnable])
def test_a_gradient_that_goes_two_ways_is_whole_in_both(function, last):
    x = leaf()
    h = x * 1
    z = function(h * 1) + h if last else h + function(h * 1)
    (z * DY).sum().backward()
    assert torch.equal(x.grad, DY + DY * inside())


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


def relu6(h, inplace):
    return torch.nn.functional.relu6(h, inplace=inplace)


def ours_over(h, inplace):
    return fq.torch.fake_quantize(h, *GRID, inplace=inplace)


def of_a_result(x):
    return x * 1


def of_a_view(x):
    return (x * 1).view(6, -1)[1:]


def of_a_transposed_view(x):
    return (x * 1).transpose(0, 2)


def with_gaps(x):
    return torch.empty_strided(SHAPE, (240, 40, 8, 2)).copy_(x)


def of_a_detached(x):
    return (x * 1).detach()


def of_a_leaf(x):
    return x


def of_a_view_of_a_leaf(x):
    return x.view(-1)


def of_a_piece(x):
    return torch.unbind(x * 1)[0]


def of_a_view_without_grad(x):
    h = x * 1
    with torch.no_grad():
        return h.view(-1)


def expanded(x):
    return (x * 1)[:1].expand(3, -1, -1, -1)


def saved_by_relu(x):
    return torch.relu(x)


def saved_by_a_product(x):
    h = x * 1
    saved_by_a_product.kept = h * h
    return h


PLACES = [
    *(
        of_a_result,
        of_a_view,
        of_a_transposed_view,
        with_gaps,
        of_a_detached,
        of_a_leaf,
        of_a_view_of_a_leaf,
        of_a_piece,
    ),
    *(of_a_view_without_grad, expanded, saved_by_relu, saved_by_a_product),
]


def outcome(function, make):
    """What an in-place function does: y is x, the step of the version counter, whether x has y's values, the error."""
    x = leaf()
    h = make(x)
    before, version = h.detach().clone(), h._version
    try:
        y = function(h, inplace=True)
        expected = function(make(leaf()), inplace=False)
        found = [y is h, h._version > version, torch.equal(h, expected)]
        root = getattr(make, "kept", None) if make is saved_by_a_product else y
        if root.requires_grad:
            root.sum().backward()
        return found
    except RuntimeError as error:
        kinds = ("leaf Variable", "single memory location", "is a view", "no_grad", "modified by an inplace operation")
        kind = next(kind for kind in kinds if kind in str(error))
        return kind, "modified" in kind or torch.equal(h.detach(), before)


@pytest.mark.parametrize("make", PLACES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_in_place_does_and_refuses_what_relu6_in_place_does(make):
    assert outcome(ours_over, make) == outcome(relu6, make)


@pytest.mark.parametrize("make", [of_a_result, of_a_view, of_a_transposed_view, with_gaps, of_a_piece])
def test_gradients_in_place_are_those_beside(make):
    def grad(inplace):
        x = leaf()
        ours_over(make(x) if make is not of_a_piece else (x * 1)[0], inplace).square().sum().backward()
        return x.grad

    assert torch.equal(grad(True), grad(False))


def test_in_place_without_a_gradient_overwrites_and_moves_the_version():
    for enter in (torch.no_grad, torch.inference_mode):
        with enter():
            h = torch.linspace(-4, 4, 240) * 1
            expected = fixed(h)
            assert fq.torch.fake_quantize(h, *GRID, inplace=True) is h
            assert torch.equal(h, expected)


@pytest.mark.parametrize("give", [by_numpy, by_dlpack, by_buffer])
def test_in_place_refuses_memory_that_pytorch_does_not_own(give):
    x = give(DY.numpy().copy())
    with pytest.raises(ValueError, match=r"memory that PyTorch does not own.*x\.clone\(\)"):
        fq.torch.fake_quantize(x, *GRID, inplace=True)
    assert torch.equal(x, DY)
    h = x.clone()
    assert fq.torch.fake_quantize(h, *GRID, inplace=True) is h


@pytest.mark.parametrize("function", [fixed, learnable])
def test_no_storage_is_locked(function):
    x, dy = leaf(), DY.clone()
    y = function(x)
    (dx,) = torch.autograd.grad(y, x, dy)
    for tensor in (x, y, dx, dy):
        assert tensor.untyped_storage().resizable()
    x.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"has no memory|storage of size 0"):
        function(x)


@pytest.mark.parametrize(
    ("shape", "of_scale"), [((300, 4), (300, 1)), ((40, 5000), (40, 1)), ((3, 4, 5, 6), (3, 1, 5, 1))]
)
@pytest.mark.parametrize("bad", [-1.0, torch.nan])
def test_a_scale_that_is_refused_in_place_leaves_x_whole(shape, of_scale, bad):
    for asks in (False, True):
        h = torch.randn(shape, requires_grad=asks) * 1
        before, scale = h.detach().clone(), torch.full(of_scale, 0.25)
        scale.view(-1)[-1] = bad
        with pytest.raises(ValueError, match="scale must be positive"):
            fq.torch.fake_quantize(h, scale, *GRID[1:], inplace=True)
        assert torch.equal(h, before)
        assert h._version == 0


def test_a_second_gradient_in_place_is_that_beside():
    def second(inplace):
        x, dy = leaf(), DY.clone().requires_grad_()
        y = fq.torch.fake_quantize(x * 1, *GRID, inplace=inplace)
        (dx,) = torch.autograd.grad(y, x, dy, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), dy)[0]

    assert torch.equal(second(True), second(False))


def test_what_is_compiled_overwrites_x_too():
    torch.compiler.reset()

    def both(x):
        h = x * 1
        return fq.torch.fake_quantize(h, *GRID, inplace=True), h + 0

    function = torch.compile(both, fullgraph=True, backend="aot_eager")
    x, plain = leaf(), leaf()
    y, h = function(x)
    assert torch.equal(y, h)
    (y * DY).sum().backward()
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


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("factors", [(0.3, 1.0), (1.0, 0.3)], ids=["wider when run again", "narrower when run again"])
def test_a_checkpoint_that_finds_another_mask_anew_passes_by_it(factors, reentrant):
    def grad(function):
        x, runs = leaf(), iter(factors)
        y = checkpoint(lambda x: function(x * next(runs)).sin(), x, use_reentrant=reentrant)
        (y * DY).sum().backward()
        return x.grad

    assert torch.equal(grad(fixed), grad(theirs_fixed))


def test_a_tensor_of_zeros_without_memory_is_quantized_and_passed_back():
    zeros, x = torch._efficientzerotensor(SHAPE), leaf()
    assert torch.equal(fixed(zeros), torch.zeros(SHAPE))
    assert torch.equal(learnable(zeros), torch.zeros(SHAPE))
    for function in (fixed, learnable):
        assert torch.equal(torch.autograd.grad(function(x), x, zeros)[0], torch.zeros(SHAPE))
    with pytest.raises(RuntimeError, match="immutable"):
        fq.torch.fake_quantize(zeros, *GRID, inplace=True)
