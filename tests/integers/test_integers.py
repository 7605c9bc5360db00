"""What the functions of integers take, give, write and refuse."""

import inspect

import numpy as np
import pytest
from helpers import assert_same
from stored import BITS, NUMPYS, STORAGES, TYPES, assert_integers, ends_of

import fq
from fq import integers

X = np.array([-9.0, -0.3, 0.0, 0.2, 0.3, 5.0], np.float32)
Q = np.array([-8, -1, 0, 1, 1, 7], np.int8)
GRID = 0.25, 0, -8, 7
ARGUMENTS = {
    "quantize": (X, *GRID),
    "dequantize": (Q, *GRID[:2]),
    "pack": (Q, 4),
    "unpack": (fq.pack(Q, 4), 4, 6),
    "quantize_packed": (X, *GRID),
    "dequantize_packed": (fq.pack(Q, 4), *GRID[:2], 4, 6),
}


@pytest.mark.parametrize("name", integers.__all__)
def test_every_function_takes_its_arguments_by_name(name):
    function = getattr(fq, name)
    names = list(inspect.signature(function).parameters)
    assert names[-1] == "out"
    by_name = dict(zip(names, ARGUMENTS[name], strict=False))
    assert_same(function(**by_name), function(*ARGUMENTS[name]))
    twin = list(inspect.signature(getattr(fq.reference, name)).parameters)
    assert [one for one in twin if one != "arithmetic"] == names[:-1]


@pytest.mark.parametrize("name", integers.__all__)
def test_every_function_writes_out_and_gives_it(name):
    expected = getattr(fq, name)(*ARGUMENTS[name])
    for room in (np.zeros_like(expected), np.zeros((2 * expected.size,), expected.dtype)[::2]):
        assert getattr(fq, name)(*ARGUMENTS[name], out=room) is room
        assert_same(room, expected)


@pytest.mark.parametrize("name", integers.__all__)
def test_every_function_refuses_an_out_of_another_shape_or_type(name):
    expected = getattr(fq, name)(*ARGUMENTS[name])
    other = np.zeros(expected.size + 1, expected.dtype)
    with pytest.raises(ValueError, match=r"out must be a writable array of shape \(\d,\), got shape \(\d,\)"):
        getattr(fq, name)(*ARGUMENTS[name], out=other)
    frozen = np.zeros_like(expected)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=r"out must be a writable array.* read-only"):
        getattr(fq, name)(*ARGUMENTS[name], out=frozen)
    wrong = np.zeros(expected.shape, complex)
    with pytest.raises(TypeError, match=r"out must be an array of|must be int8"):
        getattr(fq, name)(*ARGUMENTS[name], out=wrong)
    with pytest.raises(TypeError, match="out must be an array, got list"):
        getattr(fq, name)(*ARGUMENTS[name], out=[])


@pytest.mark.parametrize("name", integers.__all__)
def test_every_function_refuses_masked_arrays(name):
    first, *others = ARGUMENTS[name]
    with pytest.raises(TypeError, match="must not be a masked array, whose mask would be lost"):
        getattr(fq, name)(np.ma.array(first), *others)
    out = np.ma.array(getattr(fq, name)(first, *others))
    before = out.data.copy()
    out.data[...] = before[::-1]
    with pytest.raises(TypeError, match="out must not be a masked array, whose mask would be lost"):
        getattr(fq, name)(first, *others, out=out)
    assert_same(out.data, before[::-1])


def test_the_values_of_the_docstrings():
    assert_integers(fq.quantize(X, *GRID), Q)
    assert_same(fq.dequantize(Q, 0.25, 0), fq.fake_quantize(X, *GRID))


@pytest.mark.parametrize(
    ("qmin", "qmax", "expected"),
    [
        (-8, 7, np.int8),
        (0, 127, np.int8),
        (0, 128, np.uint8),
        (-1, 128, np.int16),
        (0, 65535, np.uint16),
        (-1, 65535, np.int32),
        ([-1, 0], [7, 255], np.int16),
        (-(2**24), 2**24, np.int32),
    ],
)
def test_without_a_dtype_the_first_that_holds_every_level(qmin, qmax, expected):
    assert fq.quantize(np.zeros(2, np.float32), 0.25, 0, qmin, qmax).dtype == expected
    out = np.zeros(2, np.int32)
    assert fq.quantize(np.zeros(2, np.float32), 0.25, 0, qmin, qmax, out=out) is out


def test_nan_gives_zero_point_and_infinities_clamp():
    x = np.array([np.nan, np.inf, -np.inf, -np.nan, 3e38, -3e38] * 20, np.float32)
    for dtype in (np.float16, np.float32, np.float64):
        with np.errstate(over="ignore"):
            q = fq.quantize(x.astype(dtype), 0.1, 3, -8, 7)
        assert q.tolist() == [3, 7, -8, 3, 7, -8] * 20


