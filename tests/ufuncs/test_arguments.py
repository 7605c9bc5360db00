"""Arguments by name, of any layout and type, and what is said of those that are refused."""

import inspect
import itertools
import re

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, OPERATIONS, assert_same, kept_as
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import broadcasting_shape

import fq

GRID = {"scale": 0.25, "zero_point": 0, "qmin": -8, "qmax": 7}
X = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)
VALUES = {**GRID, "x": X, "dy": X, "mask": X > 0, "bits": np.packbits(X > 0, axis=-1, bitorder="little")}
FUNCTIONS = [(name, functions) for functions in ARITHMETICS.values() for name in OPERATIONS]


def names_of(name):
    return OPERATIONS[name]["inputs"] + OPERATIONS[name]["parameters"]


def everything_named(name):
    return {one: value_of(name, one) for one in names_of(name)}


def value_of(name, label, x=X):
    """What stands for an argument: an input that goes with x, or a parameter."""
    kept = kept_as(name, label, x.shape)
    if kept is not None:
        return np.ones(kept[1], kept[0])
    return x if label in ("x", "dy") else VALUES[label]


def inputs_of(name, x=X):
    return [value_of(name, one, x) for one in OPERATIONS[name]["inputs"]]


@pytest.mark.parametrize(("name", "functions"), FUNCTIONS)
def test_every_argument_has_its_name(name, functions):
    function, names = getattr(functions, name), names_of(name)
    expected = function(*everything_named(name).values())
    if hasattr(np.add, "__signature__") or not isinstance(function, np.ufunc):
        assert list(inspect.signature(function).parameters)[: len(names)] == names
    for by_position in range(len(names) + 1):
        args = [value_of(name, one) for one in names[:by_position]]
        keywords = {one: value_of(name, one) for one in reversed(names[by_position:])}
        assert_same(function(*args, **keywords), expected)


def test_names_go_with_the_keywords_of_numpy():
    y, where = np.full_like(X, 42), X > 0
    assert fq.fake_quantize(x=X, **GRID, out=y, where=where) is y
    assert_same(y, np.where(where, fq.reference.fake_quantize(X, *GRID.values()), np.float32(42)))
    assert fq.fake_quantize(X, **GRID, out=y) is y
    assert fq.fake_quantize(X.tolist(), **GRID, casting="safe", order="F").flags.f_contiguous
    assert_same(fq.forward(X, **fq.QParams(0.25, 0, -8, 7)._asdict()), fq.forward(X, *GRID.values()))
    columns = fq.backward_packed(bits=VALUES["bits"], dy=X, axes=[1, 1, 1])
    assert_same(columns, fq.backward_packed(X, VALUES["bits"]))
    assert_same(fq.fake_quantize.__call__(x=X, **GRID), fq.fake_quantize(X, **GRID))
    assert_same(
        fq.fake_quantize(x=X, **{f"{name[:1]}{name[1:]}": one for name, one in GRID.items()}),
        fq.fake_quantize(X, **GRID),
    )


@pytest.mark.parametrize(("name", "functions"), FUNCTIONS)
def test_names_are_refused_as_python_refuses_them(name, functions):
    """In the words of a function of Python with the same arguments."""
    function, names = getattr(functions, name), names_of(name)
    twin = eval(f"lambda {', '.join(names)}, out=None: None")
    twin.__qualname__ = twin.__name__ = name
    everything = everything_named(name)
    for missing in range(1, len(names) + 1):
        for gone in (names[:missing], names[-missing:]):
            kept = {one: value for one, value in everything.items() if one not in gone}
            same_refusal(function, twin, (), kept)
    same_refusal(function, twin, (X,), everything)
    same_refusal(function, twin, tuple(everything.values()), {names[-1]: 7})
    same_refusal(function, twin, (), {**everything, "nonsense": 1})
    same_refusal(function, twin, (), {names[0]: X, "nonsense": 1})
    same_refusal(function, twin, (X,), {"nonsense": 1})


def same_refusal(function, twin, args, keywords):
    found, expected = (refusal(one, *args, **keywords) for one in (function, twin))
    # NumPy, and Python for functions in other modules, leave out or put in what is before the name.
    assert str(found).rpartition(".")[2] == str(expected).rpartition(".")[2]


def refusal(function, *args, error=TypeError, **keywords):
    with pytest.raises(error) as caught:
        function(*args, **keywords)
    return caught.value


