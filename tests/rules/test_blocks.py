"""Blocks that share a scale: bit for bit the standards' rules, in any layout, and as they are stored."""

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same, bfloat16
from hypothesis import given
from hypothesis import strategies as st
from layouts import laid_out

import fq
from fq.formats import BlockFormat, FloatGrid

NAMED = {name: one for name in fq.formats.__all__ if isinstance(one := getattr(fq.formats, name), BlockFormat)}
FORMATS = {
    **NAMED,
    **{
        f"{name} {rule}": NAMED[name]._replace(rule=rule) for name in NAMED for rule in ("up", "fit") if name != "nvfp4"
    },
    "own": BlockFormat(FloatGrid(2, -1, 7.0, False), 5, "e8m0", "fit"),
    "wide": BlockFormat(fq.formats.e2m1fn, 100, "e4m3"),
}
EVERY = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
KINDS = "normal", "wide", "ties", "tiny", "huge"


def values_of(kind, dtype, shape, rng):
    """Values with zeros, and in wide data NaN and infinities."""
    x = rng.standard_normal(shape)
    with np.errstate(all="ignore"):
        if kind == "wide":
            x = x * 2.0 ** rng.integers(-30, 30, shape)
        elif kind == "ties":
            x = np.round(x * 16) / 32 * 2.0 ** rng.integers(-3, 3, shape)
        elif kind in ("tiny", "huge"):
            x = x * 2.0 ** (-140 if kind == "tiny" else 122)
        x[rng.random(shape) < 0.05] = 0
        if kind == "wide":
            x[rng.random(shape) < 0.01] = rng.choice([np.nan, np.inf, -np.inf])
        return x.astype(dtype)


def expected_of(x, format, axis):
    scale = fq.blocks.found_tensor_scale(x, format.grid.max) if format.scale == "e4m3" else 1.0
    return fq.reference.blocks.forward(x, format, axis=axis, tensor_scale=scale)


def check(x, format, axis):
    """All functions beside the reference."""
    y, mask, scales = expected_of(x, format, axis)
    assert_same(fq.blocks.fake_quantize(x, format, axis=axis), y)
    assert_same(fq.blocks.forward(x, format, axis=axis), (y, mask))
    bits = np.packbits(mask, axis=-1, bitorder="little")
    assert_same(fq.blocks.forward_packed(x, format, axis=axis), (y, bits))
    stored = fq.blocks.quantize(x, format, axis=axis)
    assert_same(fq.blocks.dequantize(*stored, format, axis=axis, dtype=y.dtype), y)
    assert stored.scales.shape == scales.shape


@EVERY
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_equals_the_reference_on_every_target(dtype, kind, format, target):
    rng = np.random.default_rng(0)
    for shape, axis in (
        ((3, 100), -1),
        ((70, 67), 0),
        ((2, 40, 3), 1),
        ((5, 64), 1),
        ((1,), 0),
        ((0, 4), 1),
        ((4, 0), 1),
    ):
        check(values_of(kind, dtype, shape, rng), format, axis)


@EVERY
@given(st.data())
def test_any_layout_and_axis(format, data):
    draw = data.draw
    rng, dtype = np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.sampled_from(FLOAT_TYPES))
    shape = tuple(draw(st.lists(st.integers(1, 70), min_size=1, max_size=3)))
    x = laid_out(values_of(draw(st.sampled_from(KINDS)), dtype, shape, rng), draw)
    before = x.tobytes()
    check(x, format, draw(st.integers(-len(shape), len(shape) - 1)))
    assert x.tobytes() == before


def test_threads_change_nothing():
    x, threads = values_of("wide", np.float32, (512, 1024), np.random.default_rng(1)), fq.get_num_threads()
    try:
        for format in NAMED.values():
            for axis in (0, 1):
                fq.set_num_threads(1)
                expected = fq.blocks.forward_packed(x, format, axis=axis)
                fq.set_num_threads(3)
                assert_same(fq.blocks.forward_packed(x, format, axis=axis), expected)
    finally:
        fq.set_num_threads(threads)


