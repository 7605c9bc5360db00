"""fq.torch and fq.jax on an accelerator: the bits of fq's C, by the frameworks' own operations. Skips without one."""

import numpy as np
import pytest
from helpers import FLOAT_TYPES, GRIDS, assert_same, gradients, hard_values

import fq

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import fq.torch  # noqa: E402

GRID = 0.1, 3, -8, 7
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")
SHAPES = {"per tensor": (), "per channel": (6, 1, 1), "last axis": (4,), "each": (3, 6, 5, 4)}


def on_device(array):
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).cuda()
    return torch.from_numpy(array).cuda()


def to_numpy(tensor):
    tensor = tensor.detach().cpu().contiguous()
    return tensor.view(torch.int16).numpy().view("bfloat16") if tensor.dtype == torch.bfloat16 else tensor.numpy()


def values(dtype, grid, n=2**14):
    rng = np.random.default_rng(5)
    x = hard_values(dtype, grid, rng, n)
    if dtype.itemsize == 2:
        x = np.concatenate([np.arange(2**16, dtype=np.uint16).view(dtype), x])
    return x, gradients(dtype, rng, x.size)


def forward_and_backward(function, x, dy, *grid):
    x = on_device(x).requires_grad_()
    y = function(x, *grid)
    (dx,) = torch.autograd.grad(y, x, on_device(dy))
    return to_numpy(y), to_numpy(dx)


@CUDA
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("reciprocal", [False, True], ids=["divide", "reciprocal"])
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.filterwarnings("ignore")  # of inductor itself
def test_cuda_has_the_bits_of_c(dtype, reciprocal, compiled):
    functions = fq.reciprocal if reciprocal else fq
    torch.compiler.reset()
    call = lambda x, *grid: fq.torch.fake_quantize(x, *grid, reciprocal=reciprocal)  # noqa: E731
    call = torch.compile(call, dynamic=False) if compiled else call
    wide = torch.float64 if dtype == np.float64 else torch.float32
    for scale, zero_point, qmin, qmax in GRIDS[:: 3 if compiled else 1]:
        x, dy = values(dtype, (scale, zero_point, qmin, qmax))
        parameters = torch.tensor(scale, dtype=wide, device="cuda"), torch.tensor(zero_point, device="cuda")
        y, mask = functions.forward(x, scale, zero_point, qmin, qmax)
        assert_same(forward_and_backward(call, x, dy, *parameters, qmin, qmax), (y, fq.backward(dy, mask)))


