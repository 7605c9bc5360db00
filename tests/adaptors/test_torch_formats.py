"""fq.torch with float formats and blocks: the bits of NumPy, gradients, what is kept, and what is refused."""

import gc

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import fq  # noqa: E402
import fq.torch as ft  # noqa: E402
from fq import formats  # noqa: E402
from fq.torch import _formats, _memory  # noqa: E402

TYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
FORMATS = {name: getattr(formats, name) for name in formats.__all__ if name[0].islower()}
FORMATS |= {f"mxfp4 {rule}": formats.mxfp4._replace(rule=rule) for rule in ("up", "fit")}
EVERY = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
SHAPES = [((), None), ((5,), None), ((6, 70), 0), ((2, 3, 5, 8), 1), ((0, 3), None)]


def values(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(np.asarray(rng.standard_normal(shape) * 2.0 ** rng.integers(-10, 8, shape)))
    x = torch.where(torch.from_numpy(np.asarray(rng.random(shape) < 0.05)), -0.0, x)
    return x.to(dtype)


def scale_of(shape, axis, dtype):
    of_scale = () if axis is None else (shape[axis], *(1 for _ in shape[axis + 1 :]))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return torch.full(of_scale, 0.3, dtype=wide) * torch.linspace(0.5, 1.5, int(np.prod(of_scale))).reshape(of_scale)


def is_block(format):
    return isinstance(format, formats.BlockFormat)


def run(x, format, axis):
    if is_block(format):
        return ft.fake_quantize_blocks(x, format, axis=axis or 0)
    return ft.fake_quantize_float(x, scale_of(x.shape, axis, x.dtype), format)


def array_of(tensor):
    tensor = tensor.detach().contiguous()
    return _memory.in_memory_order(tensor, range(tensor.dim()))


def expected(x, format, axis):
    """y as an array, and the mask."""
    array = array_of(x)
    if is_block(format):
        return fq.blocks.forward(array, format, axis=axis or 0)
    return fq.floats.forward(array, array_of(scale_of(x.shape, axis, x.dtype)), *format)


def assert_bits(tensor, array):
    assert array_of(tensor).tobytes() == np.ascontiguousarray(array).tobytes()


@EVERY
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_y_and_the_gradient_are_those_of_numpy(shape, axis, dtype, format):
    if is_block(format) and not shape:
        pytest.skip("blocks lie along an axis")
    x = values(shape, dtype).requires_grad_()
    y, mask = expected(x, format, axis)
    found = run(x, format, axis)
    assert_bits(found, y)
    assert_bits(run(x.detach(), format, axis), y)
    dy = values(shape, dtype, 1)
    found.backward(dy)
    assert_bits(x.grad, fq.backward(array_of(dy), mask))


@EVERY
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_the_formula_for_other_devices_has_the_same_bits(dtype, format):
    x = torch.cat([values((6, 70), dtype), values((2, 70), dtype) * 1e3, torch.zeros(1, 70, dtype=dtype)])
    x[1, 1], x[2, 2], x[3, 3] = torch.nan, torch.inf, -torch.inf
    y, mask = expected(x, format, 0)
    if is_block(format):
        found = _formats._block_formula(x, format, 0, None)
    else:
        found = _formats._float_formula(x, scale_of(x.shape, 0, dtype), format)
    with np.errstate(all="ignore"):
        is_nan = np.isnan(y)
        assert (np.isnan(array_of(found[0])) == is_nan).all()
    assert array_of(found[0])[~is_nan].tobytes() == y[~is_nan].tobytes()
    assert (found[1].numpy() == mask).all()


@EVERY
def test_channels_last_and_strided_tensors(format):
    x = values((2, 8, 5, 3), torch.float32)
    y, mask = expected(x, format, 1)
    for one in (x.to(memory_format=torch.channels_last), x.transpose(0, 3).contiguous().transpose(0, 3)):
        leaf = one.clone().requires_grad_()
        found = run(leaf, format, 1)
        assert_bits(found, y)
        found.sum().backward()
        assert (leaf.grad != 0).numpy().tolist() == mask.tolist()
        if not is_block(format):
            assert found.stride() == one.stride()


@pytest.mark.filterwarnings("ignore")  # of PyTorch itself
@EVERY
def test_compiled_code_and_transforms_give_the_same(format):
    x = values((6, 72), torch.float32).requires_grad_()
    y, mask = expected(x, format, None)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: run(x, format, None), backend="aot_eager", fullgraph=True)
    found = compiled(x)
    assert_bits(found, y)
    found.sum().backward()
    assert (x.grad != 0).numpy().tolist() == mask.tolist()
    if is_block(format) and format.scale == "e4m3":
        return  # whose tensor scale is that of each sample under vmap
    over_rows = torch.func.vmap(torch.func.grad(lambda row: run(row, format, None).sum()))(x.detach())
    rows = [expected(row, format, None)[1] for row in x]
    assert (over_rows != 0).numpy().tolist() == np.stack(rows).tolist()
    _, tangent = torch.func.jvp(lambda x: run(x, format, None), (x.detach(),), (torch.ones_like(x),))
    assert (tangent != 0).numpy().tolist() == mask.tolist()


