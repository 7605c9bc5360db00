"""fq's functions as primitives of JAX, each run by C through XLA, in XLA's own operations, or by a callback."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import batching, mlir

import fq
from fq import _core
from fq.formats import FloatGrid
from fq.jax import _floats, _formula, _sharding

WAYS = None, "c", "xla", "callback"
NEEDS = "an fq that was built beside this jaxlib: install jax first, then fq from its source"


@dataclass(frozen=True)
class Function:
    """One function of fq: kinds of its results from those of its arguments, and the function by NumPy and by XLA."""

    kinds: Callable
    numpy: Callable
    xla: Callable
    operands: int  # what it computes with; a learned zero point may follow, which has derivatives alone
    whole: int  # how many of its arguments, the first ones, do not broadcast over a batch
    sums: bool = False  # whether its results after the first are sums to the shapes of scale and zero_point
    per_byte: int = 8  # elements in a byte of what it packs


def _module(reciprocal):
    return fq.reciprocal if reciprocal else fq


def _fake_quantize(reciprocal, *arguments):
    return (_module(reciprocal).fake_quantize(*arguments),)


def _backward_packed(_, dy, bits):
    return (fq.backward_packed(dy, bits),)


def _by_name(name, reciprocal, *arrays):
    """NumPy's function of this name."""
    return getattr(_module(reciprocal), name)(*arrays)


def _of_rows(name, reciprocal, *arrays):
    """The same of one that packs the last axis: qmin and qmax, the last two, have one value a row."""
    return _by_name(name, reciprocal, *arrays[:-2], *(end[..., 0] for end in arrays[-2:]))


def _on_floats(name, grid, x, scale):
    """NumPy's function of fq.floats for a format, which comes in the place of the arithmetic."""
    found = getattr(fq.floats, name)(x, scale, *grid)
    return found if isinstance(found, tuple) else (found,)


def _kinds_packed(x, *_):
    return x, _sharding.kind_of_bits(x)


def _kinds_codes(x, *_):
    return x, x.update(dtype=np.dtype(np.int8))


def _kinds_packed_codes(x, *_):
    return x, _sharding.kind_of_bits(x, 2)


def _kinds_tangent(dx, *_):
    return (dx,)


def _kinds_learnable(dy, x, scale, zero_point, *_):
    return dy, scale, zero_point.update(dtype=scale.dtype)


FUNCTIONS = MappingProxyType(
    {
        "fake_quantize": Function(lambda x, *_: (x,), _fake_quantize, _formula.fake_quantize, 5, 1),
        "forward_packed": Function(_kinds_packed, partial(_of_rows, "forward_packed"), _formula.forward_packed, 5, 1),
        "backward_packed": Function(lambda dy, bits: (dy,), _backward_packed, _formula.backward_packed, 2, 2),
        "backward_learnable": Function(
            _kinds_learnable, partial(_by_name, "backward_learnable"), _formula.backward_learnable, 6, 7, sums=True
        ),
        "forward_residual": Function(
            _kinds_codes,
            partial(_by_name, "forward_residual"),
            partial(_formula.forward_residual, 8),
            5,
            1,
        ),
        "backward_residual": Function(
            _kinds_learnable,
            partial(_by_name, "backward_residual"),
            partial(_formula.backward_residual, 8),
            6,
            6,
            sums=True,
        ),
        "forward_residual_packed": Function(
            _kinds_packed_codes,
            partial(_of_rows, "forward_residual_packed"),
            partial(_formula.forward_residual, 4),
            5,
            1,
            per_byte=2,
        ),
        "backward_residual_packed": Function(
            _kinds_learnable,
            partial(_of_rows, "backward_residual_packed"),
            partial(_formula.backward_residual, 4),
            6,
            6,
            sums=True,
            per_byte=2,
        ),
        "floats_fake_quantize": Function(
            lambda x, *_: (x,), partial(_on_floats, "fake_quantize"), _floats.fake_quantize, 2, 1
        ),
        "floats_forward_packed": Function(
            _kinds_packed, partial(_on_floats, "forward_packed"), _floats.forward_packed, 2, 1
        ),
        "learnable_tangent": Function(_kinds_tangent, None, _formula.learnable_tangent, 8, 9),
    }
)


@cache
def handlers():
    """The targets that XLA calls itself on the CPU: registered once; none where jaxlib refuses those of this build."""
    found = _core.xla_handlers()
    try:
        for name, capsule in found.items():
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except Exception:  # of a jaxlib that is older than the header
        return frozenset()
    return frozenset(found)


def check_way(via, reciprocal):
    """ValueError for an unknown way, and for "c" where this build has none."""
    if via not in WAYS:
        raise ValueError(f'via must be None, "c", "xla" or "callback", got {via!r}')
    if via == "c" and _target("fake_quantize", reciprocal) not in handlers():
        raise ValueError(f'via="c" needs {NEEDS}')