def test_scales_of_powers_of_two_are_what_their_rules_say():
    amax = np.float32([[6.0], [6.1], [6.999], [7.0], [7.1], [8.0], [0.0], [1e-45], [3e38], [np.nan], [np.inf]])
    exponents = {
        rule: fq.blocks.quantize(amax, fq.formats.mxfp4._replace(rule=rule)).scales.ravel().astype(int).tolist()
        for rule in ("floor", "up", "fit")
    }
    assert exponents == {
        "floor": [127, 127, 127, 127, 127, 128, 0, 0, 252, 255, 255],
        "up": [127, 128, 128, 128, 128, 128, 0, 0, 253, 255, 255],
        "fit": [127, 127, 127, 128, 128, 128, 0, 0, 253, 255, 255],
    }


@pytest.mark.parametrize("rule", ["up", "fit"])
@pytest.mark.parametrize("name", [name for name in NAMED if name != "nvfp4"])
def test_up_and_fit_clamp_nothing(name, rule):
    x = values_of("normal", np.float32, (1000, 64), np.random.default_rng(2))
    assert fq.blocks.forward(x, NAMED[name]._replace(rule=rule))[1].all()
    assert not fq.blocks.forward(x, NAMED[name]._replace(rule="floor"))[1].all()


def test_a_found_tensor_scale_clamps_nothing_and_a_small_one_does():
    x = values_of("normal", np.float32, (1000, 64), np.random.default_rng(3))
    assert fq.blocks.forward(x, fq.formats.nvfp4)[1].all()
    assert not fq.blocks.forward(x, fq.formats.nvfp4, tensor_scale=1e-5)[1].all()
    assert fq.blocks.quantize(x, fq.formats.nvfp4).tensor_scale == np.float32(abs(x).max()) / np.float32(448 * 6)
    assert fq.blocks.quantize(np.zeros(16), fq.formats.nvfp4).tensor_scale == 1
    assert fq.blocks.quantize(np.float32([np.inf, 6.0]), fq.formats.nvfp4).tensor_scale == np.float32(1 / 448)


