"""Each error of the contract, by its message, from every function, and the reference refuses the same calls."""

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, assert_same

import fq

X = np.linspace(-3, 3, 100, dtype=np.float32)

INDEX = r"( at index \(\d+, ?0?\))?"  # in an array

BAD_VALUES = [
    ((0.0, 0, -8, 7), "scale must be positive and finite in float(32|64), got 0"),
    ((-0.5, 0, -8, 7), "scale must be positive and finite in float(32|64), got -0.5"),
    ((np.nan, 0, -8, 7), "scale must be positive and finite in float(32|64), got nan"),
    ((np.inf, 0, -8, 7), "scale must be positive and finite in float(32|64), got inf"),
    ((0.5, 0, 8, 7), f"qmin must not exceed qmax, got qmin 8{INDEX} and qmax 7"),
    ((0.5, -9, -8, 7), r"zero_point must lie within \[qmin, qmax\] = \[-8, 7\], got -9"),
    ((0.5, 8, -8, 7), r"zero_point must lie within \[qmin, qmax\] = \[-8, 7\], got 8"),
    ((0.5, 0, -(2**53) - 1, 0), "every level minus zero_point must be exact"),
    ((0.5, 0, 0, 2**53 + 1), "every level minus zero_point must be exact"),
    (
        (0.5, 2**63 - 1, -(2**63), 2**63 - 1),
        f"qmin {-(2**63)}{INDEX}, zero_point {2**63 - 1}{INDEX} and qmax {2**63 - 1}",
    ),
]


def calls(functions, x, qparams):
    yield lambda: functions.fake_quantize(x, *qparams)
    yield lambda: functions.forward(x, *qparams)
    yield lambda: functions.backward_recompute(x, x, *qparams)


@pytest.mark.parametrize(("qparams", "message"), BAD_VALUES, ids=[str(q) for q, _ in BAD_VALUES])
@pytest.mark.parametrize("functions", [*ARITHMETICS.values(), fq.reference], ids=[*ARITHMETICS, "reference"])
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_bad_parameters_are_value_errors(functions, dtype, qparams, message):
    if functions is fq.reference:
        message = message.split()[0] if message[0] != "q" else "qmin|every"
    for call in calls(functions, X.astype(dtype), qparams):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(("qparams", "message"), BAD_VALUES, ids=[str(q) for q, _ in BAD_VALUES])
@pytest.mark.parametrize("place", [0, 1, 63, 99])
def test_one_bad_parameter_among_many_is_found(qparams, message, place):
    x = X.astype(np.float64)
    arrays = [np.full(100, good, np.asarray(bad).dtype) for good, bad in zip((0.5, 0, -8, 7), qparams, strict=True)]
    for array, bad in zip(arrays, qparams, strict=True):
        array[place] = bad
    for call in calls(fq, x, arrays):
        with pytest.raises(ValueError, match=message):
            call()
    rows = [array[:, None] for array in arrays]
    for call in calls(fq, x.reshape(1, 100).repeat(100, 0), rows):
        with pytest.raises(ValueError, match=message):
            call()


def test_levels_are_exact_to_2_24_in_float32_and_2_53_in_float64():
    fq.forward(X, 0.5, 0, -(2**24), 2**24)
    with pytest.raises(ValueError, match=r"float32 \(at most 2\*\*24\), got qmin -16777217"):
        fq.forward(X, 0.5, 0, -(2**24) - 1, 2**24)
    fq.forward(X.astype(np.float64), 0.5, 0, -(2**53), 2**53)
    far = 2**62
    fq.forward(X, 0.5, far, far - 8, far + 7)  # it is the distance that counts


def test_a_reciprocal_that_overflows_is_refused():
    scale = np.float32(1e-39)
    fq.forward(X, scale, 0, -8, 7)
    for functions, how in ((fq.reciprocal, {}), (fq.reference, {"arithmetic": "reciprocal"})):
        with pytest.raises(ValueError, match="1 / scale must be finite"):
            functions.forward(X, scale, 0, -8, 7, **how)