@CUDA
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.filterwarnings("ignore")  # of inductor itself
def test_cuda_gradients_of_learned_parameters_are_those_of_c_up_to_the_sums(shape, compiled):
    rng = np.random.default_rng(6)
    x, dy = (rng.standard_normal((3, 6, 5, 4)).astype(np.float32) for _ in range(2))
    scale, zero_point = rng.uniform(0.05, 0.3, shape).astype(np.float32), rng.integers(-8, 8, shape)
    inputs = [on_device(np.asarray(one)).requires_grad_() for one in (x, scale, zero_point.astype(np.float32))]
    call = lambda *inputs: fq.torch.fake_quantize_learnable(*inputs, -8, 7)  # noqa: E731
    torch.compiler.reset()
    y = (torch.compile(call) if compiled else call)(*inputs)
    assert_same(to_numpy(y), fq.fake_quantize(x, scale, zero_point, -8, 7))
    found = [to_numpy(one) for one in torch.autograd.grad(y, inputs, on_device(dy))]
    expected = fq.backward_learnable(dy, x, scale, zero_point, -8, 7)
    assert_same(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@CUDA
def test_cuda_keeps_a_bit_an_element():
    saved = []
    x = torch.randn(1 << 16, device="cuda", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        fq.torch.fake_quantize(x * 1.0, torch.tensor(0.1, device="cuda"), 0, -8, 7).sum().backward()
    assert [tensor.nbytes for tensor in saved if tensor.dtype == torch.uint8] == [x.numel() // 8]


@CUDA
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", ["FakeQuantize", "FusedMovingAvgObsFakeQuantize"])
@pytest.mark.filterwarnings("ignore")  # of inductor itself
def test_cuda_modules_train_as_on_the_cpu(name, compiled):
    torch.manual_seed(0)
    module = getattr(fq.torch, name)(quant_min=0, quant_max=255)
    other = type(module)(quant_min=0, quant_max=255).cuda()
    torch.compiler.reset()
    other = torch.compile(other) if compiled else other
    for _ in range(3):
        x = torch.randn(64, 32)
        a, b = x.clone().requires_grad_(), x.cuda().requires_grad_()
        y, z = module(a), other(b)
        y.sum().backward()
        z.sum().backward()
        torch.testing.assert_close(z.cpu(), y)
        torch.testing.assert_close(b.grad.cpu(), a.grad)


@CUDA
def test_cuda_ranges_and_integers_are_those_of_the_cpu():
    x = torch.randn(16, 64)
    here, there = (fq.torch.calibrate(one, 4, axis=0, method="mse") for one in (x, x.cuda()))
    np.testing.assert_allclose(to_numpy(there.scale), to_numpy(here.scale), rtol=1e-6)
    q = fq.torch.quantize(x.cuda(), *there)
    assert_same(to_numpy(fq.torch.dequantize(q, *there[:2])), to_numpy(fq.torch.fake_quantize(x.cuda(), *there)))


def accelerators():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    devices = [device for device in jax.devices() if device.platform != "cpu"]
    return jax, devices or pytest.skip("JAX sees no accelerator")


@pytest.mark.parametrize("reciprocal", [False, True], ids=["divide", "reciprocal"])
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_jax_has_the_bits_of_c_on_an_accelerator(dtype, reciprocal):
    jax, devices = accelerators()
    import fq.jax

    functions = fq.reciprocal if reciprocal else fq
    with jax.enable_x64(dtype == np.float64), jax.default_device(devices[0]):

        @jax.jit
        def run(x, dy, *grid):
            y, vjp = jax.vjp(lambda x: fq.jax.fake_quantize(x, *grid, reciprocal=reciprocal), x)
            return y, *vjp(dy)

        for scale, zero_point, qmin, qmax in GRIDS:
            x, dy = values(dtype, (scale, zero_point, qmin, qmax))
            scale = np.asarray(scale, np.float64 if dtype == np.float64 else np.float32)
            y, mask = functions.forward(x, scale, zero_point, qmin, qmax)
            found = run(x, dy, scale, *(np.int32(one) for one in (zero_point, qmin, qmax)))
            assert_same(tuple(map(np.asarray, found)), (y, fq.backward(dy, mask)))


def test_jax_learns_exports_and_finds_ranges_on_an_accelerator():
    jax, devices = accelerators()
    from jax import export

    import fq.jax

    rng = np.random.default_rng(7)
    x, dy = (rng.standard_normal((6, 50)).astype(np.float32) for _ in range(2))
    scale, zero_point = rng.uniform(0.1, 0.4, (6, 1)).astype(np.float32), np.zeros((6, 1), np.float32)
    with jax.default_device(devices[0]):
        call = lambda *a: jax.vjp(lambda *b: fq.jax.fake_quantize_learnable(*b, -8, 7), *a)[1](dy)  # noqa: E731
        found = jax.jit(call)(x, scale, zero_point)
        expected = fq.backward_learnable(dy, x, scale, zero_point.astype(int), -8, 7)
        assert_same(np.asarray(found[0]), expected[0])
        for one, other in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        ranges = jax.jit(lambda x: fq.jax.calibrate(x, 4, axis=0)[:2])(x)
        np.testing.assert_allclose(np.asarray(ranges[0]), fq.calibrate(x, 4, axis=0).scale, rtol=1e-6)
        quantized = jax.jit(lambda x: fq.jax.fake_quantize(x, 0.1, 3, -8, 7))
        platform = "cuda" if devices[0].platform == "gpu" else devices[0].platform
        saved = export.export(quantized, platforms=[platform])(jax.ShapeDtypeStruct(x.shape, x.dtype))
        assert_same(np.asarray(saved.call(x)), fq.fake_quantize(x, *GRID))
