"""calibrate, MovingAverage, grouped and sqnr: grids of whole arrays, and what they refuse."""

import pickle
import re

import numpy as np
import pytest
from helpers import FLOAT_TYPES, assert_same
from hypothesis import given
from hypothesis import strategies as st

import fq
from fq._clip import METHODS

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
WRONG_TYPES = [
    np.arange(3),
    np.ones(3, bool),
    np.ones(3, complex),
    np.array(["a"]),
    [1, 2],
    3,
    None,
    np.ones(3, np.longdouble),
]


# calibrate


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize(
    ("axis", "shape", "over"),
    [
        (None, (), (0, 1, 2, 3)),
        (1, (1, 3, 1, 1), (0, 2, 3)),
        (-1, (1, 1, 1, 8), (0, 1, 2)),
        ((0, 1), (4, 3, 1, 1), (2, 3)),
        ((0, 1, 2, 3), (4, 3, 8, 8), ()),
        ((), (), (0, 1, 2, 3)),
    ],
)
def test_the_grid_is_that_of_the_extremes_and_broadcasts(dtype, axis, shape, over):
    x = IMAGES.astype(dtype)
    found = fq.calibrate(x, 4, axis)
    of = np.float64 if dtype == np.float64 else np.float32
    ends = (end(x, axis=over).astype(of).reshape(shape) for end in (np.min, np.max))
    assert_same(tuple(found), tuple(fq.choose_qparams(*ends, 4)))
    assert np.shape(found.scale) == shape
    assert fq.forward(x, *found)[1].all()


@pytest.mark.parametrize("method", METHODS)
def test_groups_have_grids_that_fit_grouped(method):
    x = RNG.standard_normal((3, 5, 64)).astype(np.float32)
    found = fq.calibrate(x, 4, group=32, method=method, p=90)
    assert found.scale.shape == (3, 5, 2, 1)
    assert fq.fake_quantize(fq.grouped(x, 32), *found).shape == (3, 5, 2, 32)
    one = fq.calibrate(x[1, 2, 32:], 4, method=method, p=90)
    assert_same((found.scale[1, 2, 1, 0], found.zero_point[1, 2, 1, 0]), tuple(one[:2]))


def test_groups_may_span_the_axes_that_are_not_kept():
    x = RNG.standard_normal((3, 5, 64)).astype(np.float32)
    found = fq.calibrate(x, 4, axis=0, group=16)
    assert found.scale.shape == (3, 1, 4, 1)
    assert found.scale[1, 0, 2, 0] == fq.calibrate(x[1, :, 32:48], 4).scale


@pytest.mark.parametrize("method", METHODS)
def test_every_axis_has_the_grid_of_its_part_alone(method):
    found = fq.calibrate(IMAGES, 4, (0, 2), method=method, p=95, symmetric=True)
    one = fq.calibrate(IMAGES[1, :, 3], 4, method=method, p=95, symmetric=True)
    assert_same(found.scale[1, 0, 3, 0], one.scale)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
def test_nan_and_infinities_are_left_out(method, dtype, exact):
    x = IMAGES.astype(dtype).ravel()
    spoilt = np.concatenate([x, np.array([np.nan, np.inf, -np.inf, -np.nan], dtype)])
    kind = {"method": method, "p": 98, "exact": exact}
    assert_same(tuple(fq.calibrate(spoilt, 4, **kind)), tuple(fq.calibrate(x, 4, **kind)))
    rows = np.concatenate([np.stack([spoilt, spoilt[::-1]]), np.full((2, 3), np.nan, dtype)], axis=1)
    found = fq.calibrate(rows, 4, 0, **kind)
    assert (found.scale == fq.calibrate(x, 4, **kind).scale).all()


@given(st.lists(st.floats(width=32), max_size=30))
def test_any_values_give_a_grid_that_covers_the_finite_ones_or_an_error(values):
    x = np.float32(values)
    finite = x[np.isfinite(x) & (np.abs(x) < 1e38)]
    x = np.where(np.isfinite(x) & (np.abs(x) >= 1e38), np.float32(0), x)
    if not np.isfinite(x).any():
        with pytest.raises(ValueError, match="no finite value"):
            fq.calibrate(x)
        return
    found = fq.calibrate(x)
    assert fq.forward(finite, *found)[1].all()
    assert fq.calibrate(x, method="mse").scale > 0