@pytest.mark.parametrize("name", NAMED)
def test_codes_are_the_bits_of_ml_dtypes(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = values_of("normal", np.float32, (40, 64), np.random.default_rng(4))
    codes, scales, tensor_scale = fq.blocks.quantize(x, NAMED[name])
    element = {"mxint8": None, "nvfp4": "float4_e2m1fn", "mxfp4": "float4_e2m1fn"}.get(
        name, f"float{name[4]}_{name.partition('_')[2]}{'' if name.endswith('e5m2') else 'fn'}"
    )
    values = codes / np.float32(64) if element is None else codes.view(getattr(ml_dtypes, element)).astype(np.float32)
    kind = "float8_e4m3fn" if name == "nvfp4" else "float8_e8m0fnu"
    of_blocks = scales.view(getattr(ml_dtypes, kind)).astype(np.float32) * np.float32(tensor_scale or 1)
    y = values * np.repeat(of_blocks, NAMED[name].block, -1)
    assert_same(y + 0, fq.blocks.fake_quantize(x, NAMED[name]) + 0)


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4"])
def test_jax_reads_what_is_stored(name):
    jnp, ml_dtypes = pytest.importorskip("jax.numpy"), pytest.importorskip("ml_dtypes")
    x = np.random.default_rng(5).standard_normal((8, 64)).astype(np.float32)
    element, scale = ("float4_e2m1fn", "float8_e4m3fn") if name == "nvfp4" else ("float8_e4m3fn", "float8_e8m0fnu")
    stored = fq.blocks.quantize(x, NAMED[name])
    codes = jnp.asarray(stored.codes.view(getattr(ml_dtypes, element))).astype(np.float32)
    scales = jnp.asarray(stored.scales.view(getattr(ml_dtypes, scale))).astype(np.float32) * (stored.tensor_scale or 1)
    y = np.asarray(codes * jnp.repeat(scales, NAMED[name].block, -1))
    assert_same(y + 0, fq.blocks.fake_quantize(x, NAMED[name]) + 0)


def test_backward_takes_the_mask_and_the_bits():
    x = values_of("normal", np.float32, (6, 50), np.random.default_rng(6))
    dy = np.random.default_rng(7).standard_normal(x.shape).astype(np.float32)
    for axis in (0, 1):
        _, mask = fq.blocks.forward(x, fq.formats.mxfp4, axis=axis)
        _, bits = fq.blocks.forward_packed(x, fq.formats.mxfp4, axis=axis)
        assert_same(fq.backward_packed(dy, bits), fq.backward(dy, mask))


def test_out_may_be_x_or_lie_across_it():
    x = values_of("normal", np.float32, (6, 64), np.random.default_rng(8))
    expected = fq.blocks.fake_quantize(x, fq.formats.mxfp4, axis=0)
    place = x.copy()
    assert fq.blocks.fake_quantize(place, fq.formats.mxfp4, axis=0, out=place) is place
    assert_same(place, expected)
    room = np.zeros(x.size + 7, np.float32)
    room[: x.size] = x.ravel()
    across = room[7:].reshape(x.shape)
    fq.blocks.fake_quantize(room[: x.size].reshape(x.shape), fq.formats.mxfp4, axis=0, out=across)
    assert_same(across, expected)
    strided = np.zeros((6, 128), np.float32)[:, ::2]
    assert_same(fq.blocks.fake_quantize(x, fq.formats.mxfp4, axis=0, out=strided), expected)


MXFP4, NVFP4, X = fq.formats.mxfp4, fq.formats.nvfp4, np.ones((2, 8), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fq.blocks.forward(X, MXFP4._replace(block=0)), ValueError, "1 element or more, got 0"),
        (lambda: fq.blocks.forward(X, MXFP4._replace(block=1.5)), ValueError, "got 1.5"),
        (lambda: fq.blocks.forward(X, MXFP4._replace(rule="ceil")), ValueError, "floor, up, fit, got 'ceil'"),
        (lambda: fq.blocks.forward(X, MXFP4._replace(scale="e5m2")), ValueError, "e8m0, e4m3, got 'e5m2'"),
        (lambda: fq.blocks.forward(X, fq.formats.e2m1fn), TypeError, "BlockFormat"),
        (lambda: fq.blocks.forward(X, MXFP4, axis=2), ValueError, r"within \[-2, 2\)"),
        (lambda: fq.blocks.forward(np.float32(1), MXFP4), ValueError, "atleast_1d"),
        (lambda: fq.blocks.forward(np.ones(3, int), MXFP4), TypeError, "astype"),
        (lambda: fq.blocks.forward(np.ma.ones(3), MXFP4), TypeError, "masked"),
        (lambda: fq.blocks.forward(X, NVFP4, tensor_scale=0.0), ValueError, "positive.*got 0.0"),
        (lambda: fq.blocks.forward(X, NVFP4, tensor_scale=-1.0), ValueError, "got -1.0"),
        (lambda: fq.blocks.forward(X, NVFP4, tensor_scale=np.nan), ValueError, "got nan"),
        (lambda: fq.blocks.forward(X, NVFP4, tensor_scale=1e-44), ValueError, "normal number of float32"),
        (lambda: fq.blocks.forward(X, MXFP4, tensor_scale=1.0), ValueError, "only scales of e4m3"),
        (lambda: fq.blocks.forward(X, MXFP4._replace(grid=FloatGrid(1, 0, 5.0))), ValueError, "max must be"),
        (lambda: fq.blocks.fake_quantize(X, MXFP4, out=np.ones(3)), ValueError, "out must be an array of float32"),
        (lambda: fq.blocks.quantize(X, MXFP4._replace(grid=FloatGrid(7, -6, 448.0))), ValueError, "8 bits"),
        (lambda: fq.blocks.dequantize(np.uint8([16]), np.uint8([127]), None, MXFP4), ValueError, "got 16 at index"),
        (lambda: fq.blocks.dequantize(np.int8([-128]), np.uint8([0]), None, fq.formats.mxint8), ValueError, "-128"),
        (lambda: fq.blocks.dequantize(np.ones(3), np.uint8([127]), None, MXFP4), TypeError, "bytes"),
        (lambda: fq.blocks.dequantize(np.uint8([1] * 33), np.uint8([127]), None, MXFP4), ValueError, r"shape \(2,\)"),
        (lambda: fq.blocks.dequantize(np.uint8([1]), np.uint8([127]), None, NVFP4), ValueError, "tensor_scale"),
    ],
)
def test_what_is_wrong_is_refused_with_its_value(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_bfloat16_is_there():
    assert bfloat16 is None or fq.blocks.fake_quantize(np.ones(4, bfloat16), MXFP4).dtype == bfloat16