def test_overrides_get_positions():
    class Lazy:
        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            return ufunc, method, len(inputs), sorted(keywords)

    assert fq.forward(x=Lazy(), **GRID) == (fq.forward, "__call__", 5, [])
    assert fq.forward(X, 0.25, zero_point=Lazy(), qmin=-8, qmax=7, dtype="f4") == (fq.forward, "__call__", 5, ["dtype"])
    assert fq.forward_packed(X, **GRID | {"scale": Lazy()}) == (fq.forward_packed, "__call__", 5, [])
    assert fq.backward(mask=Lazy(), dy=X) == (fq.backward, "__call__", 2, [])


@st.composite
def laid(draw, shape, dtype, packed=False):
    """An array of any strides: permuted axes, gaps, backwards, broadcast; and sums up to 24 of x's own kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    order = draw(st.permutations(range(len(shape))))
    gaps = [draw(st.sampled_from([1, 1, 2, -1])) for _ in shape]
    room = np.empty([shape[axis] * abs(gaps[axis]) for axis in order], dtype).transpose(np.argsort(order))
    view = room[tuple(slice(None, None, gap) for gap in gaps)]
    values = rng.integers(0, 256, shape)
    view[...] = values < 128 if dtype.kind == "b" else values if packed else (values - 128) / 32
    return view


@settings(max_examples=60)
@given(st.data())
def test_any_strides_give_the_values_and_the_memory_order_that_numpy_gives(data):
    draw = data.draw
    name, dtype = draw(st.sampled_from(list(fq._core.divide))), draw(st.sampled_from(FLOAT_TYPES))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    ufunc, inputs = getattr(fq, name), OPERATIONS[name]["inputs"]
    args = []
    for one in inputs:
        kept, of_one = kept_as(name, one, shape) or (dtype, shape)
        args.append(draw(laid(of_one, kept, one in ("bits", "residual"))))
    if OPERATIONS[name]["parameters"]:
        reached = shape[:-1] if OPERATIONS[name]["packed"] else shape
        shapes = [broadcasting_shape(s, draw) for s in (shape, shape, reached, reached)]
        kinds = [
            draw(st.sampled_from(["f4", "f8", "f2", "i4", "u1"])),
            *(draw(st.sampled_from("bhilq")) for _ in range(3)),
        ]
        for of_one, kind, value in zip(shapes, kinds, GRID.values(), strict=True):
            args.append(
                np.asfortranarray(np.full(of_one, value if kind[0] != "f" or value > 0.2 else 0.25).astype(kind))
            )
        args[-4] = np.maximum(args[-4], np.array(1, args[-4].dtype)) if kinds[0][0] != "f" else args[-4]
    found, expected = ufunc(*args), ufunc(*args, subok=True)
    assert_same(found, expected)
    results = zip(*(one if isinstance(one, tuple) else (one,) for one in (found, expected)), strict=True)
    for output, (one, other) in zip(OPERATIONS[name]["outputs"], results, strict=True):
        assert steps(one) == steps(other) or (output != OPERATIONS[name]["packed"] and ufunc.signature)


def steps(array):
    return [step for step, length in zip(array.strides, array.shape, strict=True) if length > 1]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_elements_beside_packed_bits_lie_as_the_elements_given(order):
    x = np.zeros([(2, 3, 9)[axis] for axis in order], np.float32).transpose(np.argsort(order))
    y, bits = fq.forward_packed(x, **GRID)
    assert y.strides == fq.backward_packed(x, bits).strides == x.strides
    assert bits.strides[-1] == 1


CASTS = [np.float64, np.float16, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, bool]


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("kind", CASTS)
def test_parameters_of_any_type_are_cast_as_numpy_casts_them(kind, dtype):
    x, rng = (rng := np.random.default_rng(1)).standard_normal((5, 7)).astype(dtype), np.random.default_rng(2)
    computed = np.float64 if dtype == np.float64 else np.float32
    whole = np.dtype(kind).kind in "iub"
    scale = (rng.integers(1, 2 if kind is bool else 90, (5, 1)) if whole else rng.uniform(0.1, 0.9, (5, 1))).astype(
        kind
    )
    if kind in (np.int64, np.uint64):
        scale[0] = 2**24 + 1  # a tie of float32, which a cast by way of double would not see
        scale[1] = 2**60 + 2**36 + 1
    zero_point = rng.integers(0, 2, (5, 1)).astype(kind if whole else np.int64)
    expected = fq.forward(x, scale.astype(computed), zero_point.astype(np.int64), 0, 7)
    for one, other in ((scale, zero_point), (np.repeat(scale, 2, 1)[:, ::2], zero_point[::-1][::-1])):
        assert_same(fq.forward(x, one, other, 0, 7), expected)
        assert_same(fq.forward(x, one, other, 0, 7, subok=True), expected)
    of_row = fq.forward(x[0], scale[0, 0], zero_point[0, 0], 0, 7)
    assert_same(of_row, tuple(one[0] for one in expected))


def test_a_scale_that_overflows_in_the_cast_is_refused_without_a_warning():
    refused = refusal(fq.forward, X, np.array([[1.0], [1], [1e300], [1]]), 0, -8, 7, error=ValueError)
    assert str(refused) == "scale must be positive and finite in float32, got inf at index (2, 0)"


BEYOND = [
    ([2**64 - 8], ""),
    (np.array([[2**63]], np.uint64), ""),
    (np.full((4, 6), [0, 0, 0, 2**63, 0, 0], np.uint64), "at index (0, 3)"),
    (np.uint64(2**64 - 1), ""),
    (np.array([0, 0, 0, 0, 0, 2**64 - 8], ">u8"), "at index (5,)"),
]


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize(("level", "index"), BEYOND)
@pytest.mark.parametrize("name", [name for name in OPERATIONS if OPERATIONS[name]["parameters"]])
def test_a_level_beyond_int64_is_refused_and_not_wrapped(name, level, index, place):
    parameters = [0.25, 0, -8, 7]
    parameters[place] = level
    inputs = inputs_of(name)
    value = int(np.max(level))
    for functions in (fq, fq.reciprocal):
        found = str(refusal(getattr(functions, name), *inputs, *parameters, error=ValueError))
        label = OPERATIONS[name]["parameters"][place]
        assert found == f"{label} must be a level of int64, got {value} {index}".strip()
    refusal(getattr(fq.reference, name), *inputs, *parameters, error=ValueError)
    if not OPERATIONS[name]["reduction"]:
        refusal(getattr(fq, name), *inputs, *parameters, subok=True, error=ValueError)


def test_levels_of_uint64_inside_int64_are_taken():
    for level in (np.uint64([7]), np.uint64(7), [np.uint64(7)]):
        assert_same(fq.forward(X, 0.25, 0, -8, level), fq.forward(X, 0.25, 0, -8, 7))
        assert_same(fq.backward_learnable(X, X, 0.25, 0, -8, level), fq.backward_learnable(X, X, 0.25, 0, -8, 7))


@pytest.mark.parametrize("index", [(0, 0, 0), (3, 0, 0), (2, 0, 4)])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("layout", ["C", "F", "strided"])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if OPERATIONS[name]["parameters"]])
def test_a_refused_scale_is_named_with_its_index(name, layout, kind, index):
    x = np.ones((4, 3, 5), np.float32)
    scale = np.ones((4, 1, 5), kind)
    scale[index] = 0
    scale = {"C": scale, "F": np.asfortranarray(scale), "strided": np.repeat(scale, 2, 2)[..., ::2]}[layout]
    for functions in (fq, fq.reciprocal):
        found = refusal(getattr(functions, name), *inputs_of(name, x), scale, 0, -8, 7, error=ValueError)
        assert str(found) == f"scale must be positive and finite in float32, got 0 at index {index}"


def test_every_refused_value_of_an_array_is_named_with_its_index():
    ends = np.array([[-8], [9], [-8], [-8]])
    for call, message in (
        ((0.25, 0, ends, 7), "qmin must not exceed qmax, got qmin 9 at index (1, 0) and qmax 7"),
        ((0.25, ends[::-1], -8, 7), "zero_point must lie within [qmin, qmax] = [-8, 7], got 9 at index (2, 0)"),
        ((np.zeros(6, "f4"), 0, -8, 7), "scale must be positive and finite in float32, got 0 at index (0,)"),
        ((np.array(0.0), 0, -8, 7), "scale must be positive and finite in float32, got 0"),
        ((-np.nan, 0, -8, 7), "scale must be positive and finite in float32, got nan"),
    ):
        assert str(refusal(fq.forward, X, *call, error=ValueError)) == message
        assert str(refusal(fq.backward_learnable, X, X, *call, error=ValueError)) == message
    long = np.ones((1000, 1), np.float32)
    long[617] = 0
    found = refusal(fq.forward_packed, np.ones((1000, 9), np.float32), long, 0, -8, 7, error=ValueError)
    assert str(found).endswith("got 0 at index (617, 0)")
    wide = np.ones((1,) * 60 + (4, 6), np.float32)
    wide[..., 2, 5] = 0
    found = refusal(fq.fake_quantize, np.ones_like(wide), wide, 0, -8, 7, error=ValueError)
    assert str(found).endswith(f"got 0 at index ({'0, ' * 60}2, 5)")


WORDS = [
    (fq.forward_packed, (np.float32(1), *GRID.values()), ValueError, "x must have an axis.*np.atleast_1d"),
    (fq.forward_packed, (1.5, *GRID.values()), ValueError, "x must have an axis.*np.atleast_1d"),
    (fq.backward_packed, (X, np.uint8(1)), ValueError, "bits must have an axis"),
    (fq.forward, ("a", *GRID.values()), TypeError, r"x must be float16.*got str; convert it: \.astype\(np\.float32\)$"),
    (fq.forward, (np.array([b"ab"]), *GRID.values()), TypeError, "x must be float16.*got bytes; convert"),
    (fq.forward, (np.zeros(3, "f4,f4"), *GRID.values()), TypeError, "x must be float16.*got a structure"),
    (fq.forward, (X.astype(int), *GRID.values()), TypeError, "x must be float16.*got int64; convert it"),
    (fq.forward, (X > 0, *GRID.values()), TypeError, "x must be float16.*got bool; convert it"),
    (fq.forward, (X + 1j, *GRID.values()), TypeError, r"x must be float16.*got complex64; take its \.real"),
    (fq.forward, (1j, *GRID.values()), TypeError, r"x must be float16.*got complex; take its \.real"),
    (fq.backward, (X.astype(int), X > 0), TypeError, "dy must be float16.*got int64; convert it"),
    (fq.backward, (X, X), TypeError, "mask must be an array of bool, got float32"),
    (fq.backward, (X, X.astype(int)), TypeError, r"mask must be an array of bool, got int64; .*astype\(bool\)"),
    (fq.forward, (X, 0.25, 0.0, -8, 7), TypeError, r"zero_point must be an integer.*got float; .*\.astype\(int\)"),
    (
        fq.forward,
        (X, 0.25, np.round(X), -8, 7),
        TypeError,
        r"zero_point must be an integer.*float32; .*\.astype\(int\)",
    ),
    (fq.forward, (X, 0.25, 0, np.float64(-8), 7), TypeError, r"qmin must be an integer.*float64; .*\.astype\(int\)"),
    (
        fq.forward,
        (X, np.ones(4), 0, -8, 7),
        ValueError,
        r"scale must.* x of shape \(4, 6\), got shape \(4,\).*\(4, 1\)$",
    ),
    (fq.forward, (X, 1.0, np.zeros(4, int), -8, 7), ValueError, r"zero_point must.* got shape \(4,\).*\(4, 1\)$"),
    (fq.forward_packed, (X, np.ones(4), 0, -8, 7), ValueError, r"scale must.* got shape \(4,\).*\(4, 1\)$"),
    (fq.forward, (X, np.ones(5), 0, -8, 7), ValueError, r"scale must.* x of shape \(4, 6\), got shape \(5,\)$"),
    (fq.forward, (X, [1.0] * 4, 0, -8, 7), ValueError, r"scale must.* got shape \(4,\).*\(4, 1\)$"),
    (fq.backward_learnable, (X, X, np.ones(4), 0, -8, 7), ValueError, r"scale must.* got shape \(4,\).*\(4, 1\)$"),
    (fq.backward_learnable, (X, X, 0.25, 0.0, -8, 7), TypeError, r"zero_point must.*float; .*\.astype\(int\)"),
    (fq.backward_learnable, (X, X.astype(int), 0.25, 0, -8, 7), TypeError, "x must be float16.*got int64; convert"),
]


@pytest.mark.parametrize(("function", "args", "error", "words"), WORDS)
def test_what_is_refused_is_named_with_the_way_out(function, args, error, words):
    assert re.search(words, str(refusal(function, *args, error=error)))


def test_the_way_out_of_a_wrong_shape_is_one():
    x = np.ones((2, 3, 4), np.float32)
    for axis in range(3):
        scale = np.ones(x.shape[axis])
        if axis < 2:
            shape = re.search(r"has shape \((.*)\)$", str(refusal(fq.forward, x, scale, 0, -8, 7, error=ValueError)))[1]
            scale = scale.reshape([int(one) for one in shape.split(",")])
        fq.forward(x, scale, 0, -8, 7)


@pytest.mark.parametrize("name", [name for name in fq._core.divide if len(OPERATIONS[name]["outputs"]) > 1])
def test_one_array_for_two_outputs_says_how_to_give_it(name):
    outputs = OPERATIONS[name]["outputs"]
    found = str(refusal(getattr(fq, name), X, **GRID, out=np.empty_like(X)))
    assert found == f"out must be a tuple of 2: out=({', '.join(outputs)}) or out=(y, None)"


def test_shapes_that_only_x_would_have_to_follow_are_numpys_matter():
    assert fq.forward(X[0], np.ones((4, 1)), 0, -8, 7)[0].shape == (4, 6)
    with pytest.raises(ValueError, match="broadcast"):
        fq.backward(X, np.ones(5, bool))


MASKED = np.ma.masked_array(X, X > 1)


@pytest.mark.parametrize("functions", ARITHMETICS.values(), ids=list(ARITHMETICS))
def test_a_masked_array_keeps_its_mask_or_is_refused(functions):
    y, mask = functions.forward(MASKED, **GRID)
    assert isinstance(y, np.ma.MaskedArray)
    assert (y.mask == MASKED.mask).all()
    assert isinstance(mask, np.ma.MaskedArray)
    scale = np.ma.masked_array([0.25] * 6)
    for call in (
        lambda: functions.forward_packed(MASKED, **GRID),
        lambda: functions.forward_packed(X, **GRID | {"scale": scale}),
        lambda: functions.backward_packed(MASKED, VALUES["bits"]),
        lambda: functions.backward_learnable(X, MASKED, **GRID),
        lambda: functions.backward_learnable(MASKED, X, **GRID),
        lambda: functions.backward_learnable(X, X, **GRID | {"scale": scale}),
    ):
        assert "masked array" in str(refusal(call))
    assert_same(functions.forward_packed(MASKED.data, **GRID), functions.forward_packed(X, **GRID))


class Meddler:
    """A zero_point that reshapes another argument while it is converted."""

    def __init__(self, other, shape, value=0):
        self.other, self.shape, self.value = other, shape, value

    def __array__(self, dtype=None, copy=None):
        self.other.shape = self.shape
        return np.array(self.value)


@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array")
@pytest.mark.parametrize("which", ["dy", "x", "scale"])
def test_arrays_that_are_reshaped_while_others_are_converted_stay_what_they_were(which):
    given = {"dy": X.copy(), "x": X.copy(), "scale": np.full((4, 6), 0.25, np.float32)}
    expected = fq.backward_learnable(given["dy"], given["x"], given["scale"], 0, -8, 7)
    zero_point = Meddler(given[which], (24,))
    assert_same(fq.backward_learnable(given["dy"], given["x"], given["scale"], zero_point, -8, 7), expected)
    given[which].shape = (4, 6)
    levels = np.full((4, 6), -8)
    found = fq.backward_learnable(given["dy"], given["x"], given["scale"], 0, levels, Meddler(levels, (2, 12), 7))
    assert_same(found, expected)


def test_what_is_refused_leaves_the_first_output_of_a_reduction_whole():
    rng = np.random.default_rng(3)
    for shape, of_scale in (((3, 4, 5, 6), (3, 1, 5, 1)), ((40, 5000), (40, 1)), ((6, 4, 5), (1, 4, 1))):
        scale = np.full(of_scale, 0.25, np.float32)
        scale.flat[-1] = -1
        for view in (lambda a: a, lambda a: a.T.copy().T, lambda a: np.repeat(a, 2, -1)[..., ::2]):
            x = view(rng.standard_normal(shape).astype(np.float32))
            dy = x.copy()
            before = dy.copy()
            for one in (scale, scale.astype(np.float64), scale.tolist()):
                refusal(fq.backward_learnable, dy, x, one, 0, -8, 7, out=(dy, None, None), error=ValueError)
                assert_same(dy, before)