def saved(function):
    """Tensors that a call saves for its backward."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        function()
    return kept


@EVERY
def test_a_bit_an_element_is_kept_or_one_byte(format):
    x = (values((8, 64), torch.float32) * 0.01).requires_grad_()
    (bits,) = saved(lambda: run(x, format, None))
    mask = expected(x, format, None)[1]
    assert bits.dtype == torch.uint8
    assert bits.untyped_storage().nbytes() == (1 if mask.all() else x.numel() // 8)


def test_x_is_free_after_the_forward():
    x = values((8, 64), torch.float32).requires_grad_()
    inner = x * 1
    ft.fake_quantize_blocks(inner, formats.mxfp4)
    y = ft.fake_quantize_float(inner, 1.0, formats.e4m3fn)
    storage = torch.multiprocessing.reductions.StorageWeakRef(inner.untyped_storage())
    del inner
    gc.collect()
    assert storage.expired()
    y.sum().backward()


def test_second_derivatives_are_zero_and_gradients_pass():
    x = values((4, 32), torch.float64).requires_grad_()
    for format in (formats.e2m1fn, formats.mxfp4):
        (dx,) = torch.autograd.grad((run(x, format, None) ** 2).sum(), x, create_graph=True)
        (ddx,) = torch.autograd.grad(dx.sum(), x)
        mask = torch.from_numpy(expected(x, format, None)[1])
        assert torch.equal(ddx != 0, mask)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ft.fake_quantize_float(x, 1.0, formats.mxfp4), TypeError, "FloatGrid"),
        (lambda x: ft.fake_quantize_float(x, 1.0, formats.FloatGrid(1, 0, 5.0)), ValueError, "max must be"),
        (lambda x: ft.fake_quantize_float(x, 0.0, formats.e4m3fn), ValueError, "scale must be positive"),
        (lambda x: ft.fake_quantize_float(x, torch.ones(3), formats.e4m3fn), ValueError, "broadcast into x"),
        (lambda x: ft.fake_quantize_float(x.int(), 1.0, formats.e4m3fn), TypeError, "int32"),
        (lambda x: ft.fake_quantize_blocks(x, formats.e4m3fn), TypeError, "BlockFormat"),
        (lambda x: ft.fake_quantize_blocks(x, formats.mxfp4, axis=2), ValueError, "axis must lie within"),
        (lambda x: ft.fake_quantize_blocks(x, formats.nvfp4, tensor_scale=-1.0), ValueError, "positive"),
        (lambda x: ft.fake_quantize_blocks(x[0, 0], formats.mxfp4), ValueError, "axis"),
    ],
)
def test_what_is_wrong_is_refused(call, error, words):
    for x in (torch.ones(2, 4), torch.ones(2, 4, requires_grad=True)):
        with pytest.raises(error, match=words):
            call(x)
