"""fq.torch's functions: the bits and gradients of the NumPy functions, one residual, in every memory format."""

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same, gradients, hard_values

import fq
from fq import _core

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch_ways import WAYS, go  # noqa: E402

import fq.torch  # noqa: E402
from fq.torch import _memory, _operators  # noqa: E402

GRID = 0.1, 3, -8, 7
SHAPE = 3, 6, 5, 4
FORMATS = {
    "contiguous": lambda t: t.contiguous(),
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "transposed": lambda t: t.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
    "every other": lambda t: torch.stack([t, t], -1)[..., 0],
    "a part": lambda t: torch.cat([t, t], 1)[:, :6],
}
SCALES = {
    "per tensor": (),
    "one element": (1,),
    "per channel": (6, 1, 1),
    "last axis": (4,),
    "groups": (3, 1, 5, 1),
    "each": SHAPE,
}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Both ways that plain tensors go."""
    go(request.param, monkeypatch)


def to_torch(array):
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(tensor):
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view("bfloat16")
    return tensor.numpy()


def scales(shape, dtype, seed=0):
    wide = np.float64 if dtype == np.float64 else np.float32
    return np.asarray(np.random.default_rng(seed).uniform(0.05, 0.3, shape), wide)


def levels(shape, seed=1):
    return np.asarray(np.random.default_rng(seed).integers(-8, 8, shape))


@pytest.mark.parametrize("reciprocal", [False, True])
@pytest.mark.parametrize("shape", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("layout", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_y_and_gradient_are_those_of_numpy_in_every_layout(dtype, layout, shape, reciprocal, way):
    rng = np.random.default_rng(2)
    x = hard_values(dtype, GRID, rng, np.prod(SHAPE)).reshape(SHAPE)
    dy = gradients(dtype, rng, x.size).reshape(SHAPE)
    scale, zero_point = scales(shape, dtype), levels(shape)
    functions = fq.reciprocal if reciprocal else fq
    tensor = layout(to_torch(x)).requires_grad_()
    grid = torch.from_numpy(scale), torch.from_numpy(zero_point), -8, 7
    y = fq.torch.fake_quantize(tensor, *grid, reciprocal=reciprocal)
    (dx,) = torch.autograd.grad(y, tensor, to_torch(dy))
    expected, mask = functions.forward(x, scale, zero_point, -8, 7)
    assert_same(to_numpy(y), expected)
    assert_same(to_numpy(dx), fq.backward(dy, mask))
    with torch.no_grad():
        assert_same(to_numpy(fq.torch.fake_quantize(tensor, *grid, reciprocal=reciprocal)), expected)


def test_parameters_may_be_numbers_arrays_and_what_choose_qparams_returns(way):
    x = torch.randn(3, 4)
    expected = fq.torch.fake_quantize(x, torch.tensor(0.25), torch.tensor(3), -8, 7)
    for scale in (0.25, np.float32(0.25), np.float64(0.25), np.array([0.25]), torch.tensor(0.25, dtype=torch.float64)):
        for zero_point in (3, np.int8(3), np.array([[3]]), torch.tensor([3], dtype=torch.int32)):
            assert torch.equal(fq.torch.fake_quantize(x, scale, zero_point, np.int64(-8), 7), expected)
    qparams = fq.choose_qparams([[-1.0], [-2.0], [-0.5]], [[1.0], [1.0], [3.0]])
    assert_same(to_numpy(fq.torch.fake_quantize(x, *qparams)), fq.fake_quantize(x.numpy(), *qparams))
    third = 1 / 3  # with all its digits
    wide = torch.tensor([1e6 * third], dtype=torch.float64)
    assert fq.torch.fake_quantize(wide, third, 0, 0, 2**30).item() == fq.fake_quantize(wide.numpy(), third, 0, 0, 2**30)


def test_a_number_is_rounded_to_the_type_of_its_computation_once():
    scale = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    x = torch.tensor([0.2, 9.0])
    y = fq.torch.fake_quantize_learnable(x, scale, 0, -8, 7)
    (dscale,) = torch.autograd.grad(y.sum(), scale)
    assert dscale.dtype == torch.float64
    assert_same(to_numpy(y), fq.fake_quantize(x.numpy(), 0.1, 0, -8, 7))


@pytest.mark.parametrize("shape", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("layout", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_learnable_gradients_are_those_of_numpy_in_every_layout(dtype, layout, shape, way):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(SHAPE).astype(dtype)
    dy = rng.standard_normal(SHAPE).astype(dtype)
    scale, zero_point = scales(shape, dtype), levels(shape).astype(np.float64)
    tensor = layout(to_torch(x)).requires_grad_()
    s, z = (torch.from_numpy(p.copy()).requires_grad_() for p in (scale, zero_point))
    y = fq.torch.fake_quantize_learnable(tensor, s, z, -8, 7)
    dx, ds, dz = torch.autograd.grad(y, (tensor, s, z), to_torch(dy))
    expected = fq.backward_learnable(dy, x, scale, zero_point.astype(int), -8, 7)
    assert_same(to_numpy(y), fq.fake_quantize(x, scale, zero_point.astype(int), -8, 7))
    assert_same(to_numpy(dx), expected[0])
    for found, parameter, sums in ((ds, s, expected[1]), (dz, z, expected[2])):
        assert found.dtype == parameter.dtype
        np.testing.assert_allclose(found.numpy(), sums, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed"])
def test_a_dense_tensor_is_not_copied_and_keeps_its_format(layout, monkeypatch):
    go(WAYS[1], monkeypatch)
    x = FORMATS[layout](torch.randn(SHAPE)).requires_grad_()
    seen = []
    monkeypatch.setattr(_core, "_into_new", spy(seen))
    y = fq.torch.fake_quantize(x, *GRID)
    monkeypatch.undo()
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert seen[0].__array_interface__["data"][0] == x.data_ptr()
    assert seen[1].__array_interface__["data"][0] == y.data_ptr()
    assert y.stride() == dx.stride() == x.stride()


def spy(seen):
    real = _core._into_new

    def into_new(ufunc, out, x, *rest):
        seen.extend((x, out[0]))
        return real(ufunc, out, x, *rest)

    return into_new


def saved_by(function):
    found = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: found.append(t) or t, lambda t: t):
        function()
    return found


def test_packed_bits_are_the_only_thing_saved(way):
    x = torch.randn(4, 8, 10, 10, requires_grad=True)
    (bits,) = saved_by(lambda: fq.torch.fake_quantize(x, *GRID))
    assert (bits.dtype, bits.numel()) == (torch.uint8, 4 * 8 * 10 * 10 // 8)
    (bits,) = saved_by(lambda: fq.torch.fake_quantize(x, torch.full((8, 1, 1), 0.1), *GRID[1:]))
    assert (bits.dtype, bits.numel()) == (torch.uint8, 4 * 8 * 13)
    assert saved_by(lambda: fq.torch.fake_quantize(x.detach(), *GRID)) == []


def test_learnable_keeps_bits_alone_where_no_parameter_asks_for_a_gradient():
    x = torch.randn(80, requires_grad=True)
    (bits,) = saved_by(lambda: fq.torch.fake_quantize_learnable(x, 0.1, 3.0, -8, 7))
    assert bits.dtype == torch.uint8
    scale = torch.tensor(0.1, requires_grad=True)
    assert any(kept is x for kept in saved_by(lambda: fq.torch.fake_quantize_learnable(x, scale, 3.0, -8, 7)))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 6, 1, 1), (1, 1), (1, 6, 1, 1)], ids=str)
def test_empty_and_single(shape, way):
    x = torch.full(shape, 5.0, requires_grad=True)
    scale = torch.full((6, 1, 1), 0.5) if len(shape) == 4 else torch.tensor(0.5)
    y = fq.torch.fake_quantize(x, scale, 0, -8, 7)
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert y.shape == dx.shape == shape
    assert (y == 3.5).all()
    assert (dx == 0).all()
    scale.requires_grad_()
    y = fq.torch.fake_quantize_learnable(x, scale, 0, -8, 7)
    (dscale,) = torch.autograd.grad(y, scale, torch.ones_like(y))
    assert dscale.shape == scale.shape
    assert dscale.sum() == 7 * x.numel()


@pytest.mark.parametrize("zero_point", [2.4, 2.5, -30.0, 30.0])
def test_a_real_zero_point_is_rounded_and_clamped(zero_point, way):
    x = torch.randn(100)
    level = int(np.clip(np.rint(zero_point), -8, 7))
    z = torch.tensor(zero_point, requires_grad=True)
    assert torch.equal(fq.torch.fake_quantize_learnable(x, 0.1, z, -8, 7), fq.torch.fake_quantize(x, 0.1, level, -8, 7))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        *(pytest.param(one, marks=pytest.mark.slow) for one in (torch.float16, torch.bfloat16, torch.float64)),
    ],
)
@pytest.mark.parametrize("name", ["fake_quantize", "forward_packed", "fake_quantize_learnable"])
@pytest.mark.parametrize("channels", [False, True])
def test_opcheck(name, dtype, channels):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last).to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    learnable = name == "fake_quantize_learnable"
    scale = (torch.rand(3, 1, 1, dtype=wide) if channels else torch.tensor(0.5, dtype=wide)).requires_grad_(learnable)
    zero_point = torch.tensor(1.0, dtype=wide, requires_grad=True) if learnable else torch.tensor(1)
    arguments = x.requires_grad_(name != "fake_quantize"), scale, zero_point, -8, 7, False, _memory.memory_order(x)
    torch.library.opcheck(getattr(torch.ops.fq, name), arguments)


def test_opcheck_of_the_backward_and_its_own_gradient():
    x = torch.randn(5, 7, requires_grad=True)
    y, bits = _operators.forward_packed(x, torch.tensor(0.1), torch.tensor(3), -8, 7, False, [0, 1])
    dy = torch.randn(5, 7, requires_grad=True)
    torch.library.opcheck(torch.ops.fq.backward_packed, (dy, bits, [0, 1], 35))
    dx = _operators.backward_packed(dy, bits, [0, 1], 35)
    (ddy,) = torch.autograd.grad(dx, dy, torch.ones_like(dx))
    assert torch.equal(ddy, torch.autograd.grad(y, x, torch.ones_like(y))[0])


@pytest.mark.filterwarnings("ignore")  # of inductor itself
@pytest.mark.parametrize("dynamic", [False, True])
def test_compile_has_no_graph_break_and_the_same_bits(dynamic):
    def loss(x, scale, zero_point):
        x = fq.torch.fake_quantize(x * 2, 0.1, 3, -8, 7)
        return fq.torch.fake_quantize_learnable(x, scale, zero_point, -8, 7).sin().sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for shape in ((4, 6, 5, 5), (3, 6, 7, 5)):
        x = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
        scale, zero_point = torch.rand(6, 1, 1).add(0.05).requires_grad_(), torch.tensor(1.0, requires_grad=True)
        results = [
            (y.detach(), *torch.autograd.grad(y, (x, scale, zero_point)))
            for y in (loss(x, scale, zero_point), compiled(x, scale, zero_point))
        ]
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


class Frozen(torch.autograd.Function):
    """The forward with its rounding offsets held still, which is smooth, and the gradients of fq."""

    @staticmethod
    def forward(ctx, x, scale, zero_point, at):
        ctx.save_for_backward(x, scale, zero_point)
        q = at[0] / at[1]
        level = x / scale + (q.round() - q) + zero_point
        inside = (q.round() + at[2] >= -8) & (q.round() + at[2] <= 7)
        return torch.where(inside, x + (q.round() - q) * scale, (level.clamp(-8, 7) - zero_point) * scale)

    @staticmethod
    def backward(ctx, dy):
        with torch.enable_grad():
            inputs = [t.detach().requires_grad_() for t in ctx.saved_tensors]
            y = fq.torch.fake_quantize_learnable(*inputs, -8, 7)
        return *torch.autograd.grad(y, inputs, dy), None


def test_gradcheck_of_torch_agrees_on_the_learnable_parameters():
    x = torch.linspace(-2, 2, 46, dtype=torch.float64).reshape(2, 23)
    scale, zero_point = torch.tensor([[0.11], [0.13]], dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    at = x.clone(), scale.clone(), zero_point.clone()
    inputs = [t.requires_grad_() for t in (x, scale, zero_point)]
    assert torch.autograd.gradcheck(lambda *a: Frozen.apply(*a, at), inputs, eps=1e-6, atol=1e-6)


def test_gradients_hold_by_fq_gradcheck():
    def forward(x, *grid):
        return fq.torch.fake_quantize(torch.from_numpy(x), *grid).numpy()

    def backward(dy, x, *grid):
        tensor = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(fq.torch.fake_quantize(tensor, *grid), tensor, torch.from_numpy(dy))[0]

    def learnable(dy, x, scale, zero_point, qmin, qmax):
        inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, scale, zero_point)]
        return torch.autograd.grad(fq.torch.fake_quantize_learnable(*inputs, qmin, qmax), inputs, torch.from_numpy(dy))

    x = np.linspace(-3, 3, 101)
    fq.gradcheck.check_input_gradient(forward, backward, x, (0.25, 1, -8, 7)).raise_if_failed()
    fq.gradcheck.check_parameter_gradients(learnable, x, (0.25, 1, -8, 7)).raise_if_failed()


X = torch.zeros(2, 3)
REFUSED = {
    "no tensor": (TypeError, "x must be a tensor", (np.zeros(3), 0.1, 0, -8, 7)),
    "integers": (TypeError, "got torch.int32", (torch.zeros(3, dtype=torch.int32), 0.1, 0, -8, 7)),
    "real zero_point": (TypeError, "zero_point must be an integer", (X, 0.1, 0.5, -8, 7)),
    "real tensor zero_point": (TypeError, "zero_point must be an integer", (X, 0.1, torch.tensor(0.0), -8, 7)),
    "text": (TypeError, "scale must be a number", (X, "0.1", 0, -8, 7)),
    "complex": (TypeError, "complex64", (X, torch.tensor(1j), 0, -8, 7)),
    "qmin": (TypeError, "qmin must be an int", (X, 0.1, 0, -8.0, 7)),
    "shape": (
        ValueError,
        r"scale must broadcast into x of shape \(2, 3\), got shape \(2,\): reshape it to \(2, 1\)",
        (X, torch.ones(2), 0, -8, 7),
    ),
    "channels": (ValueError, r"reshape it to \(6, 1, 1\)", (torch.zeros(SHAPE), torch.ones(6), 0, -8, 7)),
    "sparse": (TypeError, r"x must be a dense tensor.*x\.to_dense\(\)", (X.to_sparse(), 0.1, 0, -8, 7)),
    "rounded zero_point": (TypeError, r"give zero_point\.long\(\)", (X, 0.1, torch.tensor(-3.0).round(), -8, 7)),
    "rank": (ValueError, "zero_point must broadcast", (X, 0.1, torch.zeros(1, 2, 3, dtype=torch.int64), -8, 7)),
    "scale": (ValueError, "scale must be positive and finite", (X, -0.1, 0, -8, 7)),
    "range": (ValueError, "zero_point", (X, 0.1, 9, -8, 7)),
    "order": (ValueError, "qmin", (X, 0.1, 0, 7, -8)),
}


@pytest.mark.parametrize(("error", "message", "arguments"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("grad", [False, True])
def test_bad_arguments_are_refused(error, message, arguments, grad, way):
    x = arguments[0]
    if grad and isinstance(x, torch.Tensor) and x.is_floating_point():
        x = x.clone().requires_grad_()
    with pytest.raises(error, match=message):
        fq.torch.fake_quantize(x, *arguments[1:])


def sparse_gradients(quantize, weight, index):
    weight = weight.clone().requires_grad_()
    torch.nn.functional.embedding(index, quantize(weight), sparse=True).sum().backward()
    return weight.grad


@pytest.mark.parametrize("width", [1.0, 3.0])
@pytest.mark.parametrize("index", [[1, 1, 3], [], [[0, 2], [2, 0]]], ids=str)
def test_sparse_gradients_are_those_of_pytorch(index, width):
    weight, index = torch.linspace(-width, width, 12).reshape(4, 3), torch.tensor(index, dtype=torch.int64)
    expected = sparse_gradients(lambda w: torch.fake_quantize_per_tensor_affine(w, 0.25, 0, -8, 7), weight, index)
    for inplace in (False, True):
        found = sparse_gradients(
            lambda w, inplace=inplace: fq.torch.fake_quantize(w * 1, 0.25, 0, -8, 7, inplace=inplace), weight, index
        )
        assert found.layout == expected.layout
        assert torch.equal(found.to_dense(), expected.to_dense())
    found = sparse_gradients(lambda w: fq.torch.fake_quantize(w, 0.25, 0, -8, 7), weight, index)
    assert torch.equal(found.to_dense(), expected.to_dense())
    scale = torch.tensor(0.25, requires_grad=True)
    found = sparse_gradients(lambda w: fq.torch.fake_quantize_learnable(w, scale, 0, -8, 7), weight, index)
    assert torch.equal(found.to_dense(), expected.to_dense())


NEGATED = {
    "x": lambda: torch.linspace(1, 2, 3).add(0j).mul(1 + 2j).conj().imag,
    "of one": lambda: torch.tensor([1 + 2j]).conj().imag,
    "of a matrix": lambda: torch.complex(torch.ones(2, 3), torch.linspace(-3, 3, 6).reshape(2, 3)).conj().imag,
}


@pytest.mark.parametrize("make", NEGATED.values(), ids=NEGATED)
def test_negated_views_are_what_they_say(make, way):
    x = make()
    assert x.is_neg()
    expected = torch.fake_quantize_per_tensor_affine(x, 0.25, 0, -8, 7)
    assert torch.equal(fq.torch.fake_quantize(x, 0.25, 0, -8, 7), expected)
    leaf = torch.full(x.shape, 0.5, requires_grad=True)
    (dx,) = torch.autograd.grad(fq.torch.fake_quantize(leaf, 0.25, 0, -8, 7), leaf, x)
    assert torch.equal(dx, x)
    scale = torch.full((1,) * x.dim(), 0.25 + 0j).mul(-1j).conj().imag
    assert torch.equal(fq.torch.fake_quantize(torch.ones_like(x), scale, 0, -8, 7), torch.ones_like(x))
    assert torch.equal(fq.torch.fake_quantize(x, 0.25, 0, -8, 7, inplace=True), expected)
    assert torch.equal(x, expected)


def test_a_zero_point_of_nan_is_refused():
    with pytest.raises(ValueError, match="zero_point"):
        fq.torch.fake_quantize_learnable(X, torch.tensor(0.1, requires_grad=True), float("nan"), -8, 7)
    with pytest.raises(ValueError, match="zero_point"):
        fq.torch.fake_quantize_learnable(X, 0.1, float("nan"), -8, 7)


def test_other_devices_compute_by_the_formula_and_want_their_parameters_there():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        elsewhere = torch.empty(3, device="cuda")  # of this PyTorch, which has no CUDA: without gradients
        y = fq.torch.fake_quantize(elsewhere, 0.1, torch.tensor(0), -8, 7)
        assert y.device == elsewhere.device
        assert fq.torch.fake_quantize_learnable(elsewhere, 0.1, 0.0, -8, 7).device == elsewhere.device
        with pytest.raises(ValueError, match=r"scale must be on the device of x, cuda:0, got cpu: give scale\.to"):
            fq.torch.fake_quantize(elsewhere, torch.ones(3), 0, -8, 7)
        with pytest.raises(ValueError, match="qmin must not exceed qmax"):
            fq.torch.fake_quantize(elsewhere, 0.1, 0, 7, -8)


def test_meta_tensors_give_shapes():
    x = torch.empty(2, 3, 4, 5, device="meta").contiguous(memory_format=torch.channels_last).requires_grad_()
    y = fq.torch.fake_quantize(x, 0.1, 0, -8, 7)
    assert y.device.type == "meta"
    assert y.stride() == x.stride()
    y.sum().backward()
    assert x.grad.stride() == x.stride()


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("shape", SCALES.values(), ids=SCALES)
def test_plain_tensors_give_without_the_operators_what_they_give_through_them(monkeypatch, shape, learns):
    x, dy = torch.randn(SHAPE), torch.randn(SHAPE)
    scale, zero_point = torch.from_numpy(scales(shape, np.float32)), torch.from_numpy(levels(shape))

    def results():
        inputs = [x.clone().requires_grad_(), *([scale.clone().requires_grad_()] if learns else [])]
        function = fq.torch.fake_quantize_learnable if learns else fq.torch.fake_quantize
        y = function(inputs[0], inputs[1] if learns else scale, zero_point, -8, 7)
        return [y.detach(), *torch.autograd.grad(y, inputs, dy), type(y.grad_fn).__name__]

    *fast, _ = results()
    go(WAYS[1], monkeypatch)
    *found, short = results()
    assert all(torch.equal(one, other) for one, other in zip(fast, found, strict=True))
    monkeypatch.setattr(_operators, "runs_at_once", lambda *tensors: False)
    *expected, long = results()
    assert short != long
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_gradient_of_the_gradient_is_the_operators():
    x = torch.randn(20, requires_grad=True)
    dy = torch.randn(20, requires_grad=True)
    (dx,) = torch.autograd.grad(fq.torch.fake_quantize(x, 0.5, 0, -2, 1), x, dy, create_graph=True)
    (ddy,) = torch.autograd.grad(dx.sum(), dy)
    assert torch.equal(ddy, fq.torch.fake_quantize(x, 0.5, 0, -2, 1).detach().sub(x.detach()).abs().le(0.25).float())


def test_tracers_see_the_operators():
    from torch.fx.experimental.proxy_tensor import make_fx

    def function(x):
        return fq.torch.fake_quantize(x, 0.25, 0, -8, 7)

    traced = make_fx(function)(torch.randn(3))
    assert "fq.fake_quantize" in traced.code
    x = torch.randn(3)
    assert torch.equal(traced(x), function(x))


@pytest.mark.parametrize("name", ["fake_quantize", "fake_quantize_learnable"])
def test_a_zero_point_beyond_int64_is_refused_and_not_wrapped(name):
    function, x = getattr(fq.torch, name), torch.ones(3)
    beyond, within = (torch.tensor(value, dtype=torch.uint64) for value in (2**64 - 8, 3))
    with pytest.raises(ValueError, match=f"zero_point must be a level of int64, got {2**64 - 8}"):
        function(x, 0.25, beyond, -8, 7)
    with pytest.raises(ValueError, match="zero_point must lie within"):
        torch.func.vmap(lambda x, level: function(x, 0.25, level, -8, 7))(x, beyond.expand(3))
    assert torch.equal(function(x, 0.25, within, -8, 7), function(x, 0.25, 3, -8, 7))
