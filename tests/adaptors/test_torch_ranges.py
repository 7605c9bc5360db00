"""fq.torch: grids chosen and calibrated in eager and compiled code, integers, and scales that a step brought to 0."""

import doctest
import importlib

import numpy as np
import pytest
from hard_ranges import KINDS, assert_inside, hard_ranges, name_of
from helpers import FLOAT_TYPES, GRIDS, assert_same, hard_values

import fq

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import fq.torch  # noqa: E402
from fq.torch import _ranges  # noqa: E402

METHODS = ["minmax", "percentile", "mse"]
GRID = 0.25, 3, -8, 7
X = np.random.default_rng(0).standard_t(3, (6, 64)).astype(np.float32)
T = torch.from_numpy(X)


def compiled(function):
    """In one graph; without a compiler for what the graph holds."""
    torch._dynamo.reset()
    return torch.compile(function, backend="aot_eager", fullgraph=True)


def tensor(x):
    """A tensor of an array of any of the types."""
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def array(x):
    return x.view(torch.int16).numpy().view(FLOAT_TYPES[1]) if x.dtype == torch.bfloat16 else x.numpy()


def assert_same_grid(found, expected):
    assert_same(found.scale.numpy(), np.asarray(expected.scale))
    np.testing.assert_array_equal(found.zero_point.numpy(), expected.zero_point)
    assert tuple(found[2:]) == tuple(expected[2:])


# The choice of a grid


@pytest.mark.parametrize("formula", ["cover", "torch"])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_the_grid_is_that_of_numpy_to_the_last_bit(kind, formula):
    low, high = (end / 4 for end in hard_ranges(kind, np.random.default_rng(kind["bits"]), 5000))
    for of in (np.float32, np.float64):
        ends = low.astype(of), high.astype(of)
        found = fq.torch.choose_qparams(*map(torch.from_numpy, ends), **kind, formula=formula)
        assert_same_grid(found, fq.choose_qparams(*ends, **kind, formula=formula))
        if formula == "cover":
            assert_inside(found, low, high)


def test_numbers_and_half_precision_are_taken_as_by_numpy():
    for ends in [(-1.0, 2.0), (-1, 2), (np.float32(-0.3), 0.7), (np.float16(-1), np.float16(2))]:
        assert_same_grid(fq.torch.choose_qparams(*ends, 4), fq.choose_qparams(*ends, 4))
    ends = torch.tensor([-1.1, 0]).bfloat16(), torch.tensor([2.3, 1]).bfloat16()
    assert_same_grid(fq.torch.choose_qparams(*ends), fq.choose_qparams(*(end.float().numpy() for end in ends)))


def test_compiled_the_grid_is_the_same():
    low, high = (torch.from_numpy(end / 4) for end in hard_ranges(KINDS[7], np.random.default_rng(1), 500))
    for kind in KINDS[5:10]:
        found = compiled(lambda *ends, kind=kind: fq.torch.choose_qparams(*ends, **kind))(low, high)
        assert_same_grid(found, fq.choose_qparams(low.numpy(), high.numpy(), **kind))


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_range_of_nothing_or_of_zero_alone_has_a_usable_scale(symmetric):
    for ends in [(0.0, 0.0), (np.inf, -np.inf)]:
        found = fq.torch.choose_qparams(*map(torch.tensor, ends), symmetric=symmetric)
        assert (found.scale, found.zero_point) == (1, 0 if symmetric else -128)
        assert fq.torch.choose_qparams(*map(torch.tensor, ends), symmetric=symmetric, eps=0.5).scale == 0.5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.nan, 1), ValueError, "xmin must be finite, got nan"),
        ((0, torch.tensor([1, np.inf])), ValueError, "xmax must be finite, got inf"),
        ((torch.tensor(1), 0), ValueError, "xmin must not exceed xmax"),
        ((torch.tensor(-3e38), torch.tensor(3e38), 1), ValueError, "too wide"),
        ((0, 1, 17), ValueError, "bits must be 1 to 16"),
        ((0, 1j), TypeError, "xmax must be"),
        ((0, torch.tensor(1j)), TypeError, "xmax must be real"),
        (("a", 1), TypeError, "xmin must be"),
    ],
    ids=str,
)
def test_bad_ranges_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fq.torch.choose_qparams(*arguments)