@pytest.mark.parametrize("dtype", [one for one in TYPES if STORAGES[one][0] < 8], ids=str)
def test_bits_that_a_type_does_not_use_are_0_and_ignored(dtype):
    bits, signed = STORAGES[dtype]
    low, high = ends_of(bits, signed)
    x = np.arange(low - 1, high + 2).astype(np.float32)
    q = fq.quantize(x, 1, 0, low, high, dtype)
    assert_integers(q, np.clip(x, low, high).astype(dtype))
    assert np.all(q.view(np.uint8) < 2**bits)
    dirty = (q.view(np.uint8) | (0xFF << bits & 0xFF)).view(dtype)
    assert_same(fq.dequantize(dirty, 0.5, 0), fq.dequantize(q, 0.5, 0))


def test_a_zero_dimensional_x_gives_a_scalar():
    q = fq.quantize(np.float32(0.7), *GRID)
    assert isinstance(q, np.int8)
    assert q == 3
    y = fq.dequantize(q, 0.25, 0)
    assert isinstance(y, np.float32)
    assert y == 0.75
    out = np.zeros((), np.int8)
    assert fq.quantize(0.7, *GRID, out=out) is out
    assert out == 3
    for name, given in [
        ("quantize_packed", np.float32(1)),
        ("dequantize_packed", np.uint8(1)),
        ("pack", 1),
        ("unpack", np.uint8(1)),
    ]:
        with pytest.raises(ValueError, match="must have an axis, the last one being packed"):
            getattr(fq, name)(
                given, *{"dequantize_packed": (0.25, 0, 4, 1), "pack": (4,), "unpack": (4, 1)}.get(name, GRID)
            )


def test_lists_subclasses_and_other_byte_orders_are_converted():
    assert_integers(fq.quantize(X.tolist(), *GRID), Q)
    assert_integers(fq.quantize(X.astype(X.dtype.newbyteorder()), *GRID), Q)
    assert_integers(fq.quantize(X.view(np.matrix)[0], *GRID), Q[np.newaxis])
    q = np.arange(-300, 300, dtype=np.int16)
    assert_same(fq.dequantize(q.astype(q.dtype.newbyteorder()), 0.25, 0), fq.dequantize(q, 0.25, 0))
    assert_integers(fq.pack([-8, -1, 0, 3], 4), np.array([0xF8, 0x30], np.uint8))


def test_x_is_broadcast_against_the_parameters():
    scale = np.array([[0.25], [0.5]], np.float32)
    assert_same(fq.dequantize(fq.quantize(X, scale, *GRID[1:]), scale, 0), fq.fake_quantize(X, scale, *GRID[1:]))
    assert fq.quantize_packed(X, scale, *GRID[1:]).shape == (2, 3)
    assert fq.dequantize_packed(fq.pack(Q, 4), scale, 0, 4, 6).shape == (2, 6)
    with pytest.raises(ValueError, match=r"scale must broadcast against x of shape \(6,\), got shape \(5,\)"):
        fq.quantize(X, np.ones(5, np.float32), *GRID[1:])


@pytest.mark.parametrize("name", ["quantize", "quantize_packed", "forward_packed"])
@pytest.mark.parametrize("byte_order", "<>")
def test_more_axes_than_numpy_broadcasts_together(name, byte_order):
    x = X.reshape((1,) * 46 + (2, 3)).astype(X.dtype.newbyteorder(byte_order))
    scale = np.array([[0.25], [0.5]], np.float32).reshape((1,) * 46 + (2, 1))
    found, expected = (getattr(where, name)(x, scale, *GRID[1:]) for where in (fq, fq.reference))
    for one, other in zip(found, expected, strict=True) if name == "forward_packed" else [(found, expected)]:
        assert np.shape(one) == np.shape(other)
        assert np.array_equal(one, other)


