"""fq.reciprocal is PyTorch's arithmetic: the same bits on finite inputs, ties included."""

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same, bfloat16, hard_values

import fq

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

GRIDS = [(0.1, 0, -128, 127), (0.05, 128, 0, 255), (1 / 3, 1, -2, 1), (0.7, 3, 0, 15), (1.0, 0, -8, 7)]
TYPES = [t for t in FLOAT_TYPES if t != np.float64]


def to_torch(array):
    return (
        torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype == bfloat16
        else torch.from_numpy(array)
    )


def to_numpy(tensor):
    return tensor.view(torch.int16).numpy().view(bfloat16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def finite_values(dtype, grid, n):
    x = hard_values(dtype, grid, np.random.default_rng(5), 4 * n)
    with np.errstate(all="ignore"):
        # PyTorch converts to int64 before it clamps, which is undefined beyond it.
        usable = np.isfinite(x.astype(np.float32)) & (np.abs(x.astype(np.float64)) < 2.0**50 * grid[0])
    return x[usable][:n]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_per_tensor(dtype, grid):
    x = finite_values(dtype, grid, 50_000)
    scale = np.float32(grid[0])
    expected = torch.fake_quantize_per_tensor_affine(to_torch(x), float(scale), *grid[1:])
    expected = to_numpy(expected) + dtype.type(0)  # PyTorch may give -0.0
    assert_same(fq.reciprocal.fake_quantize(x, scale, *grid[1:]), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_per_channel(dtype, axis):
    grid = (0.1, 3, -8, 7)
    x = finite_values(dtype, grid, 12 * 13 * 14).reshape(12, 13, 14)
    rng = np.random.default_rng(6)
    scale = rng.uniform(0.05, 0.3, x.shape[axis]).astype(np.float32)
    zero_point = rng.integers(-8, 8, x.shape[axis]).astype(np.int32)
    shape = [-1 if a == axis else 1 for a in range(3)]
    expected = torch.fake_quantize_per_channel_affine(
        to_torch(x), torch.from_numpy(scale), torch.from_numpy(zero_point), axis, -8, 7
    )
    found = fq.reciprocal.fake_quantize(x, scale.reshape(shape), zero_point.reshape(shape), -8, 7)
    assert_same(found, to_numpy(expected) + dtype.type(0))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_mask_and_gradient(grid):
    x = finite_values(np.dtype(np.float32), grid, 50_000)
    tensor = torch.from_numpy(x).requires_grad_()
    y, mask = fq.reciprocal.forward(x, *grid)
    torch.fake_quantize_per_tensor_affine(tensor, *grid).backward(torch.ones_like(tensor))
    assert_same(fq.reciprocal.backward(np.ones_like(x), mask), tensor.grad.numpy())
    assert_same(y, fq.reciprocal.fake_quantize(x, *grid))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_choose_qparams_agrees_with_the_min_max_observer(symmetric, signed):
    from torch.ao.quantization import MinMaxObserver

    scheme = torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine
    rng = np.random.default_rng(8)
    for _ in range(50):
        x = (rng.standard_normal(20) * 10 ** rng.uniform(-3, 3) + rng.standard_normal()).astype(np.float32)
        observer = MinMaxObserver(dtype=torch.qint8 if signed else torch.quint8, qscheme=scheme)
        observer(torch.from_numpy(x))
        scale, zero_point = observer.calculate_qparams()
        found = fq.choose_qparams(x.min(), x.max(), signed=signed, symmetric=symmetric, formula="torch")
        assert found.scale == pytest.approx(scale.item(), rel=3e-7)
        assert found.zero_point == zero_point.item()