def test_a_compiled_range_that_is_refused_gives_a_scale_that_is_refused():
    found = compiled(lambda a, b: fq.torch.choose_qparams(a, b))(torch.tensor(np.nan), torch.tensor(1.0))
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        fq.torch.fake_quantize(T, *found)


# Calibration


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("axis", "axes"), [(None, (0, 1, 2)), (1, (0, 2)), ((0, -1), (1,)), ((0, 1, 2), ())], ids=str)
def test_ranges_are_those_of_numpy_with_axes_kept(axis, axes, symmetric, dtype):
    x = np.random.default_rng(4).standard_t(3, (5, 4, 30)).astype(dtype)
    found = fq.torch.calibrate(tensor(x), 8, axis, symmetric=symmetric)
    wide = x.astype(np.float64 if dtype == np.float64 else np.float32)
    ends = (end(axes, keepdims=axis is not None) for end in (wide.min, wide.max))
    assert_same_grid(found, fq.choose_qparams(*ends, symmetric=symmetric))
    assert_inside(found, x)
    for p in (99.99, 90, 25):
        found = fq.torch.calibrate(tensor(x), 8, axis, method="percentile", p=p, symmetric=symmetric)
        if symmetric:
            high = np.percentile(np.abs(wide), p, axes, keepdims=True)
            ends = -high, high
        else:
            ends = [np.percentile(wide, q, axes, keepdims=True) for q in ((100 - p) / 2, 100 - (100 - p) / 2)]
        expected = fq.choose_qparams(*ends, symmetric=symmetric).scale
        np.testing.assert_allclose(np.ravel(found.scale), np.ravel(expected), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_groups_are_along_the_last_axis(method):
    groups = fq.torch.grouped(T, 16)
    assert groups.shape == (6, 4, 16)
    assert groups.data_ptr() == T.data_ptr()
    found = fq.torch.calibrate(T, 4, group=16, method=method, p=90)
    assert found.scale.shape == found.zero_point.shape == (6, 4, 1)
    for row in range(6):
        for group in range(4):
            one = fq.torch.calibrate(groups[row, group], 4, method=method, p=90)
            torch.testing.assert_close(found.scale[row, group, 0], one.scale.reshape(()))


@pytest.mark.parametrize("how", [{}, {"axis": 1}, {"axis": (0, -1)}, {"group": 8}, {"axis": 1, "group": 8}], ids=str)
def test_grids_have_the_shapes_and_values_of_fq_calibrate(how):
    x = np.random.default_rng(6).standard_normal((3, 4, 16)).astype(np.float32)
    found, expected = fq.torch.calibrate(torch.from_numpy(x), 4, **how), fq.calibrate(x, 4, **how)
    assert tuple(found.scale.shape) == np.shape(expected.scale)
    np.testing.assert_array_equal(found.scale, expected.scale)
    np.testing.assert_array_equal(found.zero_point, expected.zero_point)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_is_not_finite_is_skipped(method, symmetric):
    x = T.clone()
    x[:, ::7], x[:, 3::7], x[:, 5::7] = torch.nan, torch.inf, -torch.inf
    found = fq.torch.calibrate(x, 4, method=method, symmetric=symmetric, p=95)
    expected = fq.torch.calibrate(x[x.isfinite()], 4, method=method, symmetric=symmetric, p=95)
    assert (found.scale.reshape(()), found.zero_point.reshape(())) == (expected.scale, expected.zero_point)
    for nothing in (torch.full((3, 4), torch.nan), torch.zeros(0, 4), torch.zeros(2, 3)):
        assert fq.torch.calibrate(nothing, method=method, symmetric=symmetric).scale == 1
        assert fq.torch.calibrate(nothing, axis=0, method=method).scale.shape == (len(nothing), 1)
    assert fq.torch.calibrate(torch.tensor(3.0), method=method).scale.shape == ()


def noise(x, qparams):
    return float(((fq.fake_quantize(x, *qparams) - x).astype(np.float64) ** 2).mean())


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("skewed", [False, True], ids=["around 0", "above 0"])
def test_mse_is_near_the_least_error_of_any_part_of_the_range(bits, symmetric, skewed):
    x = X.copy() if not skewed else np.abs(X) + np.float32(2)
    x[0, 0] *= 20
    found = noise(
        x, [np.asarray(one) for one in fq.torch.calibrate(tensor(x), bits, method="mse", symmetric=symmetric)]
    )
    parts = np.linspace(0.01, 1, 100)
    pairs = zip(parts, parts, strict=True) if symmetric else ((a, b) for a in parts[::3] for b in parts[::3])
    ends = min(x.min(), 0), max(x.max(), 0)
    best = min(noise(x, fq.choose_qparams(ends[0] * a, ends[1] * b, bits, symmetric=symmetric)) for a, b in pairs)
    assert found <= best * 1.02


@pytest.mark.parametrize("method", METHODS)
def test_calibration_is_compiled_in_one_graph(method):
    for how in ({}, {"axis": 0, "symmetric": True}, {"group": 16}):
        found = compiled(lambda x, how=how: fq.torch.calibrate(x, 4, method=method, p=95, **how))(T)
        assert_same_grid(found, fq.QParams(*map(np.asarray, fq.torch.calibrate(T, 4, method=method, p=95, **how))))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of inductor itself
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_values_that_inductor_may_leave_unrounded_are_inside(dtype):
    a, b = (torch.randn(200, 32, generator=torch.Generator().manual_seed(i)).to(dtype) for i in (1, 2))

    @torch.compile(fullgraph=True)
    def run(a, b):
        x = a * b
        return x, fq.torch.calibrate(x, axis=0, symmetric=True)

    x, qparams = run(a, b)
    assert_inside(qparams, array(x))


@pytest.mark.parametrize("method", METHODS)
def test_no_gradient_passes_into_a_range(method):
    x = T.clone().requires_grad_()
    qparams = fq.torch.calibrate(x, 4, method=method)
    assert not qparams.scale.requires_grad
    weight = torch.cos(torch.arange(384.0)).reshape(6, 64)
    (fq.torch.fake_quantize(x, *qparams) * weight).sum().backward()
    mask = fq.forward(X, *(np.asarray(one) for one in qparams))[1]
    assert torch.equal(x.grad, weight * torch.from_numpy(mask))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"x": torch.zeros(3, dtype=torch.int32)}, TypeError, "x must be a tensor of float16, bfloat16"),
        ({"x": X}, TypeError, "got ndarray"),
        ({"axis": 2}, ValueError, "axis 2 is not there"),
        ({"group": 10}, ValueError, r"x of shape \(6, 64\) has no last axis that groups of 10 divide"),
        ({"axis": 1, "group": 8}, ValueError, "axis 1 must not name the last axis of x"),
        ({"method": "entropy"}, ValueError, "method must be"),
        ({"p": 101}, ValueError, "p must be above 0"),
        ({"eps": -1}, ValueError, "eps must be positive"),
    ],
    ids=str,
)
def test_bad_arguments_of_calibrate_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        fq.torch.calibrate(**({"x": T} | wrong))