def test_the_options_are_those_of_choose_qparams():
    ends = IMAGES.min(), IMAGES.max()
    for options in (
        {"signed": False},
        {"symmetric": True},
        {"narrow_range": True},
        {"symmetric": True, "formula": "torch"},
        {"eps": 0.5},
    ):
        assert_same(tuple(fq.calibrate(IMAGES, 5, **options)), tuple(fq.choose_qparams(*ends, 5, **options)))


@pytest.mark.parametrize("method", METHODS)
def test_any_layout_and_byte_order_gives_the_same_grid(method):
    x = RNG.standard_normal((6, 10)).astype(np.float32)
    wide = np.repeat(x, 2, axis=1)
    expected = tuple(fq.calibrate(x, 4, 0, method=method))
    for other in (
        x[:, ::-1],
        wide[:, ::2],
        np.asfortranarray(x),
        x.astype(">f4"),
        x.tolist() and np.array(x, order="F"),
    ):
        assert_same(tuple(fq.calibrate(other, 4, 0, method=method)), expected)


@pytest.mark.parametrize("x", WRONG_TYPES, ids=lambda x: str(getattr(x, "dtype", x)))
def test_x_of_another_type_is_refused_with_the_types_there_are(x):
    with pytest.raises(TypeError, match=r"x must be float16.*float32"):
        fq.calibrate(x)
    with pytest.raises(TypeError, match=r"x must be float16.*float32"):
        fq.MovingAverage().update(x)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "max"}, ValueError, "method must be 'minmax', 'percentile', 'mse' or 'entropy', got 'max'"),
        ({"method": None}, ValueError, "method must be 'minmax'"),
        ({"method": ["mse"]}, ValueError, "method must be 'minmax'"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite must be 'skip' or 'raise', got 'ignore'"),
        ({"formula": "best"}, ValueError, "formula must be 'cover' or 'torch'"),
        ({"bits": 0}, ValueError, "bits must be 1 to 16, got 0"),
        ({"bits": 17, "method": "mse"}, ValueError, "bits must be 1 to 16, got 17"),
        ({"bits": 4.0}, TypeError, "bits must be an integer"),
        ({"bits": 9, "method": "entropy"}, ValueError, "'entropy' is for at most 8 bits, got 9"),
        ({"eps": 0}, ValueError, "eps must be positive"),
        ({"method": "percentile", "p": 0}, ValueError, "p must be a percentage, above 0 and up to 100, got 0"),
        ({"method": "percentile", "p": 100.1}, ValueError, "got 100.1"),
        ({"method": "percentile", "p": np.nan}, ValueError, "got nan"),
        ({"method": "percentile", "p": "99"}, TypeError, "p must be a real number, got '99'"),
        ({"axis": 4}, ValueError, "axis 4 is not there: x has shape (4, 3, 8, 8)"),
        ({"axis": (0, -4)}, ValueError, "axis names one axis twice"),
        ({"axis": 1.0}, TypeError, "axis must be an integer or a tuple of integers, got 1.0"),
        ({"axis": True}, TypeError, "axis must be an integer"),
        ({"axis": (0, -1), "group": 4}, ValueError, "axis (0, -1) must not name the last axis of x"),
        ({"group": 3}, ValueError, "the last axis of x must be whole groups of 3, got shape (4, 3, 8, 8)"),
        ({"group": 0}, ValueError, "whole groups of 0"),
        ({"group": 4.0}, TypeError, "the size of a group must be an integer, got 4.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        fq.calibrate(IMAGES, **arguments)


def test_values_that_give_no_range_are_refused():
    for x in (np.zeros((3, 0), np.float32), np.float32([np.nan]), np.float32(np.inf)):
        with pytest.raises(ValueError, match="calibrate got no finite value, so there is no range"):
            fq.calibrate(x)
    with pytest.raises(ValueError, match=re.escape("no finite value at index (1, 0)")):
        fq.calibrate(np.float32([[1, 2], [np.nan, np.inf]]), axis=0)
    with pytest.raises(ValueError, match=re.escape("x must be finite, got inf at index (1, 0)")):
        fq.calibrate(np.float32([[1, 2], [np.inf, 0]]), nonfinite="raise")
    with pytest.raises(TypeError, match="must not be a masked array"):
        fq.calibrate(np.ma.masked_array([1.0, 2.0], [False, True]))


# MovingAverage


@pytest.mark.parametrize("momentum", [0.01, 0.5, 1])
def test_the_averages_are_those_of_pytorch_s_observer(momentum):
    torch = pytest.importorskip("torch")
    observer = torch.ao.quantization.MovingAverageMinMaxObserver(averaging_constant=momentum, dtype=torch.qint8)
    average = fq.MovingAverage(momentum=momentum)
    for _ in range(20):
        x = RNG.standard_normal(50).astype(np.float32)
        observer(torch.from_numpy(x))
        assert average.update(x) is average
    np.testing.assert_allclose((average.min, average.max), (observer.min_val, observer.max_val), rtol=1e-6)
    found = average.qparams(formula="torch", eps=2.0**-23)
    scale, zero_point = observer.calculate_qparams()
    np.testing.assert_allclose(found.scale, scale.numpy()[0], rtol=1e-6)
    assert found.zero_point == zero_point


def test_channels_have_averages_of_their_own_that_broadcast():
    average = fq.MovingAverage(axis=1, momentum=0.25)
    batches = RNG.standard_normal((3, 4, 3, 8, 8)).astype(np.float16)
    alone = [fq.MovingAverage(momentum=0.25) for _ in range(3)]
    for batch in batches:
        average.update(batch)
        for channel, one in enumerate(alone):
            one.update(batch[:, channel])
    assert average.min.shape == average.qparams().scale.shape == (1, 3, 1, 1)
    assert average.min.ravel().tolist() == [one.min for one in alone]
    assert average.max.ravel().tolist() == [one.max for one in alone]
    assert average.qparams().scale.ravel().tolist() == [one.qparams().scale for one in alone]


def test_a_batch_of_equal_ends_leaves_the_averages_where_they_are():
    average = fq.MovingAverage(momentum=0.3)
    for _ in range(10):
        average.update(np.float32([0.1, -0.7]))
    assert (average.min, average.max) == (np.float32(-0.7), np.float32(0.1))


def test_the_answer_depends_on_the_order_and_says_so():
    one, other = (fq.MovingAverage(momentum=0.25) for _ in range(2))
    for x in (1.0, 2.0):
        one.update(np.float32([x]))
        other.update(np.float32([3 - x]))
    assert one.max != other.max
    assert "depends on the order" in fq.MovingAverage.__doc__


def test_nan_and_empty_batches_change_nothing():
    average = fq.MovingAverage(axis=0)
    average.update(np.zeros((2, 0), np.float32))
    with pytest.raises(ValueError, match="has seen no value yet"):
        average.min  # noqa: B018
    average.update(np.float32([[1, np.nan], [np.nan, np.inf]]))
    with pytest.raises(ValueError, match=re.escape("no finite value at index (1, 0)")):
        average.qparams()
    average.update(np.float32([[1, 1], [5, -np.inf]]))
    before = average.state()
    average.update(np.full((2, 3), np.nan, np.float32)).update(np.zeros((2, 0), np.float16))
    for bad, error in ((np.zeros((3, 2), np.float32), ValueError), (np.zeros(2, int), TypeError)):
        with pytest.raises(error):
            average.update(bad)
    assert_same([average.min, average.max], [before["min"], before["max"]])
    assert average.max.ravel().tolist() == [1, 5]
    strict = fq.MovingAverage(nonfinite="raise").update(np.float32([1, 2]))
    with pytest.raises(ValueError, match="x must be finite, got nan at index"):
        strict.update(np.float32([5, np.nan]))
    assert strict.max == 2


def test_ranges_of_another_shape_are_refused_with_both():
    average = fq.MovingAverage(axis=1).update(IMAGES)
    with pytest.raises(
        ValueError, match=re.escape("have shape (1, 2, 1, 1), those of the batches before (1, 3, 1, 1)")
    ):
        average.update(IMAGES[:, :2])


def test_the_scale_is_float64_where_a_batch_was():
    average = fq.MovingAverage().update(np.float32([1]))
    assert average.qparams().scale.dtype == np.float32
    assert average.update(np.float64([1])).update(np.float16([1])).qparams().scale.dtype == np.float64


def test_the_widest_values_do_not_overflow():
    widest = np.finfo(np.float64).max
    average = fq.MovingAverage(momentum=1).update(np.array([-widest])).update(np.array([widest]))
    assert average.min == average.max == widest


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_pickle_and_state_go_on_where_it_stood(seen):
    average = fq.MovingAverage(axis=1, momentum=0.5)
    for _ in range(seen):
        average.update(RNG.standard_normal((2, 3)).astype(np.float64))
    for other in (pickle.loads(pickle.dumps(average)), fq.MovingAverage.from_state(average.state())):
        x = RNG.standard_normal((2, 3))
        before = average.state()
        other.update(x)
        assert str(average.state()) == str(before)  # with memory of its own
        again = fq.MovingAverage.from_state(before).update(x)
        assert_same(tuple(other.qparams()), tuple(again.qparams()))


def test_what_is_given_out_is_not_what_is_kept():
    average = fq.MovingAverage(axis=0).update(np.float32([[1], [2]]))
    average.min[...] = 7
    average.state()["max"][...] = 7
    assert average.min.ravel().tolist() == average.max.ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"momentum": 0}, ValueError, "momentum must be above 0 and up to 1, got 0"),
        ({"momentum": 1.5}, ValueError, "got 1.5"),
        ({"momentum": np.nan}, ValueError, "got nan"),
        ({"momentum": "1"}, TypeError, "momentum must be a real number, got '1'"),
        ({"momentum": True}, TypeError, "momentum must be a real number"),
        ({"nonfinite": None}, ValueError, "nonfinite must be 'skip' or 'raise'"),
    ],
)
def test_bad_moving_averages_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        fq.MovingAverage(**arguments)