@pytest.mark.parametrize(
    "bad", [X.astype(int), X.astype(bool), X.astype(complex), X.astype("g"), X.astype(object), 3, 1j, "a", None]
)
def test_x_of_another_type_is_a_type_error_that_says_what_is_accepted(bad):
    for functions in (fq, fq.reciprocal, fq.reference):
        with pytest.raises(TypeError, match="must be float16, bfloat16, float32 or float64, got"):
            functions.forward(bad, 0.5, 0, -8, 7)
        with pytest.raises(TypeError, match="must be float16, bfloat16, float32 or float64, got"):
            functions.backward(bad, np.True_)


@pytest.mark.parametrize("bad", [0.0, np.float32(0), np.array([0.5]), 0j, "a", None])
def test_a_level_that_is_not_an_integer_is_a_type_error(bad):
    for functions in (fq, fq.reciprocal, fq.reference):
        for place in (1, 2, 3):
            qparams = [0.5, 0, -8, 7]
            qparams[place] = bad
            with pytest.raises(TypeError, match="integer"):
                functions.forward(X, *qparams)


@pytest.mark.parametrize("bad", [1j, "a", None, np.datetime64("2020")])
def test_a_scale_that_is_not_a_number_is_a_type_error(bad):
    for functions in (fq, fq.reciprocal, fq.reference):
        with pytest.raises(TypeError, match="scale must be a real number"):
            functions.forward(X, bad, 0, -8, 7)


@pytest.mark.parametrize("bad", [X, X.astype(np.uint8), X.astype(int), 1, 1.0])
def test_a_mask_that_is_not_bool_is_a_type_error(bad):
    for functions in (fq, fq.reference):
        with pytest.raises(TypeError, match="mask must be an array of bool"):
            functions.backward(X, bad)


@pytest.mark.parametrize("of_dy", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("of_x", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("name", ["backward_recompute", "backward_learnable"])
def test_dy_of_another_type_is_cast_to_that_of_x(name, of_x, of_dy):
    x, dy = X.astype(of_x), np.sqrt(np.abs(X)).astype(of_dy)
    for functions in (fq, fq.reciprocal, fq.reference):
        if (of_dy.name, of_x.name) == ("bfloat16", "float16"):
            with pytest.raises(TypeError, match="dy of bfloat16 is not cast to float16, the type of x"):
                getattr(functions, name)(dy, x, 0.5, 0, -8, 7)
            continue
        found, expected = (getattr(functions, name)(one, x, 0.5, 0, -8, 7) for one in (dy, dy.astype(of_x)))
        assert_same(found, expected)
        assert (found[0] if name == "backward_learnable" else found).dtype == of_x


def test_shapes_that_do_not_broadcast_are_value_errors():
    with pytest.raises(ValueError, match="broadcast"):
        fq.forward(X, np.ones(3, np.float32), 0, -8, 7)
    with pytest.raises(ValueError, match="broadcast"):
        fq.backward(X, np.ones(3, bool))
    with pytest.raises(ValueError, match="broadcast"):
        fq.forward(X, 0.5, 0, -8, 7, out=(np.empty(3, np.float32), None))


def test_a_refused_call_does_not_touch_its_output():
    y = np.full_like(X, 42)
    with pytest.raises(ValueError, match="scale"):
        fq.fake_quantize(X, -1.0, 0, -8, 7, out=y)
    assert (y == 42).all()


def test_large_pages_are_asked_for_under_writable_memory_alone():
    memory = np.zeros(2**20)
    assert fq._core._use_large_pages(memory) is None
    assert not memory.any()
    with pytest.raises(BufferError):
        fq._core._use_large_pages(b"bytes")
    with pytest.raises(OverflowError):
        fq._core._set_cache_threshold(-1)