@pytest.mark.parametrize("name", ["FakeQuantize", "FusedMovingAvgObsFakeQuantize"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_modules_go_on_after_a_batch_of_zeros(name, per_channel):
    how = {}
    if per_channel:
        observer = {"FakeQuantize": "PerChannelMinMaxObserver"}.get(name, "MovingAveragePerChannelMinMaxObserver")
        how = {"observer": getattr(torch.ao.quantization, observer), "dtype": torch.qint8}
        how |= {"qscheme": torch.per_channel_symmetric, "quant_min": -128, "quant_max": 127}
    module = getattr(fq.torch, name)(**how)
    for x in (torch.zeros(6, 64), T, torch.zeros(6, 64), T):
        y = module(x.clone().requires_grad_())
        y.sum().backward()
        assert y.isfinite().all()


# Integers

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32"]


def fits(name, grid):
    return np.iinfo(name).min <= grid[2] and grid[3] <= np.iinfo(name).max


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_dequantized_integers_have_the_bits_of_fake_quantize(grid, dtype):
    x = hard_values(dtype, grid, np.random.default_rng(5), 4096)
    expected = fq.fake_quantize(x, *grid)
    expected[np.isnan(x)] = 0
    kinds = [name for name in INTEGERS if fits(name, grid)]
    for name in kinds:
        q = fq.torch.quantize(tensor(x), *grid, dtype=getattr(torch, name))
        assert q.dtype == getattr(torch, name)
        assert (q.long()[np.isnan(x)] == grid[1]).all()
        assert_same(array(fq.torch.dequantize(q, *grid[:2], dtype=tensor(x).dtype)), expected)
    found = fq.torch.quantize(tensor(x), *grid)
    assert found.dtype == getattr(torch, kinds[0])
    assert torch.equal(found.long(), q.long())


def test_integers_per_channel_of_scalars_and_compiled():
    scale, zero_point = torch.linspace(0.1, 0.4, 6)[:, None], torch.arange(-3, 3)[:, None]
    y = fq.torch.fake_quantize(T, scale, zero_point, -8, 7)
    run = lambda x: fq.torch.quantize(x, scale, zero_point, -8, 7)  # noqa: E731
    back = lambda q: fq.torch.dequantize(q, scale, zero_point)  # noqa: E731
    assert torch.equal(back(run(T)), y)
    assert torch.equal(compiled(run)(T), run(T))
    assert torch.equal(compiled(back)(run(T)), y)
    assert fq.torch.quantize(torch.tensor(0.6), *GRID) == 5
    assert fq.torch.dequantize(torch.tensor(5), 0.25, 3) == 0.5


def test_the_gradient_of_dequantize_reaches_scale():
    q, scale = torch.arange(-8, 8), torch.tensor(0.25, requires_grad=True)
    weight = torch.cos(torch.arange(16.0))
    (fq.torch.dequantize(q, scale, 3) * weight).sum().backward()
    torch.testing.assert_close(scale.grad, (torch.arange(-11.0, 5) * weight).sum())


def test_values_are_not_seen_in_compiled_code_and_scales_that_are_refused_give_nan():
    scales = torch.tensor([[0.0], [-0.25], [torch.nan], [torch.inf]])
    q = compiled(lambda x, s: fq.torch.quantize(x, s, 3, -8, 7))(T[:4], scales)
    assert (q == 3).all()
    assert compiled(lambda q, s: fq.torch.dequantize(q, s, 3))(q, scales).isnan().all()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"x": torch.zeros(3, dtype=torch.int8)}, TypeError, "x must be a tensor of float16"),
        ({"scale": 0.0}, ValueError, "scale must be positive and finite"),
        ({"zero_point": 9}, ValueError, "zero_point must lie within"),
        ({"zero_point": 0.5}, TypeError, "zero_point must be an integer"),
        ({"scale": torch.ones(3)}, ValueError, "broadcast"),
        ({"dtype": torch.float32}, TypeError, "dtype must be one of torch.int8"),
        ({"qmax": 200, "dtype": torch.int8}, ValueError, "torch.int8 does not hold the levels -8 to 200"),
        ({"qmin": -9, "qmax": 2**40}, ValueError, "no type of integers"),
    ],
    ids=str,
)
def test_bad_arguments_of_quantize_are_refused(changed, error, message):
    with pytest.raises(error, match=message):
        fq.torch.quantize(**({"x": T, "scale": 0.25, "zero_point": 3, "qmin": -8, "qmax": 7} | changed))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"q": T}, TypeError, "q must be a tensor of integers, got torch.float32"),
        ({"q": [1]}, TypeError, "q must be a tensor of integers, got list"),
        ({"scale": -1.0}, ValueError, "scale must be positive"),
        ({"zero_point": 0.5}, TypeError, "zero_point must be an integer"),
        ({"zero_point": torch.zeros(5, dtype=int)}, ValueError, "broadcast"),
        ({"dtype": torch.int8}, TypeError, "dtype must be torch.float16"),
    ],
    ids=str,
)
def test_bad_arguments_of_dequantize_are_refused(changed, error, message):
    arguments = {"q": torch.zeros((2, 3), dtype=torch.int8), "scale": 0.25, "zero_point": 3} | changed
    with pytest.raises(error, match=message):
        fq.torch.dequantize(**arguments)