def test_a_new_result_has_the_order_of_x_in_memory():
    x = np.zeros((3, 4, 5), np.float32).transpose(2, 0, 1)
    q = fq.quantize(x, *GRID)
    assert q.strides == tuple(step // 4 for step in x.strides)
    assert fq.dequantize(q, 0.25, 0).strides == x.strides
    packed = fq.quantize_packed(np.zeros((3, 4, 6), np.float32).transpose(1, 0, 2), *GRID)
    assert packed.strides == (3, 12, 1)


@pytest.mark.parametrize(("of", "dtype"), [(np.float32, np.int32), (np.float16, np.int16), (np.float16, np.uint16)])
@pytest.mark.usefixtures("target")
def test_elements_of_one_size_are_written_in_place(of, dtype):
    for index in (np.s_[:], np.s_[::2], np.s_[::-1]):
        x = np.linspace(-3, 3, 1000).astype(of)[index]
        grid = 0.01, 200, 0, 400
        expected, y = fq.quantize(x, *grid, dtype), fq.fake_quantize(x, *grid)
        q = x.view(dtype)
        assert fq.quantize(x, *grid, out=q) is q
        assert_integers(q, expected)
        assert fq.dequantize(q, *grid[:2], of, out=x) is x
        assert_same(x, y)


def test_any_other_overlap_is_written_when_all_is_computed():
    room = np.zeros(4000, np.uint8)
    x = room.view(np.float32)[::-1]
    x[...] = np.linspace(-3, 3, x.size)
    expected = fq.quantize(x, *GRID)
    out = room[100 : 100 + x.size].view(np.int8)
    assert fq.quantize(x, *GRID, out=out) is out
    assert_integers(out, expected)
    scale = np.full(8, 0.25, np.float32)
    fq.quantize(np.ones(8, np.float32), scale, *GRID[1:], dtype=np.int32, out=scale.view(np.int32))
    assert scale.view(np.int32).tolist() == [4] * 8
    q = np.frombuffer(bytearray(range(8)), np.uint8)
    y = np.zeros(8, np.float32)
    y[:2] = q.view(np.float32)
    assert_same(fq.dequantize(y.view(np.uint8)[:8], 0.5, 0, out=y), np.arange(8, dtype=np.float32) / 2)


@pytest.mark.parametrize("packed", [False, True])
def test_a_refused_parameter_writes_nothing(packed):
    scale = np.full((300, 1), 0.25, np.float32)
    scale[299] = -1
    name = "quantize_packed" if packed else "quantize"
    out = np.full((300, 32 if packed else 64), 77, np.uint8 if packed else np.int8)
    with pytest.raises(ValueError, match=r"scale must be positive and finite in float32, got -1 at index \(299, 0\)"):
        getattr(fq, name)(np.zeros((300, 64), np.float32), scale, *GRID[1:], out=out)
    assert np.all(out == 77)
    y = np.full((300, 64), 77, np.float32)
    q, how = (np.zeros((300, 32), np.uint8), (4, 64)) if packed else (np.zeros((300, 64), np.int8), ())
    with pytest.raises(ValueError, match=r"scale must be positive and finite in float32, got -1 at index \(299, 0\)"):
        getattr(fq, "de" + name)(q, scale, 0, *how, out=y)
    assert np.all(y == 77)


REFUSED = [
    ("quantize", (X, 0.25, 0, 0, 255, np.int8), ValueError, "int8 does not hold qmax 255: uint8 does"),
    ("quantize", (X, 0.25, 0, -8, 7, np.uint8), ValueError, "uint8 does not hold qmin -8: int8 does"),
    ("quantize", (X, 0.25, 0, [[-8], [-200]], 7, np.int8), ValueError, r"hold qmin -200 at index \(1, 0\): int16 does"),
    ("quantize", (X, 0.25, 0, 0, 2**31), ValueError, "int32 does not hold qmax 2147483648: no type"),
    ("quantize", (X, 0.25, 0, -8, 7, np.int64), TypeError, "dtype must be int8, uint8, .* got int64"),
    ("quantize", (X, 0.25, 0, -8, 7, np.float32), TypeError, "dtype must be int8, uint8, .* got float32"),
    ("quantize", (X.astype(int), *GRID), TypeError, "x must be float16, .* got int64; convert it"),
    ("quantize", (X, 0.25, 0.5, -8, 7), TypeError, "zero_point must be an integer"),
    ("quantize", (X, 0.0, 0, -8, 7), ValueError, "scale must be positive and finite"),
    ("quantize", (X, 0.25, 0, 8, 7), ValueError, "qmin must not exceed qmax"),
    ("quantize", (X, 0.25, 9, -8, 7), ValueError, "zero_point must lie within"),
    ("quantize", (X, 0.25, 0, -(2**25), 7), ValueError, "every level minus zero_point must be exact"),
    ("quantize", (X, 0.25, [2**63], -8, 7), ValueError, "zero_point must be a level of int64"),
    (
        "quantize_packed",
        (X, 0.25, 0, -9, 7),
        ValueError,
        "an integer of 4 bits does not hold qmin -9: they hold -8 to 7 or 0 to 15",
    ),
    ("quantize_packed", (X, 0.25, 0, -1, 8), ValueError, "an integer of 4 bits does not hold qmax 8"),
    ("quantize_packed", (X, 0.25, 0, 0, 16), ValueError, "an integer of 4 bits does not hold qmax 16"),
    ("quantize_packed", (X, *GRID, 3), ValueError, "bits must be 1, 2 or 4, got 3"),
    ("quantize_packed", (X, *GRID, 4.0), TypeError, "integer"),
    (
        "dequantize",
        (Q, 0.25, 2**24),
        ValueError,
        "zero_point must lie within 2\\*\\*24 of every level of int8, got 16777216",
    ),
    ("dequantize", (Q, 0.25, [0] * 5 + [-(2**25)]), ValueError, r"level of int8, got -33554432 at index \(5,\)"),
    ("dequantize", (Q, 0.25, 2**53, np.float64), ValueError, "within 2\\*\\*53 of every level"),
    ("dequantize", (Q.astype(np.int32), 0.25, 2**31), ValueError, "among the levels of int32, got 2147483648"),
    ("dequantize", (Q, -0.25, 0), ValueError, "scale must be positive and finite"),
    ("dequantize", (Q, 0.25, 0, np.int8), TypeError, "dtype must be float16"),
    ("dequantize", (Q, 0.25, 0.5), TypeError, "zero_point must be an integer"),
    ("dequantize", (X, 0.25, 0), TypeError, "q must be an array of int8, .* got float32"),
    ("dequantize", (Q.astype(np.int64), 0.25, 0), TypeError, r"got int64; q.astype\(np.int32\) is one"),
    (
        "dequantize_packed",
        (fq.pack(Q, 4), 0.25, 0, 4, 7),
        ValueError,
        "the last axis of packed must be 4 for 7 integers of 4 bits, got 3",
    ),
    ("dequantize_packed", (fq.pack(Q, 4), 0.25, 0, 4, -1), ValueError, "n must not be negative, got -1"),
    ("dequantize_packed", (Q, 0.25, 0, 4, 12), TypeError, "packed must be an array of uint8"),
    ("dequantize_packed", (fq.pack(Q[:1], 4), np.ones(2, np.float32), 0, 4, 1), ValueError, "must be 1 or n, 1, got 2"),
    ("unpack", (fq.pack(Q, 4), 4, 4), ValueError, "the last axis of packed must be 2 for 4 integers of 4 bits, got 3"),
    ("unpack", (fq.pack(Q, 4), 8, 3), ValueError, "bits must be 1, 2 or 4, got 8"),
    ("unpack", (fq.pack(Q, 4), 4, -3), ValueError, "n must not be negative"),
    ("unpack", (Q, 4, 12), TypeError, "packed must be an array of uint8"),
    ("pack", (np.array([[0, 7], [8, -1]]), 4), ValueError, r"with a sign is -8 to 7, got 8 at index \(1, 0\)"),
    ("pack", (np.array([0, 15, 16]), 4), ValueError, r"without a sign is 0 to 15, got 16 at index \(2,\)"),
    ("pack", (Q, 16), ValueError, "bits must be 1, 2 or 4"),
    ("pack", (X, 4), TypeError, "q must be an array of integers, got float32"),
]


@pytest.mark.parametrize(("name", "given", "error", "message"), REFUSED)
def test_what_is_refused_is_told(name, given, error, message):
    with pytest.raises(error, match=message):
        getattr(fq, name)(*given)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("signed", [False, True])
def test_unpack_is_the_other_way_of_pack(bits, signed):
    rng = np.random.default_rng(1)
    low, high = ends_of(bits, signed)
    for shape in [(0,), (1,), (7,), (8,), (9,), (257,), (3, 5), (2, 3, 300), (4, 0), (0, 4)]:
        q = rng.integers(low, high, shape, np.int8 if signed else np.uint8, endpoint=True)
        if q.size:
            q.flat[0] = low  # whose sign says that there are any
        packed = fq.pack(q, bits)
        assert_integers(packed, fq.reference.pack(q, bits))
        assert_integers(fq.unpack(packed, bits, shape[-1], signed), q)
        assert_integers(fq.reference.unpack(packed, bits, shape[-1], signed), q)


@pytest.mark.parametrize("dtype", [*NUMPYS, np.dtype(np.int64), *TYPES], ids=str)
def test_pack_takes_integers_of_any_type(dtype):
    low, high = ends_of(1, dtype.name.startswith("i"))
    q = np.array([low, high] * 5).astype(dtype)
    assert_integers(fq.pack(q, 2), fq.reference.pack(q.astype(np.int64), 2))
    assert_integers(fq.pack(q[::-1], 1), fq.reference.pack(q.astype(np.int64)[::-1], 1))