def test_an_axis_that_is_not_there_is_refused_by_update():
    with pytest.raises(ValueError, match="axis 2 is not there"):
        fq.MovingAverage(axis=2).update(np.float32([[1]]))


# grouped


@pytest.mark.parametrize(
    "view", [lambda x: x, lambda x: x[:, ::-2], lambda x: x.T, lambda x: x[:, 3:15], lambda x: x[:0]]
)
def test_groups_are_a_view(view):
    x = view(np.arange(24 * 12, dtype=np.float32).reshape(12, 24))
    found = fq.grouped(x, 2)
    assert found.shape == (len(x), x.shape[1] // 2, 2)
    assert_same(found.reshape(x.shape), x)
    assert x.size == 0 or np.shares_memory(found, x)
    found[...] = -1
    assert (x == -1).all()


def test_groups_of_one_vector_of_nothing_and_of_any_type():
    assert fq.grouped(np.arange(6), 6).shape == (1, 6)
    assert fq.grouped(np.zeros((2, 0)), 4).shape == (2, 0, 4)
    assert fq.grouped(np.array(["a", "b"], object), np.int8(1)).shape == (2, 1)
    assert not fq.grouped(np.broadcast_to(np.float32(1), (4,)), 2).flags.writeable


@pytest.mark.parametrize(
    ("x", "size", "error", "message"),
    [
        (np.ones(5), 2, ValueError, "the last axis of x must be whole groups of 2, got shape (5,)"),
        (np.ones(5), -5, ValueError, "whole groups of -5"),
        (np.ones(5), 2.5, TypeError, "the size of a group must be an integer, got 2.5"),
        (np.ones(5), True, TypeError, "the size of a group must be an integer"),
        (np.array(1.0), 1, ValueError, "x must have an axis"),
        ([1, 2], 2, TypeError, "x must be an array of NumPy, of which this is a view, got list"),
    ],
)
def test_what_cannot_be_grouped_is_refused(x, size, error, message):
    with pytest.raises(error, match=re.escape(message)):
        fq.grouped(x, size)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_class_that_cannot_have_another_axis_is_refused():
    for x in (np.ones((2, 2)), np.ones((2, 4))):
        with pytest.raises(ValueError, match="matrix"):
            fq.grouped(np.asmatrix(x), 2)


# sqnr


def test_sqnr_is_the_ratio_of_powers_in_decibels():
    x = RNG.standard_normal((3, 4, 50)).astype(np.float32)
    y = fq.fake_quantize(x, *fq.calibrate(x, 6))
    wide, noise = x.astype(np.float64), x.astype(np.float64) - y
    for axis, over in ((None, (0, 1, 2)), (0, (1, 2)), ((0, 1), (2,)), ((0, 1, 2), ())):
        expected = 10 * np.log10((wide**2).sum(over) / (noise**2).sum(over))
        found = fq.sqnr(x, y, axis)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert fq.sqnr(x, y) == pytest.approx(31, abs=2)


def test_the_ends_of_sqnr():
    x = np.float32([[1, 2], [0, 0], [3, 4], [np.nan, 1], [np.inf, 1]])
    y = np.float32([[1, 2], [1, 0], [3, 4.5], [1, 1], [np.inf, 1]])
    found = fq.sqnr(x, y, 0)
    assert found[:2].tolist() == [np.inf, -np.inf]
    assert found[2] == 20
    assert np.isnan(found[3:]).all()
    assert fq.sqnr([0.0], [0.0]) == fq.sqnr([], []) == np.inf


@pytest.mark.parametrize("dtype", [*FLOAT_TYPES, np.dtype(np.int8)], ids=str)
def test_sums_of_sqnr_are_float64_whatever_the_type(dtype):
    x = np.full(70_000, 100, dtype)  # whose squares are beyond float16
    assert fq.sqnr(x, x.astype(np.float64) + 0.01) == pytest.approx(80, abs=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "axis", "error", "message"),
    [
        (np.ones(3), np.ones(2), None, ValueError, "x and y must have the same shape, got (3,) and (2,)"),
        (np.ones(3), np.ones((1, 3)), None, ValueError, "got (3,) and (1, 3)"),
        (np.ones(3, complex), np.ones(3), None, TypeError, "x must be real, got complex128"),
        (np.ones(3), ["a"] * 3, None, TypeError, "y must be real, got <U1"),
        (np.ones(3), np.ma.masked_array([1, 2, 3]), None, TypeError, "y must not be a masked array"),
        (np.ones(3), np.ones(3), 1, ValueError, "axis 1 is not there"),
    ],
)
def test_what_has_no_ratio_is_refused(x, y, axis, error, message):
    with pytest.raises(error, match=re.escape(message)):
        fq.sqnr(x, y, axis)


