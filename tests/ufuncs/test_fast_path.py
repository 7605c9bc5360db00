"""Calls that fq takes past NumPy's iterator, its fast path, give what the same calls give through NumPy."""

import re
import sys
import warnings
from itertools import product

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, OPERATIONS, assert_same, gradients, hard_values, kept_as, random_kept
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import broadcasting_shape

import fq

GRID = (0.25, 0, -8, 7)
NAMES = list(fq._core.divide)


def through_numpy(ufunc, *args, **options):
    """The same call with an argument that says nothing new, which fq leaves to NumPy."""
    return ufunc(*args, subok=True, **options)


def outcome(call, *args, **options):
    """What a call returns, or the type and text of what it raises; and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call(*args, **options)
        except Exception as error:
            result = type(error), str(error)
    return result, [str(one.message) for one in caught]


def parameters(shape, dtype, packed, draw):
    """scale, zero_point, qmin and qmax: numbers of Python or NumPy, or arrays that broadcast into the shape."""
    computed = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def one(number, make, of_rows):
        kind = draw(st.sampled_from(["python", "numpy", "array"]))
        if kind == "python":
            return number
        into = broadcasting_shape(shape[:-1] if of_rows else shape, draw) if kind == "array" else ()
        array = np.asarray(make(into))
        if draw(st.booleans()) and array.ndim:
            array = np.repeat(array, 2, axis=0)[::2]
        return array[()] if kind == "numpy" else array

    integers = lambda low, high: lambda into: rng.integers(low, high, into)  # noqa: E731
    return (
        one(0.1, lambda into: rng.uniform(0.05, 0.5, into).astype(computed), False),
        one(1, integers(-2, 3), False),
        one(-8, integers(-9, -2), packed),
        one(7, integers(3, 9), packed),
    )


@st.composite
def calls(draw):
    """A ufunc, its arguments, and the arrays that its outputs would be."""
    name, dtype = draw(st.sampled_from(NAMES)), draw(st.sampled_from(FLOAT_TYPES))
    shape = tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)))
    if draw(st.integers(0, 9)) == 0:
        shape = (*shape[:-1], draw(st.integers(250, 700)))
    rng, size = np.random.default_rng(draw(st.integers(0, 2**32))), int(np.prod(shape))
    x = hard_values(dtype, GRID, rng, size).reshape(shape)
    dy = gradients(dtype, rng, size).reshape(shape)
    ufunc = getattr(ARITHMETICS[draw(st.sampled_from(list(ARITHMETICS)))], name)
    if not OPERATIONS[name]["parameters"]:
        return ufunc, (dy, random_kept(rng, *kept_as(name, OPERATIONS[name]["inputs"][1], shape)))
    qparams = parameters(shape, dtype, bool(OPERATIONS[name]["packed"]), draw)
    return ufunc, (dy, x, *qparams) if name == "backward_recompute" else (x, *qparams)


@settings(max_examples=600)
@given(calls(), st.data())
def test_plain_calls_equal_those_through_numpy(call, data):
    ufunc, args = call
    expected = through_numpy(ufunc, *args)
    assert_same(ufunc(*args), expected)
    many = expected if isinstance(expected, tuple) else (expected,)
    outs = tuple(np.full_like(one, 1) if data.draw(st.booleans()) else None for one in many)
    found = ufunc(*args, out=outs)
    assert_same(found, expected)
    for one, out in zip(found if isinstance(found, tuple) else (found,), outs, strict=True):
        assert out is None or one is out


TWO = [name for name in NAMES if len(OPERATIONS[name]["outputs"]) > 1]
OF_X = [name for name in NAMES if OPERATIONS[name]["inputs"] == ["x"]]


@pytest.mark.parametrize("name", TWO)
def test_more_channels_than_are_made_ready_at_a_time_are_right(name):
    rng = np.random.default_rng(5)
    x = rng.standard_normal((3, 300, 7)).astype(np.float32)
    grid = rng.uniform(0.05, 0.5, (300, 1)).astype(np.float32), rng.integers(-2, 3, (300, 1)), -8, 7
    assert_same(getattr(fq, name)(x, *grid), getattr(fq.reference, name)(x, *grid))
    grid[0][299] = -1
    with pytest.raises(ValueError, match="scale"):
        getattr(fq, name)(x, *grid)


X = np.linspace(-3, 3, 24, dtype=np.float32).reshape(2, 3, 4)
ODD = {
    "a scale that overflows": (X, 1e300, 0, -8, 7),
    "a scale of zero": (X, 0.0, 0, -8, 7),
    "a negative scale": (X, -1, 0, -8, 7),
    "a scale of NaN": (X, float("nan"), 0, -8, 7),
    "an integer scale that is not exact": (X, 2**24 + 1, 0, -8, 7),
    "a huge integer scale": (X, 10**400, 0, -8, 7),
    "True as a scale": (X, True, 0, -8, 7),
    "a float zero_point": (X, 0.25, 0.0, -8, 7),
    "a level beyond int64": (X, 0.25, 0, -8, 2**64),
    "a refused zero_point": (X, 0.25, 9, -8, 7),
    "a refused scale in a channel": (X, np.float32([[1], [-1], [1]]), 0, -8, 7),
    "a scale that does not broadcast": (X, np.ones(3, np.float32), 0, -8, 7),
    "a scale larger than x": (X, np.ones((5, 2, 3, 4), np.float32), 0, -8, 7),
    "x of no axes": (np.float32(0.3), 0.25, 0, -8, 7),
    "x of integers": (np.arange(3), 0.25, 0, -8, 7),
    "too few arguments": (X, 0.25),
}


@pytest.mark.parametrize("name", OF_X)
@pytest.mark.parametrize("args", ODD.values(), ids=list(ODD))
def test_odd_calls_end_as_those_through_numpy(name, args):
    (found, warned), (expected, expected_warnings) = (outcome(f, *args) for f in both(getattr(fq, name)))
    assert warned == expected_warnings
    if isinstance(expected, tuple) and isinstance(expected[0], type):
        assert (found[0], re.sub(r" at index \(.*?\)", "", found[1])) == expected  # NumPy's buffers know no index
    else:
        assert_same(found, expected)


def both(ufunc):
    """A ufunc, and the same through NumPy."""
    return ufunc, lambda *args, **options: through_numpy(ufunc, *args, **options)


OUTS = {
    "of another shape": lambda: np.empty((2, 3, 5), np.float32),
    "of more axes": lambda: np.empty((2, 2, 3, 4), np.float32),
    "of another type": lambda: np.empty(X.shape, np.float64),
    "strided": lambda: np.empty((2, 3, 8), np.float32)[..., ::2],
    "byte-swapped": lambda: np.empty(X.shape, np.dtype(np.float32).newbyteorder()),
    "misaligned": lambda: np.empty(4 * X.size + 1, np.uint8)[1:].view(np.float32).reshape(X.shape),
    "a list": lambda: [1.0],
    "a tuple of two": lambda: (None, None),
}


@pytest.mark.parametrize("make", OUTS.values(), ids=list(OUTS))
def test_odd_outputs_end_as_those_through_numpy(make):
    found, expected = (outcome(f, X, *GRID, out=make())[0] for f in both(fq.fake_quantize))
    if isinstance(expected, tuple):
        assert found == expected
    else:
        assert_same(found, expected)


def test_a_read_only_output_is_refused_and_kept():
    y = np.full_like(X, 42)
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fq.fake_quantize(X, *GRID, out=y)
    assert (y == 42).all()


@pytest.mark.parametrize("step", [-32, -4, 0, 4, 32])
def test_outputs_that_overlap_parameters_and_inputs_are_right(step):
    memory = np.full(256, 0.5, np.float32)
    x, scale, y = memory[64:96], memory[128:160], memory[64 + step : 96 + step]
    x[:] = np.linspace(-3, 3, 32)
    expected = fq.reference.fake_quantize(x.copy(), scale.copy(), 0, -8, 7)
    assert_same(fq.fake_quantize(x, scale, 0, -8, 7, out=y), expected)
    x[:], scale[:] = np.linspace(-3, 3, 32), 0.5
    assert_same(fq.fake_quantize(x, scale, 0, -8, 7, out=memory[128 + step : 160 + step]), expected)


def empty_of(name, label, x, memory):
    """An array without elements in this memory, or x for elements."""
    kept = kept_as(name, label, x.shape)
    return x if kept is None else np.ndarray(kept[1], kept[0], memory)


@pytest.mark.parametrize("shape", [(0,), (0, 4, 3, 5), (2, 0, 3, 5), (2, 4, 0, 5), (2, 4, 3, 0)])
def test_nothing_is_written_for_an_empty_array(shape):
    memory, bytes_ = np.full(2000, 42, np.float32), np.full(2000, 42, np.uint8)
    x, y = np.ndarray(shape, np.float32, memory, 4000), np.ndarray(shape, np.float32, memory)
    scales = np.full(2000, 0.25, np.float32)
    for kept in product([False, True], repeat=len(shape)):
        axes = [n if k else 1 for n, k in zip(shape, kept, strict=True)]
        grid = np.ndarray(axes, np.float32, scales), 0, -8, 7
        for name, row in OPERATIONS.items():
            function, empty = getattr(fq, name), lambda label, name=name: empty_of(name, label, x, bytes_)
            parameters = grid if row["parameters"] else ()
            outputs = [y if label == "dx" else None for label in row["outputs"]]
            if not row["reduction"]:
                outputs = [y if label in ("y", "dx") else empty(label) for label in row["outputs"]]
            function(*map(empty, row["inputs"]), *parameters, out=tuple(outputs))
    assert (memory == 42).all()
    assert (bytes_ == 42).all()


@pytest.mark.parametrize("shape", [(300, 1), (300, 5), (1, 2000), (2000,), (3, 1), (2, 3, 1)])
@pytest.mark.parametrize("name", [name for name in NAMES if OPERATIONS[name]["parameters"]])
def test_what_is_refused_in_place_is_whole(name, shape):
    x = np.full((*shape[:-1], max(shape[-1], 5)), 0.9, np.float32)
    scale = np.full(shape, 0.25, np.float32)
    scale.flat[-1] = -1
    inputs = (x, x) if name == "backward_recompute" else (x,)
    out = (x, *(None for _ in OPERATIONS[name]["outputs"][1:]))
    with pytest.raises(ValueError, match="scale must be positive and finite in float32, got -1"):
        getattr(fq, name)(*inputs, scale, 0, -8, 7, out=out)
    assert (x == np.float32(0.9)).all()


def test_calls_keep_no_reference_and_lose_none():
    y, mask = np.empty_like(X), np.empty(X.shape, bool)
    scale = np.full((3, 1), 0.25, np.float32)
    kept = X, y, mask, scale, X.dtype, mask.dtype
    before = [sys.getrefcount(one) for one in kept]
    for _ in range(50):
        fq.forward(X, scale, 0, -8, 7, out=(y, mask))
        fq.fake_quantize(X, scale, 0, -8, 7, out=y)
        fq.forward(X, scale, 0, -8, 7)
        with pytest.raises(ValueError, match="qmin must not exceed"):
            fq.forward(X, scale, 0, 8, 7, out=(y, None))
    # Types are everyone's: others let go of some in the meantime.
    assert all(abs(sys.getrefcount(one) - count) < 25 for one, count in zip(kept, before, strict=True))


@pytest.mark.parametrize("strided", [False, True])
def test_calls_into_new_memory_are_the_same_calls(strided):
    x = np.repeat(X, 2, axis=-1)[..., ::2] if strided else X
    y, mask = np.empty_like(X), np.empty(X.shape, bool)
    for functions in ARITHMETICS.values():
        found = fq._core._into_new(functions.forward, (y, mask), x, *GRID)
        assert found[0] is y
        assert_same(found, functions.forward(X, *GRID))
        with pytest.raises(ValueError, match="scale"):
            fq._core._into_new(functions.forward, (y, mask), x, -1.0, 0, -8, 7)
    for arguments in [(), (np.add, y, x, x), (fq.forward, y), (fq.forward, (y, mask), x, *GRID, 1), (3, y, x)]:
        with pytest.raises(TypeError, match="_into_new"):
            fq._core._into_new(*arguments)


LEARNABLE_SHAPES = [  # of x, of scale, of zero_point (None: a number)
    ((24,), None, None),
    ((24,), (), ()),
    ((5000,), None, ()),
    ((4, 30, 6), (30, 1), (30, 1)),
    ((4, 30, 6), (4, 1, 1), None),
    ((400, 33), (33,), (33,)),
    ((400, 33), (33,), ()),
    ((40, 33), (40, 33), (40, 33)),
    ((40, 33), (40, 33), None),
    ((3000, 16), (3000, 1), (3000, 1)),
    ((3000, 16), (3000, 1), None),
    ((0, 3), (3,), (3,)),
    ((2, 3), (2, 1), (3,)),
    ((2, 3), None, (3,)),
]


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize(("shape", "of_scale", "of_zero_point"), LEARNABLE_SHAPES)
@pytest.mark.parametrize("reciprocal", [False, True])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if OPERATIONS[name]["reduction"]])
def test_plain_learnable_calls_equal_those_of_any_arrays(name, reciprocal, shape, of_scale, of_zero_point, dtype):
    rng = np.random.default_rng(3)
    computed = np.float64 if dtype == np.float64 else np.float32
    dy, x = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    kept_type = kept_as(name, OPERATIONS[name]["inputs"][1], shape)
    kept = x if kept_type is None else random_kept(rng, *kept_type)
    scale = 0.1 if of_scale is None else rng.uniform(0.05, 0.2, of_scale).astype(computed)
    zero_point = 1 if of_zero_point is None else np.asarray(rng.integers(-2, 3, of_zero_point))
    qparams = scale, zero_point, -8, 7
    backward = getattr(fq.reciprocal if reciprocal else fq, name)
    expected = fq.learnable._backward_of_any(name, (dy, kept, *qparams), None, reciprocal)
    found = backward(dy, kept, *qparams)
    assert_same(found, expected)
    assert [type(one) for one in found] == [type(one) for one in expected]
    dx = np.full_like(x, 42)
    found = backward(dy, kept, *qparams, out=(dx, None, None))
    assert found[0] is dx
    assert_same(found, expected)
    assert_same(backward(dy.copy(), kept, *qparams, out=(x, None, None)), expected)
    if kept is not x:
        assert_same(backward(dy, kept, *qparams, out=(dy, None, None)), expected)


@pytest.mark.parametrize("qparams", [(0.0, 0, -8, 7), (0.25, 9, -8, 7), (np.float32([[-1], [1]]), 0, -8, 7)])
def test_plain_learnable_calls_are_refused_alike(qparams):
    dy = x = np.ones((2, 3), np.float32)
    found = outcome(fq.backward_learnable, dy, x, *qparams)
    assert found[0][0] is ValueError
    assert found == outcome(fq.learnable._backward_of_any, "backward_learnable", (dy, x, *qparams), None, False)


def test_plain_learnable_calls_keep_no_reference():
    x, scale = np.ones((2, 3), np.float32), np.ones((2, 1), np.float32)
    dx = np.empty_like(x)
    before = [sys.getrefcount(one) for one in (x, scale, dx)]
    for _ in range(50):
        fq.backward_learnable(x, x, scale, 0, -8, 7)
        fq.backward_learnable(x, x, scale, 0, -8, 7, out=(dx, None, None))
        with pytest.raises(ValueError, match="scale"):
            fq.backward_learnable(x, x, -scale, 0, -8, 7)
    assert [sys.getrefcount(one) for one in (x, scale, dx)] == before
