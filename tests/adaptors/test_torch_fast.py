"""One call of C a direction: what it takes, what it leaves to others, and that its bits are theirs."""

import functools
import gc
import itertools

import numpy as np
import pytest
from helpers import FLOAT_TYPES

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch.ao import quantization as theirs  # noqa: E402

import fq.torch  # noqa: E402
from fq import _core  # noqa: E402
from fq.torch import _fast, _formula, _operators  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not _fast.IS_ON, reason="this PyTorch has no C exchange API"),
]
GRID = 0.25, 0, -8, 7
X = torch.linspace(-3, 3, 24).reshape(4, 6)
TAIL = False, None, None  # not reciprocal; no axis; x's own order


def forward(x, scale=0.25, zero_point=0, qmin=-8, qmax=7, packed=False, real=False):
    return _core._tensor_forward(x, scale, zero_point, qmin, qmax, *TAIL, packed, real)


def taken(monkeypatch):
    """What the functions of C gave in every call from now on."""
    found = []
    for name in ("_tensor_forward", "_tensor_backward", "_tensor_learn", "_tensor_observed"):
        monkeypatch.setattr(_core, name, functools.partial(_told, found, name, getattr(_core, name)))
    return found


def _told(found, name, real, *arguments):
    result = real(*arguments)
    found.append((name, result is not None))
    return result


def dense(dtype):
    return X.to(dtype).requires_grad_()


TAKEN = {
    "contiguous": lambda d: dense(d),
    "channels last": lambda d: (
        X.reshape(1, 4, 2, 3).to(d).contiguous(memory_format=torch.channels_last).requires_grad_()
    ),
    "transposed": lambda d: X.to(d).t().requires_grad_(),
    "a parameter": lambda d: torch.nn.Parameter(X.to(d)),
    "a part": lambda d: X.to(d)[1:3].requires_grad_(),
    "of no axis": lambda d: torch.tensor(0.7, dtype=d, requires_grad=True),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_c_takes_plain_tensors_in_both_directions(make, dtype, monkeypatch):
    found, x = taken(monkeypatch), make(dtype)
    y = fq.torch.fake_quantize(x, torch.tensor(0.25), torch.tensor(0, dtype=torch.int32), -8, 7)
    torch.autograd.grad(y, x, torch.ones_like(y))
    scale = torch.tensor(0.25, dtype=torch.float64 if dtype == torch.float64 else torch.float32, requires_grad=True)
    y = fq.torch.fake_quantize_learnable(x, scale, 0, -8, 7)
    torch.autograd.grad(y, (x, scale), torch.ones_like(y))
    names = ["_tensor_forward", "_tensor_backward", "_tensor_forward", "_tensor_learn"]
    assert found == [(name, True) for name in names]


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("name", ["FakeQuantize", "FusedMovingAvgObsFakeQuantize"])
def test_c_takes_the_modules(name, channels, monkeypatch):
    settings = {"observer": theirs.MovingAverageMinMaxObserver, "quant_min": -8, "quant_max": 7, "dtype": torch.qint8}
    if channels:
        settings |= {"observer": theirs.MovingAveragePerChannelMinMaxObserver, "qscheme": torch.per_channel_symmetric}
    module = getattr(fq.torch, name)(**settings)
    module(X)  # which sizes the buffers
    found, x = taken(monkeypatch), X.clone().requires_grad_()
    torch.autograd.grad(module(x), x, X)
    assert found == [
        ("_tensor_observed" if name.startswith("Fused") else "_tensor_forward", True),
        ("_tensor_backward", True),
    ]


def dead_wrapper():
    kept = []
    torch.func.vmap(lambda x: kept.append(x) or x)(X)
    return kept[0]


def dead_gradient():
    kept = []
    torch.func.grad(lambda x: (kept.append(x), x.sum())[1])(X)
    return kept[0]


def functional():
    return torch._to_functional_tensor(X)


def without_storage():
    x = X.clone()
    x.untyped_storage().resize_(0)
    return x


class Sub(torch.Tensor):
    pass


LEFT = {
    "negated": lambda: torch.complex(X, X).conj().imag,
    "negated, of one element": lambda: torch.tensor([1 + 2j]).conj().imag,
    "dead wrapper of a gradient": dead_gradient,
    "functional": functional,
    "zero tensor": lambda: torch._efficientzerotensor((2, 3)),
    "dead wrapper": dead_wrapper,
    "subclass": lambda: X.as_subclass(Sub),
    "sparse": lambda: X.to_sparse(),
    "meta": lambda: X.to("meta"),
    "no storage": without_storage,
    "gaps": lambda: X[:, ::2],
    "expanded": lambda: X[:1].expand(3, 6),
    "empty": lambda: X[:0],
    "integers": lambda: X.int(),
    "float8": lambda: X.to(torch.float8_e4m3fn),
    "complex": lambda: torch.complex(X, X),
    "nested": lambda: torch.nested.nested_tensor([X[0], X[1]]),
    "quantized": lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.qint8),
    "None": lambda: None,
}