@pytest.mark.parametrize("size", [1e-310, 1e-200, 1e200, 1e300, np.finfo(np.float64).max / 2])
def test_sqnr_of_very_large_and_small_values(size):
    x, y = size * np.float64([1, -0.5, 0.25]), size * np.float64([1.1, -0.5, 0.25])
    assert fq.sqnr(x, y) == pytest.approx(10 * np.log10(131.25), abs=1e-6)
    assert fq.sqnr(x, x) == np.inf
    assert_same(fq.sqnr([x, x], [y, x], axis=0), np.stack([fq.sqnr(x, y), np.inf]))


def test_sqnr_of_noise_that_is_far_below_the_signal_or_above_float64():
    assert fq.sqnr([1.0, 0.0], [1.0, 1e-200]) == pytest.approx(4000)
    most = np.finfo(np.float64).max
    assert fq.sqnr([most, 0], [-most, 0]) == pytest.approx(10 * np.log10(0.25))
    assert np.isnan(fq.sqnr([np.inf, 1.0], [1.0, 1.0]))
    assert fq.sqnr([1.0, 1.0], [np.inf, 1.0]) == -np.inf


def test_the_callers_floating_point_errors_do_not_stop_a_moving_average():
    with np.errstate(all="raise"):
        average = fq.MovingAverage(momentum=0.5).update([5e-324, 1.0]).update([-5e-324, 1.7e308]).update([-1.7e308])
        assert np.isfinite([average.min, average.max]).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"max": np.zeros(3)}, "fit"),
        ({"max": None}, "fit"),
        ({"min": [[1], [9]], "max": [[2], [3]]}, "fit"),
        ({"max": [[2], [np.nan]]}, "fit"),
        ({"dtype": "int8"}, "int8"),
    ],
)
def test_a_state_of_a_moving_average_that_is_none_is_refused(change, match):
    state = fq.MovingAverage(axis=0).update(np.float32([[1, 2], [3, 4]])).state()
    assert fq.MovingAverage.from_state(state).max.shape == (2, 1)
    with pytest.raises(ValueError, match=match):
        fq.MovingAverage.from_state(state | change)
    with pytest.raises(ValueError, match="lacks 'momentum'"):
        fq.MovingAverage.from_state({name: one for name, one in state.items() if name != "momentum"})
    with pytest.raises(TypeError, match="must be a dict"):
        fq.MovingAverage.from_state(None)
