"""The element-wise functions are NumPy ufuncs, with all that NumPy users expect of one."""

import pickle

import numpy as np
import pytest
from helpers import ARITHMETICS, FLOAT_TYPES, assert_same, bfloat16

import fq

GRID = (0.25, 0, -8, 7)
X = np.linspace(-3, 3, 1000, dtype=np.float32)
ALL = [getattr(f, name) for f in ARITHMETICS.values() for name in f.__all__ if hasattr(f, name)]
UFUNCS = [u for u in ALL if isinstance(u, np.ufunc)]


def test_all_element_wise_functions_are_ufuncs():
    rows = [name for name, operation in fq._core.operations().items() if not operation["reduction"]]
    assert [list(getattr(fq._core, arithmetic)) for arithmetic in ARITHMETICS] == [rows, rows]
    assert len(UFUNCS) == 2 * len(rows)


@pytest.mark.parametrize("functions", ARITHMETICS.values(), ids=list(ARITHMETICS))
def test_the_public_names_are_the_rows(functions):
    operations = fq._core.operations()
    assert set(operations) <= set(functions.__all__)
    for name, operation in operations.items():
        assert isinstance(getattr(functions, name), np.ufunc) is not operation["reduction"]
        assert getattr(functions, name).__name__ == name


@pytest.mark.parametrize("ufunc", UFUNCS)
def test_pickles_by_reference(ufunc):
    assert pickle.loads(pickle.dumps(ufunc)) is ufunc


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_x_alone_decides_the_type(dtype):
    x = X.astype(dtype)
    for scale in (0.25, np.float64(0.25), np.array([0.25]), np.float16(0.25), np.int8(1), 1, True):
        for zero_point in (0, np.int8(0), np.array([0], np.uint16), np.bool_(False)):
            y, mask = fq.forward(x, scale, zero_point, np.int16(-8), 7)
            assert y.dtype == dtype
            assert mask.dtype == np.bool_
    assert fq.backward(x, X > 0).dtype == dtype
    assert fq.backward_recompute(x, x, *GRID).dtype == dtype


@pytest.mark.skipif(bfloat16 is None, reason="ml_dtypes is not installed")
def test_parameters_may_be_of_ml_dtypes():
    from ml_dtypes import float8_e4m3fn, int4

    expected = fq.forward(X, *GRID)
    assert_same(fq.forward(X, bfloat16(0.25), int4(0), -8, 7), expected)
    assert_same(fq.forward(X, np.array(0.25, float8_e4m3fn), 0, -8, 7), expected)


def test_float64_keeps_a_float64_scale():
    x = np.array([0.1, 0.2])
    assert_same(fq.fake_quantize(x, 0.1, 0, -8, 7), np.array([0.1, 0.2]))


def test_out_is_filled_and_returned():
    y, mask = np.empty_like(X), np.empty(X.shape, bool)
    found = fq.forward(X, *GRID, out=(y, mask))
    assert found[0] is y
    assert found[1] is mask
    assert_same(found, fq.reference.forward(X, *GRID))


def test_in_place_is_right():
    for array in (X.copy(), np.repeat(X, 2)[::2], X[::-1].copy()[::-1]):
        expected = fq.reference.forward(array, *GRID)
        _, mask = fq.forward(array, *GRID, out=(array, None))
        assert_same((array, mask), expected)
        expected = fq.reference.backward(array, mask)
        fq.backward(array, mask, out=array)
        assert_same(array, expected)


@pytest.mark.parametrize("shift", [1, 3, 16, 64, 500])
def test_overlapping_output_is_right(shift):
    for forwards in (True, False):
        memory = np.concatenate([X, X])
        x, y = memory[: X.size], memory[shift : shift + X.size]
        if not forwards:
            x, y = y, x
        expected = fq.reference.fake_quantize(x.copy(), *GRID)
        fq.fake_quantize(x, *GRID, out=y)
        assert_same(y, expected)


def test_output_over_its_own_parameters_is_right():
    scale = np.full(X.shape, 0.25, np.float32)
    fq.fake_quantize(X, scale, 0, -8, 7, out=scale)
    assert_same(scale, fq.reference.fake_quantize(X, *GRID))


def test_mask_over_the_memory_of_x_is_right():
    x = X.copy()
    mask = x.view(np.bool_)[: x.size]
    expected = fq.reference.forward(X, *GRID)
    assert_same(fq.forward(x, *GRID, out=(None, mask))[1], expected[1])


def test_where_leaves_the_rest_alone():
    y = np.full_like(X, 42)
    where = np.arange(X.size) % 3 == 0
    fq.fake_quantize(X, *GRID, out=y, where=where)
    assert_same(y, np.where(where, fq.reference.fake_quantize(X, *GRID), np.float32(42)))


def test_wrong_out_type_is_refused_and_safe_casts_are_made():
    wider = np.empty(X.shape, np.float64)
    assert_same(fq.fake_quantize(X, *GRID, out=wider), fq.fake_quantize(X, *GRID).astype(np.float64))
    with pytest.raises(TypeError, match="Cannot cast"):
        fq.fake_quantize(X, *GRID, out=np.empty(X.shape, np.int32))
    with pytest.raises(TypeError, match="Cannot cast"):
        fq.fake_quantize(X, *GRID, out=wider, casting="no")
    with pytest.raises(TypeError, match="loop"):
        fq.fake_quantize(X, *GRID, dtype=np.float64)


def test_subclasses_keep_their_class():
    class Tensor(np.ndarray):
        pass

    y, mask = fq.forward(X.view(Tensor), *GRID)
    assert type(y) is Tensor
    assert type(mask) is Tensor
    assert type(fq.forward(X.view(Tensor), *GRID, subok=False)[0]) is np.ndarray


def test_array_ufunc_is_honoured():
    class Lazy:
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return ufunc, method, len(inputs)

    assert fq.forward(Lazy(), *GRID) == (fq.forward, "__call__", 5)
    assert fq.backward(X, Lazy()) == (fq.backward, "__call__", 2)


def test_masked_calls_of_other_methods_are_errors_or_right():
    assert fq.backward.outer(X[:3], np.array([True, False])).shape == (3, 2)
    for method in (fq.backward.reduce, fq.backward.accumulate):
        with pytest.raises((TypeError, ValueError)):
            method(X)


def test_zero_dimensional_and_empty_arrays():
    y, mask = fq.forward(np.array(0.3, np.float32), *GRID)
    assert y.shape == mask.shape == ()
    for shape in ((0,), (3, 0), (0, 2, 5)):
        y, mask = fq.forward(np.zeros(shape, np.float32), *GRID)
        assert y.shape == mask.shape == shape