def test_levels_too_far_from_the_zero_point_give_nan():
    found = fq.torch.dequantize(torch.tensor([2**31 - 1, -(2**31), 0, 2**24 - 1]), 0.5, -1)
    assert torch.equal(found.nan_to_num(9), torch.tensor([9, 9, 0.5, 2.0**23]))


def test_on_another_device_nothing_is_computed_on_the_cpu():
    """The device named meta has no values; what touched any would fail."""
    x = torch.empty(6, 64, device="meta")
    for method in METHODS:
        if method != "mse":
            found = fq.torch.calibrate(x, axis=0, method=method)
            assert found.scale.device.type == found.zero_point.device.type == "meta"
            assert found.scale.shape == (6, 1)
    q = fq.torch.quantize(x, *found)
    assert (q.device.type, q.dtype) == ("meta", torch.int8)
    assert fq.torch.dequantize(q, *found[:2]).device.type == "meta"


# Scales that a step brought to 0 or below


@pytest.mark.parametrize("scale", [0.25, 0.01, 0.0, -3.0, 1e-40])
@pytest.mark.parametrize("made", [lambda f: f, compiled], ids=["eager", "compiled"])
def test_a_scale_below_eps_is_eps_and_has_the_gradient_of_eps(scale, made):
    found, expected = [], []
    run = made(lambda x, s, eps: fq.torch.fake_quantize_learnable(x, s, 0, -8, 7, eps=eps))
    floored = max(np.float32(scale), np.float32(0.1))
    for value, eps, results in [(scale, 0.1, found), (floored, None, expected)]:
        x, s = T.clone().requires_grad_(), torch.tensor(value, requires_grad=True, dtype=torch.float32)
        y = run(x, s, eps)
        y.sum().backward()
        results.extend([y.detach(), x.grad, s.grad])
    assert all(map(torch.equal, found, expected))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch itself