def bind(name, via, reciprocal, *arrays):
    """The results of the function, as a list: a primitive, which JAX transforms by the rules of `fq.jax._rules`.

    It carries what it is made of, for JAX to find the partitioning in it.
    """
    arrays = _sharding.varying_alike(*arrays)
    shapes = tuple((array.shape, array.dtype) for array in arrays)
    body = _body(name, via, reciprocal, shapes, jax.config.jax_enable_x64, jax.config.jax_use_shardy_partitioner)
    return PRIMITIVES[name].bind(*arrays, via=via, reciprocal=reciprocal, body=body)


def _primitive(name):
    made = Primitive(f"fq_{name}")
    made.multiple_results = True
    made.def_impl(partial(_at_once, name))
    made.def_abstract_eval(lambda *kinds, **_: [kind.update(weak_type=False) for kind in FUNCTIONS[name].kinds(*kinds)])
    batching.primitive_batchers[made] = partial(_batched, name)
    mlir.register_lowering(made, _lowered)
    return made


def _at_once(name, *arrays, **how):
    with jax.disable_jit(False):  # or the compiled function would be this one again
        return _compiled(name)(*arrays, **how)


@cache
def _compiled(name):
    return jax.jit(PRIMITIVES[name].bind, static_argnames=("via", "reciprocal", "body"))


@lru_cache(maxsize=4096)
def _body(name, via, reciprocal, shapes, *_config):
    """The function on arrays of one device, without shardings: XLA splits it, by the rules of `_sharding`."""
    arrays = [jax.ShapeDtypeStruct(*each) for each in shapes]
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), ())):
        way = _way(name, via, reciprocal)
        return jax.make_jaxpr(lambda *arrays: way(*arrays[: FUNCTIONS[name].operands]))(*arrays)


def _lowered(context, *arrays, body, **_):
    plain = context.replace(avals_in=body.in_avals, avals_out=body.out_avals)
    return mlir.lower_fun(jaxpr_as_fun(body))(plain, *arrays)


def _batched(name, arrays, axes, via, reciprocal, **_):
    """Arrays that lack it get an axis of the batch's size, or of 1 where they broadcast."""
    size = next(array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None)
    arrays = [
        jnp.broadcast_to(array, (size if position < FUNCTIONS[name].whole else 1, *array.shape))
        if axis is None
        else jnp.moveaxis(array, axis, 0)
        for position, (array, axis) in enumerate(zip(arrays, axes, strict=True))
    ]
    results = bind(name, via, reciprocal, *arrays)
    return results, [0] * len(results)


def _target(name, reciprocal):
    return f"fq_reciprocal_{name}" if reciprocal is True else f"fq_{name}"


def _way(name, via, reciprocal):
    """The function of arrays that gives a tuple. A callback cannot be split: XLA gathers a sharded x for it."""
    function, target = FUNCTIONS[name], _target(name, reciprocal)
    by_xla = partial(function.xla, reciprocal)
    if via == "callback" and function.numpy is not None:
        return partial(_by_callback, name, reciprocal)
    if via == "xla" or target not in handlers():
        _warn_of_no_handlers(via)
        return by_xla
    by_c = _sharding.partitioned(partial(_by_c, target, function, reciprocal), function.sums, function.per_byte)
    if via == "c":
        return partial(jax.lax.platform_dependent, cpu=by_c)
    return partial(jax.lax.platform_dependent, cpu=by_c, default=by_xla)


def _warn_of_no_handlers(via):
    if via is None and not handlers() and jax.default_backend() == "cpu":
        warnings.warn(f"fq.jax runs in XLA's own operations, which are slower: its C needs {NEEDS}", stacklevel=2)


def _kinds(function, arrays):
    kinds = function.kinds(*(jax.core.ShapedArray(array.shape, array.dtype) for array in arrays))
    return [jax.ShapeDtypeStruct(kind.shape, kind.dtype) for kind in kinds]


def _by_c(target, function, how, *arrays):
    grid = _floats.operands(how, *arrays) if isinstance(how, FloatGrid) else ()
    return tuple(jax.ffi.ffi_call(target, _kinds(function, arrays))(*arrays, *grid))


def _by_callback(name, reciprocal, *arrays):
    function = FUNCTIONS[name]
    return tuple(jax.pure_callback(partial(_in_numpy, function.numpy, reciprocal), _kinds(function, arrays), *arrays))


def _in_numpy(function, reciprocal, *arrays):
    """Without operations of JAX, which may wait for the callback that they are in."""
    return tuple(map(np.asarray, function(reciprocal, *map(np.asarray, arrays))))


PRIMITIVES = MappingProxyType({name: _primitive(name) for name in FUNCTIONS})