@pytest.mark.parametrize("make", LEFT.values(), ids=LEFT)
def test_c_leaves_the_rest_to_others_without_an_error(make):
    x = make()
    assert forward(x) is None
    assert forward(X, scale=x) is None
    assert forward(X, zero_point=x) is None or x.dtype == torch.int32
    assert _core._tensor_backward(x, _operators.full_bits(3), [0, 1], 24) is None
    assert _core._tensor_learn(X, x, 0.25, 0, -8, 7, *TAIL) is None


@pytest.mark.parametrize(
    "grid",
    [
        *((scale, 0, -8, 7) for scale in (0.0, -1.0, float("nan"), float("inf"), 1, "0.1", None, np.float32(0.1))),
        *(
            (0.25, zero_point, -8, 7)
            for zero_point in (8, -9, 2**63, 0.5, True, None, torch.tensor(0.5), torch.tensor([0, 9]))
        ),
        *((0.25, 0, *ends) for ends in ((7, -8), (-8.0, 7), (-(2**25), 7), (None, 7), (True, 7))),
        (torch.ones(5), 0, -8, 7),
        (torch.ones(1, 1, 1), 0, -8, 7),
        (torch.ones(6).double(), 0, -8, 7),
    ],
    ids=str,
)
def test_c_leaves_what_it_cannot_read_or_refuses(grid):
    assert forward(X, *grid) is None


def test_wrong_numbers_of_arguments_are_errors():
    for name in ("_tensor_forward", "_tensor_backward", "_tensor_learn", "_tensor_observed", "_use_torch"):
        with pytest.raises(TypeError):
            getattr(_core, name)(X)


def test_bits_that_do_not_fit_are_left():
    _, bits, order, row = forward(X, packed=True)
    assert _core._tensor_backward(X, bits, order, row) is not None
    for wrong in ((X, bits[1:], order, row), (X, bits, order[::-1], row), (X, bits, [0], row), (X, bits, [0, 5], row)):
        assert _core._tensor_backward(*wrong) is None
    for row in (0, 5, 48):
        assert _core._tensor_backward(X, bits, order, row) is None
    assert _core._tensor_backward(X.t(), bits, order, 24) is None


@pytest.mark.parametrize("n", [1, 7, 8, 9, 4096 * 8, 4096 * 8 + 1, 50_000])
def test_bits_are_numpys_wherever_they_are_kept(n):
    x = torch.linspace(-3, 3, n)
    y, bits, order, row = forward(x, packed=True)
    expected, packed = fq.forward_packed(x.numpy(), *GRID)
    assert np.array_equal(y.numpy(), expected)
    assert (order, row) == ([0], n)
    assert np.array_equal(bits.numpy() if isinstance(bits, torch.Tensor) else np.full(bits, 255), packed) or n < 9
    inside = forward(x * 0, packed=True)[1]
    assert inside == (n + 7) // 8


RANGES = [0.0, 1e-45, 1e-30, 1e-7, 3e-5, 6.1e-5 * 127, 0.1, 1.0, 3.03, 100.0, 1e20, 3e38]


def observed_by(x, grid, symmetric, channels, ours):
    """y, min, max, scale and zero_point after two batches; None where the batch is refused."""
    on, size = torch.ones(1, dtype=torch.int64), len(x) if channels else 1
    buffers = [torch.full((size,), v) for v in (torch.inf, -torch.inf, 1.0)] + [torch.zeros(size, dtype=torch.int32)]
    for batch in (x, x * 0.7):
        if ours:
            settings = 0.01, *grid, symmetric, 0 if channels else None, None, False, _fast._by_fbgemm()
            y = _core._tensor_observed(batch, on, on, *buffers, *settings)
        else:
            try:
                y = torch.fused_moving_avg_obs_fake_quant(batch, on, on, *buffers, 0.01, *grid, 0, channels, symmetric)
            except RuntimeError:
                return None
        if y is None:
            return None
    return [y, *buffers]


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("grid", [(-128, 127), (0, 255), (0, 127), (-8, 7), (0, 1), (-3, 4), (-32768, 32767)])
def test_the_observer_is_pytorchs_to_the_last_bit(grid, symmetric, channels):
    compared = 0
    for (a, b), (low, high) in itertools.product(itertools.product(RANGES, RANGES), ((-1, 1), (1, 1), (-1, -1))):
        x = torch.tensor([[a * low, b * high, 0.3 * a + 0.2 * b], [b * low, a * high, 0.0]])
        expected = observed_by(x, grid, symmetric, channels, False)
        found = observed_by(x, grid, symmetric, channels, True)
        if found is not None:
            assert expected is not None, (a, b, low, high)
            assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True)), (a, b, low, high)
            compared += 1
    assert compared > (100 if grid[0] < 0 or not symmetric else 50)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "shape", [(1,), (5,), (16,), (37,), (3, 400), (2, 3, 40), (2, 3, 5), (400_000,), (2, 200_000)], ids=str
)
def test_ends_are_those_of_every_element(shape, dtype):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    for axis in (None, *range(-len(shape), len(shape))):
        module = fq.torch.FusedMovingAvgObsFakeQuantize(
            observer=theirs.MovingAverageMinMaxObserver
            if axis is None
            else theirs.MovingAveragePerChannelMinMaxObserver,
            quant_min=-128,
            quant_max=127,
            dtype=torch.qint8,
            qscheme=torch.per_tensor_affine if axis is None else torch.per_channel_symmetric,
            **({} if axis is None else {"ch_axis": axis}),
        )
        for times in (1, 2):
            module(x * times)
        rows = x.reshape(1, -1) if axis is None else x.movedim(axis, 0).reshape(x.shape[axis], -1)
        first, last = rows.amin(1).float(), rows.amax(1).float()
        again, most = (rows * 2).amin(1).float(), (rows * 2).amax(1).float()
        observer = module.activation_post_process
        assert torch.equal(observer.min_val.reshape(-1), first + (0.01 * (again - first)))
        assert torch.equal(observer.max_val.reshape(-1), last + (0.01 * (most - last)))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("n", [3, 40, 300_000])