def test_a_scale_below_eps_works_under_transforms():
    loss = lambda s: (fq.torch.fake_quantize_learnable(T, s, 0, -8, 7, eps=0.1) * T).sum()  # noqa: E731
    expected = torch.func.grad(loss)(torch.tensor(0.1))
    assert torch.func.grad(loss)(torch.tensor(-3.0)) == expected
    assert torch.func.jvp(loss, (torch.tensor(-3.0),), (torch.tensor(1.0),))[1] == pytest.approx(expected.item(), 1e-5)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(torch.tensor([-3.0, 0.1])), expected.expand(2))


def test_steps_go_on_and_the_scale_comes_back():
    scale = torch.tensor(-0.02, requires_grad=True)
    optimizer = torch.optim.SGD([scale], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        ((fq.torch.fake_quantize_learnable(T, scale, 0, -8, 7, eps=1e-3) - T) ** 2).mean().backward()
        optimizer.step()
    assert scale > 0.1
    with pytest.raises(ValueError, match="scale must be positive"):
        fq.torch.fake_quantize_learnable(T, torch.tensor(-0.02, requires_grad=True), 0, -8, 7)
    with pytest.raises(ValueError, match="eps must be positive"):
        fq.torch.fake_quantize_learnable(T, scale, 0, -8, 7, eps=0)


def test_the_search_is_an_operator_that_pytorch_accepts():
    ends = T.amin(1, keepdim=True), T.amax(1, keepdim=True)
    torch.library.opcheck(_ranges.search_range, (T, *ends, [1], -8, 7, False, True, 1e-38, 1.0))


@pytest.mark.parametrize("name", ["fq.torch._ranges", "fq.torch._integers"])
def test_examples(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed
