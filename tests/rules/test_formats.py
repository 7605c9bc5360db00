"""Float formats: the numbers of ml_dtypes and gfloat, and what is refused."""

import numpy as np
import pytest
from grids import FORMATS
from helpers import FLOAT_TYPES, assert_same

import fq
from fq.formats import FloatGrid

PREFIX = {"e4": "float8_", "e5": "float8_", "e2m3": "float6_", "e3": "float6_", "e2m1": "float4_"}


def ml_dtype_of(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    prefix = next(prefix for start, prefix in PREFIX.items() if name.startswith(start))
    if not hasattr(ml_dtypes, prefix + name):
        pytest.skip(f"this ml_dtypes has no {prefix}{name}")
    return np.dtype(getattr(ml_dtypes, prefix + name))


def assert_as_cast(name, x):
    """As a cast and back where that is finite, which the mask says; the largest number beyond; NaN of NaN."""
    dtype, grid = ml_dtype_of(name), FORMATS[name]
    y, mask = fq.floats.forward(x, 1, *grid)
    with np.errstate(all="ignore"):
        is_nan = np.isnan(x)
        cast = x.astype(dtype).astype(x.dtype)
        largest = np.copysign(x.dtype.type(grid.max), x)
    assert_same(y[mask], cast[mask])
    beyond = ~mask & ~is_nan
    assert_same(y[beyond], largest[beyond])
    with np.errstate(all="ignore"):
        assert np.isnan(y[is_nan]).all()
        if name not in ("e2m3fn", "e3m2fn", "e2m1fn"):  # whose casts saturate
            assert_same(mask, np.isfinite(cast))


@pytest.mark.parametrize("name", FORMATS)
def test_float32_is_that_of_ml_dtypes_in_a_sample(name):
    assert_as_cast(name, np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32))
    ends = np.arange(-300, 300, dtype=np.int32)
    for number in (FORMATS[name].max, 2.0 ** FORMATS[name].min_exponent, FORMATS[name].max * (1 + 2**-5)):
        near = np.float32(number).view(np.int32) + np.concatenate([ends, ends << 12])
        assert_as_cast(name, near.view(np.float32))


@pytest.mark.parametrize("dtype", [one for one in FLOAT_TYPES if one.itemsize == 2], ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_every_value_of_16_bits_is_that_of_ml_dtypes(name, dtype):
    assert_as_cast(name, np.arange(2**16, dtype=np.uint16).view(dtype))


@pytest.mark.parametrize("name", FORMATS)
def test_float32_is_that_of_gfloat(name):
    gfloat = pytest.importorskip("gfloat")
    formats = pytest.importorskip("gfloat.formats")
    info = {"e4m3fn": "ocp_e4m3", "e5m2": "ocp_e5m2", "e2m3fn": "ocp_e2m3", "e3m2fn": "ocp_e3m2", "e2m1fn": "ocp_e2m1"}
    if name not in info:
        pytest.skip("gfloat rounds the formats of OCP")
    x = np.random.default_rng(0).standard_normal(2000) * 2.0 ** np.random.default_rng(1).integers(-16, 16, 2000)
    x = x.astype(np.float32).astype(np.float64)
    expected = gfloat.round_ndarray(
        getattr(formats, f"format_info_{info[name]}"), x, gfloat.RoundMode.TiesToEven, sat=True
    )
    assert_same(fq.floats.fake_quantize(x, 1, *FORMATS[name]), expected)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_its_numbers_and_no_others(name):
    dtype = ml_dtype_of(name)
    bits = int(name[1]) + int(name[3]) + 1
    with np.errstate(all="ignore"):
        numbers = np.arange(2**bits, dtype=np.uint8).view(dtype).astype(np.float32)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    y, mask = fq.floats.forward(numbers, 1, *FORMATS[name])
    assert_same(y + 0, numbers + 0)
    assert mask.all()
    fine = np.linspace(-1.1, 1.1, 100_001) * FORMATS[name].max
    assert len(np.unique(fq.floats.fake_quantize(fine, 1, *FORMATS[name]))) <= len(numbers)


def test_signs_of_zero_are_those_of_the_format():
    x = np.float32([0.0, -0.0, 1e-9, -1e-9])
    for name, grid in FORMATS.items():
        for scale in (1.0, 0.1, 2.0**-20):
            signs = np.signbit(fq.floats.fake_quantize(x, scale, *grid)) if name else None
            tiny = fq.floats.fake_quantize(x, scale, *grid) == 0
            assert (signs[tiny] == (np.signbit(x[tiny]) & grid.signed_zero)).all(), (name, scale)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (FloatGrid(-1, 0, 1.0), r"mantissa_bits must lie within \[0, 10\], got -1"),
        (FloatGrid(11, 0, 1.0), r"mantissa_bits must lie within \[0, 10\], got 11"),
        (FloatGrid(3, -127, 1.0), r"min_exponent must be one .* of float32, within \[-126, 127\], got -127"),
        (FloatGrid(3, 128, 1.0), r"got 128"),
        (FloatGrid(3, 0, 7.6), "max must be a positive number of the format.*got 7.59"),
        (FloatGrid(3, 0, 0.0), "got 0"),
        (FloatGrid(3, 0, -1.0), "got -1"),
        (FloatGrid(3, 0, np.inf), "got inf"),
        (FloatGrid(3, 0, np.nan), "got nan"),
        (FloatGrid(3, 0, 2.0**107), r"less than 2\*\*\(104 \+ mantissa_bits\) in float32, got 1.6.*mantissa_bits 3"),
    ],
)
def test_a_format_that_is_none_is_refused_with_its_value(grid, words):
    for x in (np.ones(3, np.float32), np.ones((2, 3), np.float32)[:, ::-1]):
        with pytest.raises(ValueError, match=words):
            fq.floats.forward(x, 1, *grid)
        with pytest.raises(ValueError, match=words.partition(" ")[0] if "must" in words else "must"):
            fq.reference.floats.forward(x, 1, *grid)


def test_the_index_of_a_bad_format_is_told():
    with pytest.raises(ValueError, match=r"mantissa_bits must lie within \[0, 10\], got 12 at index \(1, 0\)"):
        fq.floats.forward(np.ones((2, 3)), 1, np.array([[3], [12]]), -6, 448.0, True)


def test_wrong_types_are_told():
    with pytest.raises(TypeError, match="signed_zero must be an array of bool, got int"):
        fq.floats.forward(np.ones(3), 1, 3, -6, 448.0, 1)
    with pytest.raises(TypeError, match="mantissa_bits must be an integer or an array of them, got float"):
        fq.floats.forward(np.ones(3), 1, 3.0, -6, 448.0, True)
