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
        gradcheck.check_parameter_gradients(wrong, x_of(), GRID)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--forward", "fq:forward"], "needed together"),
        (["--forward", "fq:none", "--backward", "fq:backward"], "fq:none"),
        (["--forward", "no_such:f", "--backward", "fq:backward"], "no_such"),
        (["--forward", "fq", "--backward", "fq:backward"], "pkg.mod:name"),
        (["--forward", "fq:__version__", "--backward", "fq:backward"], "not a function"),
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