def test_a_bad_value_anywhere_changes_no_buffer(n, bad):
    on = torch.ones(1, dtype=torch.int64)
    for place in {0, n // 2, n - 1}:
        x = torch.linspace(-1, 1, n)
        x[place] = bad
        buffers = torch.tensor([-1.0]), torch.tensor([1.0]), torch.tensor([0.5]), torch.zeros(1, dtype=torch.int32)
        before = [each.clone() for each in buffers]
        found = _core._tensor_observed(x, on, on, *buffers, 0.01, -8, 7, False, None, None, False, _fast._by_fbgemm())
        assert found is None
        assert all(torch.equal(one, other) for one, other in zip(buffers, before, strict=True))


def test_buffers_move_their_version():
    module = fq.torch.FusedMovingAvgObsFakeQuantize(quant_min=0, quant_max=15)
    module(X)
    before = module.scale._version
    module(X)
    assert module.scale._version > before


@pytest.mark.parametrize("reciprocal", [False, True])
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_the_formula_for_other_devices_has_these_bits_and_packs_them(dtype, reciprocal):
    kind = getattr(torch, dtype.name)
    wide = torch.float64 if kind == torch.float64 else torch.float32
    kept = []
    for shape in ((3, 5), (16,), (), (0, 3), (2, 3, 5, 7)):
        kept.clear()
        x = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 2).to(kind).requires_grad_()
        scale, zero_point = torch.tensor(0.25, dtype=wide), torch.tensor(1)
        dy = torch.randn(shape).to(kind)
        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda t: kept[-1]):
            y = _formula.packed(x, scale, zero_point, -8, 7, reciprocal)
        expected = fq.torch.fake_quantize(x, scale, zero_point, -8, 7, reciprocal=reciprocal)
        assert torch.equal(y, expected)
        assert torch.equal(y.signbit(), expected.signbit())
        assert [(t.dtype, t.numel()) for t in kept] == [(torch.uint8, (x.numel() + 7) // 8)]
        assert torch.equal(*(torch.autograd.grad(each, x, dy)[0] for each in (y, expected)))


def test_switched_off_the_formula_for_other_devices_copies():
    x = X.clone().requires_grad_()
    y = _formula.packed(x, torch.tensor(0.25), torch.tensor(0), -8, 7, True, torch.tensor([0]))
    assert torch.equal(y, x)
    assert y.data_ptr() != x.data_ptr()
    assert torch.equal(torch.autograd.grad(y, x, X)[0], X)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.slow
def test_100_000_calls_leak_nothing():
    module = fq.torch.FusedMovingAvgObsFakeQuantize(quant_min=0, quant_max=15)
    scale = torch.tensor(0.25, requires_grad=True)
    x, dy = torch.randn(64, 64).requires_grad_(), torch.ones(64, 64)

    def step():
        torch.autograd.grad(fq.torch.fake_quantize(x, *GRID), x, dy)
        torch.autograd.grad(module(x), x, dy)
        torch.autograd.grad(fq.torch.fake_quantize_learnable(x, scale, 0, -8, 7), (x, scale), dy)
        forward(x, scale=-1.0, packed=True), forward(x, zero_point=torch.tensor([0, 1])), forward(None)

    for _ in range(2000):
        step()
    gc.collect()
    objects, grown = len(gc.get_objects()), []
    for _ in range(5):
        before = resident()
        for _ in range(20_000):
            step()
        grown.append(resident() - before)
    gc.collect()
    assert abs(len(gc.get_objects()) - objects) < 50
    # A leak grows all the time, while what the allocator does after other tests comes once.
    assert min(grown) < 2**19
