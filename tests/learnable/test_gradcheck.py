"""fq.gradcheck passes right gradients and fails each classic mistake, with the place where it shows."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import FLOAT_TYPES

import fq
from fq import gradcheck
from fq.__main__ import main

GRID = (np.float32(0.125), 1, -8, 7)
PLACES = np.concatenate([np.arange(-12, 13) + 0.25, np.arange(-12, 13) - 0.375])


def x_of(dtype=np.float32):
    return (PLACES * 0.125).astype(dtype)


def no_mask(dy, x, *qparams):
    return dy


def mask_by_range_of_x(dy, x, scale, zero_point, qmin, qmax):
    return dy * ((x >= (qmin - zero_point) * scale) & (x <= (qmax - zero_point) * scale))


def half_at_the_ends(dy, x, scale, zero_point, qmin, qmax):
    level = np.rint(x / scale) + zero_point
    return fq.backward_recompute(dy, x, scale, zero_point, qmin, qmax) * np.where(
        (level == qmin) | (level == qmax), np.float32(0.5), np.float32(1)
    )


@pytest.mark.parametrize(
    ("backward", "groups"),
    [(no_mask, {"outside"}), (mask_by_range_of_x, {"border"}), (half_at_the_ends, {"border"})],
)
def test_a_wrong_gradient_of_x_is_caught_where_it_is_wrong(backward, groups):
    report = gradcheck.check_input_gradient(fq.fake_quantize, backward, x_of(), GRID)
    assert not report.ok
    assert {name for name, n in report.failed.items() if n} == groups
    with pytest.raises(gradcheck.GradientMismatch, match=r"MISMATCH(.|\n)*worst: x at"):
        report.raise_if_failed()


def test_a_wrong_sign_and_a_wrong_size_are_caught():
    for wrong in (-1, 1.01):
        backward = lambda dy, x, *q, wrong=wrong: wrong * fq.backward_recompute(dy, x, *q)  # noqa: E731
        assert not gradcheck.check_input_gradient(fq.fake_quantize, backward, x_of(), GRID).ok


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
@pytest.mark.parametrize("module", [fq, fq.reciprocal])
def test_fq_passes(module, dtype):
    report = gradcheck.check_input_gradient(module.forward, module.backward_recompute, x_of(dtype), GRID)
    assert report.raise_if_failed() is report
    assert min(report.checked.values()) > 0
    assert gradcheck.check_parameter_gradients(module.backward_learnable, x_of(dtype), GRID).raise_if_failed().ok


def altered(change):
    return lambda dy, x, *qparams: change(*fq.backward_learnable(dy, x, *qparams), dy, x, *qparams)


def by_place(dx, ds, dz, dy, x, scale, *_):
    return dx, ds + np.sum(dx * (x / scale)), dz  # forgets the - x / scale in range


MISTAKES = {
    "sign of dzero_point": altered(lambda dx, ds, dz, *_: (dx, ds, -dz)),
    "dzero_point without scale": altered(lambda dx, ds, dz, dy, x, scale, *_: (dx, ds, dz / scale)),
    "sign of dscale": altered(lambda dx, ds, dz, *_: (dx, -ds, dz)),
    "dscale without the residual": altered(by_place),
    "nothing": altered(lambda dx, ds, dz, *_: (dx, ds * 0, dz * 0)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wrong_gradient_of_a_parameter_is_caught(mistake, dtype):
    report = gradcheck.check_parameter_gradients(MISTAKES[mistake], x_of(dtype), GRID)
    assert not report.ok
    assert report.failed["zero_point" if "zero_point" in mistake else "scale"] == 1


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_dy_that_is_not_finite_is_refused(bad):
    dy = np.ones(PLACES.size)
    dy[3] = bad
    with pytest.raises(ValueError, match=f"dy must be finite in float32, got {bad} at index 3"):
        gradcheck.check_parameter_gradients(MISTAKES["nothing"], x_of(), GRID, dy=dy)
    with pytest.raises(ValueError, match="dy must be finite in float16, got 1"):
        gradcheck.check_parameter_gradients(MISTAKES["nothing"], x_of(np.float16), GRID, dy=1e5)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 0.0, np.ones(2)])
def test_a_factor_with_which_nothing_differs_is_refused(bad):
    with pytest.raises(ValueError, match="factor must be a finite number other than 0, got"):
        gradcheck.check_parameter_gradients(MISTAKES["nothing"], x_of(), GRID, factor=bad)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ((np.nan, 1, -8, 7), "scale must be finite, got nan"),
        ((np.inf, 1, -8, 7), "scale must be finite, got inf"),
        ((0.0, 1, -8, 7), "scale must be positive and finite in float32, got 0.0"),
        ((1e-60, 1, -8, 7), "scale must be positive and finite in float32, got 0.0"),
        (([-1.0], 1, -8, 7), "got -1.0 at index 0"),
        ((0.125, np.nan, -8, 7), "zero_point must be finite, got nan"),
        ((0.125, 1, 8, 7), "qmin must not exceed qmax, got 8"),
        ((np.ones(3), 1, -8, 7), r"scale must broadcast into x of shape \(50,\), got shape \(3,\)"),
    ],
)
def test_a_grid_with_which_nothing_can_be_judged_is_refused(grid, message):
    with pytest.raises(ValueError, match=message):
        gradcheck.check_parameter_gradients(MISTAKES["nothing"], x_of(), grid)
    with pytest.raises(ValueError, match=message):
        gradcheck.check_input_gradient(fq.fake_quantize, no_mask, x_of(), grid)


def test_a_dy_of_zeros_and_an_x_of_nan_check_nothing():
    nothing = [
        gradcheck.check_parameter_gradients(MISTAKES["nothing"], x_of(), GRID, dy=0),
        gradcheck.check_parameter_gradients(MISTAKES["nothing"], np.full(3, np.nan), GRID),
        gradcheck.check_parameter_gradients(MISTAKES["nothing"], np.ones(0), GRID),
    ]
    for report in nothing:
        assert not report.ok
        assert "nothing could be checked" in str(report)


def test_a_tolerance_beyond_float64_passes_nothing():
    report = gradcheck.check_parameter_gradients(MISTAKES["nothing"], np.array([1e300]), (1e-30, 0, -8, 7), dy=1e300)
    assert not report.ok


NO_GRADIENTS = {
    "None": (lambda dy: None, "got None"),
    "NaN": (lambda dy: dy * np.float32(np.nan), "found nan"),
    "one NaN": (lambda dy: np.where(np.arange(dy.size) == 20, np.nan, dy).astype(dy.dtype), "found nan"),
    "infinity": (lambda dy: dy * np.float32(np.inf), "inf"),
    "integers": (lambda dy: dy.astype(int), "must be of a floating type, got an array of int64"),
    "bools": (lambda dy: dy > 0, "must be of a floating type, got an array of bool"),
    "complex": (lambda dy: dy + 1j, "must be of a floating type, got an array of complex"),
    "strings": (lambda dy: dy.astype(str), "must be of a floating type, got an array of <U"),
    "objects": (lambda dy: dy.astype(object), "must be of a floating type, got an array of object"),
    "too few": (lambda dy: dy[1:], "must have the shape"),
    "one number": (lambda dy: 1.0, "must have the shape"),
    "a list": (lambda dy: dy.tolist(), "must have the shape"),
    "nothing": (lambda dy: (), "got a tuple of 0"),
    "half precision": (lambda dy: dy.astype(np.float16), "must be as precise as x, of float32, got float16"),
    "a dict": (lambda dy: {"dx": dy}, "must be of a floating type, got an array of object"),
    "an error": (lambda dy: 1 / 0, "raised ZeroDivisionError: division by zero"),
}


@pytest.mark.parametrize("kind", NO_GRADIENTS)
def test_what_is_no_gradient_of_x_fails_the_check_and_says_why(kind):
    wrong, message = NO_GRADIENTS[kind]
    report = gradcheck.check_input_gradient(fq.fake_quantize, lambda dy, *_: wrong(dy), x_of(), GRID)
    assert not report.ok
    with pytest.raises(gradcheck.GradientMismatch, match=r"MISMATCH") as raised:
        report.raise_if_failed()
    assert message in str(raised.value)


NO_GRADIENTS_OF_A_PARAMETER = {
    "None": (None, "must be of a floating type, got None"),
    "NaN": (np.nan, "found nan"),
    "infinity": (-np.inf, "found -inf"),
    "an integer": (3, "must be of a floating type, got an array of int64"),
    "complex": (1j, "must be of a floating type, got an array of complex"),
    "a string": ("1", "must be of a floating type, got an array of <U"),
    "an array": (np.ones(1), r"must have the shape (), got (1,)"),
    "a list": ([1.0], "must be of a floating type, got a tuple of 1"),
}


@pytest.mark.parametrize("kind", NO_GRADIENTS_OF_A_PARAMETER)
@pytest.mark.parametrize("place", [1, 2])
def test_what_is_no_gradient_of_a_parameter_fails_the_check_and_says_why(kind, place):
    wrong, message = NO_GRADIENTS_OF_A_PARAMETER[kind]

    def backward(*args):
        given = list(fq.backward_learnable(*args))
        given[place] = wrong
        return given

    report = gradcheck.check_parameter_gradients(backward, x_of(), GRID)
    assert not report.ok
    assert message in str(report)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, r"must give \(dx, dscale, dzero_point\), got None"),
        (np.ones(3), r"got an array of float64, shape \(3,\)"),
        ((1.0, 2.0), "got a tuple of 2"),
        ([], "got a tuple of 0"),
    ],
)
def test_parameter_gradients_are_three(given, message):
    with pytest.raises(gradcheck.GradientMismatch, match=message):
        gradcheck.check_parameter_gradients(lambda *_: given, x_of(), GRID).raise_if_failed()


@pytest.mark.parametrize("kind", [kind for kind in NO_GRADIENTS if kind not in ("NaN", "one NaN", "infinity")])
def test_a_forward_that_gives_no_y_fails_the_check_and_says_why(kind):
    wrong, message = NO_GRADIENTS[kind]
    report = gradcheck.check_input_gradient(lambda x, *_: wrong(x), fq.backward_recompute, x_of(), GRID)
    assert not report.ok
    assert message in str(report)


def test_a_forward_of_nan_passes_nothing():
    report = gradcheck.check_input_gradient(lambda x, *_: x * np.nan, no_mask, x_of(np.float64), GRID)
    assert report.failed["inside"] == report.checked["inside"] > 0


def test_what_a_candidate_raised_is_the_cause():
    with pytest.raises(gradcheck.GradientMismatch) as raised:
        gradcheck.check_input_gradient(fq.fake_quantize, lambda *_: [][1], x_of(), GRID).raise_if_failed()
    assert isinstance(raised.value.__cause__, IndexError)


def test_a_candidate_cannot_change_what_it_is_checked_with():
    def overwrites(dy, x, *_):
        dy[:], x[:] = 0, 0
        return dy

    x = x_of()
    report = gradcheck.check_input_gradient(fq.fake_quantize, overwrites, x, GRID)
    assert report.failed["inside"] == report.checked["inside"]
    np.testing.assert_array_equal(x, x_of())


def test_unsigned_parameters_do_not_wrap():
    grid = np.float32(0.125), np.uint8(128), np.uint8(0), np.uint8(255)
    x = (np.linspace(-150, 150, 61) * 0.125).astype(np.float32)
    assert gradcheck.check_parameter_gradients(fq.backward_learnable, x, grid).raise_if_failed().ok
    assert gradcheck.check_input_gradient(fq.forward, fq.backward_recompute, x, grid).raise_if_failed().ok


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: gradcheck.check_input_gradient(fq.forward, fq.backward_recompute, x, 0.25, 0, -8, 7),
            r"check_input_gradient takes the grid as one argument, \(scale, zero_point, qmin, qmax\), so 4 arguments",
        ),
        (
            lambda x: gradcheck.check_parameter_gradients(fq.backward_learnable, x, 0.25, 0, -8, 7),
            r"check_parameter_gradients takes the grid as one argument, \(scale, .*\), so 3 arguments in all, got 6",
        ),
        (
            lambda x: gradcheck.check_input_gradient(fq.forward, fq.backward_recompute, x, 0.25),
            r"qparams must be one sequence, \(scale, zero_point, qmin, qmax\), got 0.25",
        ),
        (
            lambda x: gradcheck.check_input_gradient(fq.forward, fq.backward, x, GRID),
            r"calls backward\(dy, x, scale, .*but backward takes .*lambda dy, x, \*qparams: backward\(dy, forward\(x",
        ),
        (
            lambda x: gradcheck.check_input_gradient(fq.forward_packed, fq.backward_packed, x, GRID),
            "but backward_packed takes",
        ),
        (
            lambda x: gradcheck.check_input_gradient(fq.backward_recompute, fq.backward_recompute, x, GRID),
            r"calls forward\(x, scale, zero_point, qmin, qmax\), but backward_recompute takes",
        ),
        (lambda x: gradcheck.check_parameter_gradients(lambda dy, x: dy, x, GRID), "but <lambda> takes"),
        (lambda x: gradcheck.check_parameter_gradients(x, x, GRID), "backward must be a function, got array"),
    ],
)
def test_a_wrong_call_says_how_to_call(call, message):
    with pytest.raises(TypeError, match=message):
        call(x_of())


def test_a_step_or_a_function_that_gives_no_difference_is_refused():
    for step in (0.0, -1.0, np.nan, [1.0, np.inf]):
        with pytest.raises(ValueError, match="step must be positive and finite, got"):
            gradcheck.numerical_gradient(np.sum, np.ones(2), step)
    for given in (None, "1", 1j):
        with pytest.raises(TypeError, match=r"f\(x\) must be real numbers"):
            gradcheck.numerical_gradient(lambda _, given=given: given, np.ones(2), 1.0)


def test_a_missing_scale_factor_is_caught():
    factor = fq.scale_gradient_factor(PLACES.size, 7)
    right = altered(lambda dx, ds, dz, *_: (dx, ds * factor, dz * factor))
    assert gradcheck.check_parameter_gradients(right, x_of(), GRID, factor=factor).ok
    assert not gradcheck.check_parameter_gradients(fq.backward_learnable, x_of(), GRID, factor=factor).ok


def test_parameters_per_channel_and_a_dy_of_ones_own():
    x = np.tile(x_of(np.float64), (3, 1))
    qparams = np.array([[0.125], [0.25], [0.5]]), np.array([[1], [0], [-1]]), -8, 7
    report = gradcheck.check_parameter_gradients(fq.backward_learnable, x, qparams, dy=np.cos(x))
    assert report.raise_if_failed().checked == {"scale": 3, "zero_point": 3}


def test_a_gradient_of_the_wrong_shape_is_a_mismatch():
    wrong = altered(lambda dx, ds, dz, *_: (dx, np.array([ds]), dz))
    with pytest.raises(gradcheck.GradientMismatch, match="shape"):
        gradcheck.check_parameter_gradients(wrong, x_of(), GRID).raise_if_failed()


def test_what_cannot_be_judged_is_counted_and_not_dropped():
    x = np.array([np.nan, np.inf, 0.1875, 0.125], np.float32)
    report = gradcheck.check_input_gradient(fq.fake_quantize, fq.backward_recompute, x, GRID)
    assert report.excluded == {"not finite": 2, "beside a rounding boundary": 1, "one level": 0}
    assert sum(report.checked.values()) == 1
    assert "excluded, not finite: 2" in str(report)
    assert gradcheck.check_parameter_gradients(fq.backward_learnable, x, GRID).excluded["not finite"] == 2


def test_nothing_checked_is_not_a_pass():
    x = np.full(3, np.nan)
    report = gradcheck.check_input_gradient(fq.fake_quantize, fq.backward_recompute, x, GRID)
    assert not report.ok
    assert "nothing could be checked" in str(report)
    one_level = gradcheck.check_input_gradient(fq.fake_quantize, fq.backward_recompute, x_of(), (0.125, 0, 0, 0))
    assert not one_level.ok
    assert one_level.excluded["one level"] > 0
    assert not any(one_level.checked.values())


def test_integer_x_is_refused():
    with pytest.raises(TypeError, match="floating"):
        gradcheck.check_input_gradient(fq.fake_quantize, fq.backward_recompute, np.arange(3), GRID)


def test_numerical_gradient_of_an_array_is_its_jacobian():
    matrix = np.arange(6.0).reshape(2, 3)
    found = gradcheck.numerical_gradient(lambda x: matrix @ x, np.ones(3), 0.25)
    np.testing.assert_allclose(found, matrix)
    assert gradcheck.numerical_gradient(np.sum, np.zeros((2, 0)), 1.0).shape == (2, 0)


def test_functions_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def forward(x, scale, zero_point, qmin, qmax):
        return torch.fake_quantize_per_tensor_affine(torch.as_tensor(x), float(scale), zero_point, qmin, qmax)

    def backward(dy, x, *qparams):
        x = torch.tensor(x, requires_grad=True)
        forward(x, *qparams).backward(torch.as_tensor(dy))
        return x.grad

    assert gradcheck.check_input_gradient(forward, backward, x_of(), GRID).raise_if_failed().ok


@pytest.mark.parametrize("dtype", FLOAT_TYPES, ids=str)
@pytest.mark.parametrize("scale", [np.float32(0.125), np.full((2, 1), 0.125, np.float32)], ids=["tensor", "channel"])
def test_functions_of_tensors_alone(dtype, scale):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    fq_torch = pytest.importorskip("fq.torch")

    def backward(dy, x, *qparams):
        x = x.requires_grad_()  # no array of NumPy has this
        return torch.autograd.grad(fq_torch.fake_quantize(x, *qparams), x, dy)

    x = np.tile(x_of(dtype), (2, 1))
    grid = scale, np.int64(1), -8, 7
    assert gradcheck.check_input_gradient(fq_torch.fake_quantize, backward, x, grid).raise_if_failed().ok
    no_mask = gradcheck.check_input_gradient(fq_torch.fake_quantize, lambda dy, x, *_: dy.clone(), x, grid)
    assert no_mask.failed["outside"] > 0


def test_pytorch_s_own_functions_and_their_gradients():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    quantize = torch.fake_quantize_per_tensor_affine

    def forward(x, *qparams):
        return quantize(x.requires_grad_(), *qparams)  # a result that requires grad

    def backward(dy, x, *qparams):
        x = x.requires_grad_()
        quantize(x, *qparams).backward(dy)
        return x.grad

    for function in (quantize, forward):
        assert gradcheck.check_input_gradient(function, backward, x_of(), GRID).raise_if_failed().ok


def test_learnable_gradients_of_tensors():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    fq_torch = pytest.importorskip("fq.torch")

    def backward(dy, x, scale, zero_point, qmin, qmax, sign=1):
        inputs = x.requires_grad_(), torch.tensor(scale, requires_grad=True), torch.tensor(1.0, requires_grad=True)
        dx, ds, dz = torch.autograd.grad(fq_torch.fake_quantize_learnable(*inputs, qmin, qmax), inputs, dy)
        return dx, ds, sign * dz

    assert gradcheck.check_parameter_gradients(backward, x_of(), GRID).raise_if_failed().ok
    wrong = gradcheck.check_parameter_gradients(lambda *args: backward(*args, -1), x_of(), GRID)
    assert wrong.failed == {"scale": 0, "zero_point": 1}


def test_what_tensors_cannot_do_is_told_and_not_what_arrays_cannot():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    report = gradcheck.check_input_gradient(lambda x, *_: torch.ones(3) @ x, no_mask, x_of(), GRID)
    assert "raised RuntimeError" in report.problem


def test_functions_of_jax_s_arrays_alone():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    fq_jax = pytest.importorskip("fq.jax")

    def backward(dy, x, *qparams):
        dy = dy.at[0].set(dy[0])  # no array of NumPy has this
        return jax.vjp(lambda x: fq_jax.fake_quantize(x, *qparams), x)[1](dy)

    for dtype in FLOAT_TYPES[:-1]:
        report = gradcheck.check_input_gradient(fq_jax.fake_quantize, backward, x_of(dtype), GRID)
        assert report.raise_if_failed().ok
    report = gradcheck.check_input_gradient(fq_jax.fake_quantize, backward, x_of(np.float64), GRID)
    assert not report.ok
    assert "JAX makes float32 of float64: give float32" in report.problem


def test_functions_of_jax():
    jax = pytest.importorskip("jax", reason="JAX is not installed")

    def forward(x, scale, zero_point, qmin, qmax):
        x = jax.numpy.asarray(x)
        y = (jax.numpy.clip(jax.numpy.round(x / scale) + zero_point, qmin, qmax) - zero_point) * scale
        return x + jax.lax.stop_gradient(y - x)

    def backward(dy, x, *qparams):
        return jax.vjp(lambda x: forward(x, *qparams), x)[1](dy)

    report = gradcheck.check_input_gradient(forward, backward, x_of(), GRID)
    assert report.failed["outside"] > 0  # the idiom lets the gradient of clamped elements through


def test_the_command_passes_all_of_fq(capsys):
    assert main(["gradcheck"]) == 0
    told = capsys.readouterr().out
    assert "reciprocal.backward_learnable, parameters" in told
    assert "MISMATCH" not in told


def test_the_command_checks_ones_own(capsys):
    given = ["gradcheck", "--forward", "fq:fake_quantize", "--backward"]
    assert main([*given, "fq:backward_recompute"]) == 0
    capsys.readouterr()
    assert main([*given, f"{__name__}:no_mask"]) == 1
    assert "worst: x at" in capsys.readouterr().out


def no_array(dy, *_):
    return None if dy.dtype == np.float32 else dy / 0


def test_the_command_goes_on_after_a_candidate_that_raises_or_gives_nothing(capsys):
    given = ["gradcheck", "--forward", "fq:fake_quantize", "--backward", f"{__name__}:no_array"]
    assert main(given) == 1
    told = capsys.readouterr().out
    assert told.count("MISMATCH: 0 checked") >= 2
    assert "float32, per channel: MISMATCH: 0 checked\n" in told
    assert "dx must be of a floating type, got None" in told
    assert "float64, per channel: MISMATCH" in told


def test_the_command_checks_functions_of_pytorch(capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    given = ["gradcheck", "--forward", "fq.torch:fake_quantize", "--backward", "fq:backward_recompute"]
    assert main(given) == 0
    assert "MISMATCH" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--forward", "fq:forward"], "needed together"),
        (["--forward", "fq:none", "--backward", "fq:backward"], "fq:none"),
        (["--forward", "no_such:f", "--backward", "fq:backward"], "no_such"),
        (["--forward", "fq", "--backward", "fq:backward"], "pkg.mod:name"),
        (["--forward", "fq:__version__", "--backward", "fq:backward"], "forward must be a function"),
        (["--forward", "fq:forward", "--backward", "fq:backward"], "backward(dy, forward(x, *qparams)[1])"),
        (["--forward", "fq:backward_recompute", "--backward", "fq:backward"], "calls forward(x, scale, zero_point,"),
        (["--type", "int8"], "int8 is not one of"),
    ],
)
def test_the_command_refuses(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["gradcheck", *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_exits_with_its_code():
    command = [sys.executable, "-m", "fq", "gradcheck", "--type", "float32"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
