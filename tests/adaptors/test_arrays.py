"""fq._arrays: what a function is made of, and what it gives as NumPy's arrays."""

import functools

import numpy as np
import pytest
from helpers import assert_same, bfloat16

import fq
from fq._arrays import framework_of, taking_numpy, to_numpy

GRID = np.float32(0.25), 0, -8, 7
X = np.linspace(-3, 3, 24, dtype=np.float32).reshape(4, 6)


def test_functions_of_pytorch_are_known():
    torch = pytest.importorskip("torch")
    fq_torch = pytest.importorskip("fq.torch")

    class Module(torch.nn.Module):
        def forward(self, x, *_):
            return x

    class Function(torch.autograd.Function):
        pass

    def inner(x, *_):
        return (lambda: torch.round(x))()

    own = [torch.fake_quantize_per_tensor_affine, torch.ops.aten.add.Tensor, torch.Tensor.round, fq_torch.fake_quantize]
    for one in [
        *own,
        Module(),
        Module().forward,
        Function.apply,
        inner,
        functools.partial(inner),
        torch.no_grad()(inner),
    ]:
        assert framework_of(one) == "torch", one


def test_functions_of_jax_are_known():
    jax = pytest.importorskip("jax")
    fq_jax = pytest.importorskip("fq.jax")

    def own(x, *_):
        return jax.numpy.round(x)

    for one in [jax.numpy.round, own, jax.jit(own), jax.custom_vjp(own), functools.partial(own), fq_jax.fake_quantize]:
        assert framework_of(one) == "jax", one


def test_other_functions_are_of_no_framework():
    for one in [fq.forward, fq.reference.forward, fq.backward_learnable, np.round, np.zeros(2).round, len, lambda x: x]:
        assert framework_of(one) is None, one


def test_a_function_of_numpy_is_called_with_the_arrays_themselves():
    seen = []
    taking_numpy(lambda *args: seen.extend(args))(X, *GRID)
    assert seen[0] is X
    assert seen[1] is GRID[0]


def test_what_a_function_of_no_framework_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        taking_numpy(lambda *_: 1 / 0)(X, *GRID)


def test_a_function_that_needs_tensors_and_does_not_say_so_is_given_them():
    torch = pytest.importorskip("torch")

    def needs_tensors(x, *_):
        if type(x).__module__ != "torch":
            raise TypeError("no tensor")
        return x.clone()

    assert framework_of(needs_tensors) is None
    call = taking_numpy(needs_tensors)
    for x in (X, X[::-1, ::2], X.astype(">f4"), X.astype(np.float64)):
        found = call(x, *GRID)
        assert isinstance(found, torch.Tensor)
        assert_same(to_numpy(found), x.astype(x.dtype.newbyteorder("=")))
        found.zero_()
        assert x.any()


def test_results_become_arrays_with_every_bit():
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X.copy())
    imaginary = torch.complex(x, x).conj().imag
    cases = [(x, X), (x.clone().requires_grad_(), X), (x.to_sparse(), X), (imaginary, -X), (x.T, X.T)]
    for tensor, expected in cases:
        assert_same(to_numpy(tensor), expected)
    assert to_numpy([x, None])[1] is None
    if bfloat16 is not None:
        assert_same(to_numpy(x.T.bfloat16()), X.T.astype(bfloat16))
