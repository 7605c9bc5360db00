"""What test_jax.py runs in processes of their own: calls on arrays sharded over four devices, of one process or two."""

import re
import sys
import warnings

import jax
import numpy as np
from helpers import assert_same, gradients, hard_values
from jax import numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

import fq
import fq.jax

GRID = 3, -8, 7
SHAPE = 8, 64
GATHERING = "all-gather|all-to-all|collective-permute"
SCALES = {
    "one": np.float32(0.25),
    "rows": np.linspace(0.1, 0.3, SHAPE[0], dtype=np.float32)[:, None],
    "columns": np.linspace(0.1, 0.3, SHAPE[1], dtype=np.float32),
}


def inputs(shape=SHAPE):
    rng = np.random.default_rng(3)
    x = hard_values(np.dtype(np.float32), (0.25, *GRID), rng, int(np.prod(shape)))
    return x.reshape(shape), gradients(np.float32, rng, x.size).reshape(shape)


def sharded(array, mesh, *spec):
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, PartitionSpec(*spec)), array.__getitem__)


def forward_and_backward(x, dy, scale):
    y, vjp = jax.vjp(lambda x: fq.jax.fake_quantize(x, scale, *GRID), x)
    return y, jax.tree.leaves(vjp)[0], vjp(dy)[0]


def expected(x, dy, scale):
    y, bits = fq.forward_packed(x, scale, *GRID)
    return y, bits, fq.backward_packed(dy, bits)


def assert_shards_are_of(found, whole):
    for array, values in zip(found, whole, strict=True):
        for shard in array.addressable_shards:
            assert_same(np.asarray(shard.data), np.ascontiguousarray(values[shard.index]))


def collectives(function, *arguments):
    return set(re.findall(GATHERING + "|all-reduce", jax.jit(function).lower(*arguments).compile().as_text()))


def check_every_sharding(mesh):
    values, gradient = inputs()
    for spec in [("d",), (None, "d")]:
        for scale in SCALES.values():
            x, dy = sharded(values, mesh, *spec), sharded(gradient, mesh, *spec)
            found = jax.jit(forward_and_backward)(x, dy, scale)
            assert_shards_are_of(found, expected(values, gradient, scale))
            assert len(found[1].addressable_shards[0].data) == SHAPE[0] // (4 if spec[0] else 1)
            assert not collectives(forward_and_backward, x, dy, scale), "x is gathered"
            assert_shards_are_of([fq.jax.fake_quantize(x, scale, *GRID)], [fq.fake_quantize(values, scale, *GRID)])


def check_bytes_that_shards_share(mesh):
    """The last axis is whole for a shard whose mask would end within a byte; the values are the same."""
    for shape, spec in [((8, 20), (None, "d")), ((4, 3, 16), (None, None, "d")), ((8, 7), ("d",)), ((16,), ("d",))]:
        values, gradient = inputs(shape)
        x, dy = sharded(values, mesh, *spec), sharded(gradient, mesh, *spec)
        assert_shards_are_of(jax.jit(forward_and_backward)(x, dy, 0.25), expected(values, gradient, 0.25))


def check_shard_map(mesh):
    values, gradient = inputs()
    x, dy = sharded(values, mesh, "d"), sharded(gradient, mesh, "d")
    specs = PartitionSpec("d"), PartitionSpec("d"), PartitionSpec()
    for check_vma in (True, False):
        mapped = jax.shard_map(
            forward_and_backward, mesh=mesh, in_specs=specs, out_specs=PartitionSpec("d"), check_vma=check_vma
        )
        found = jax.jit(mapped)(x, dy, jnp.float32(0.25))
        assert_shards_are_of(found, expected(values, gradient, np.float32(0.25)))
        assert not collectives(mapped, x, dy, jnp.float32(0.25))


def check_learnable(mesh):
    """The sums are those of the whole x, in the sharded function and over the axes of `jax.shard_map`."""
    values, gradient = inputs()
    gradient = np.where(np.isfinite(gradient), gradient, 1).astype(np.float32)
    values = np.where(np.isfinite(values), values, 1).astype(np.float32)
    x, dy = sharded(values, mesh, "d"), sharded(gradient, mesh, "d")
    scale = jnp.float32(0.25)

    def both(x, dy, scale):
        zero_point = jnp.float32(3)
        return jax.vjp(lambda *a: fq.jax.fake_quantize_learnable(*a, -8, 7), x, scale, zero_point)[1](dy)

    whole = fq.backward_learnable(gradient, values, np.float32(0.25), *GRID)
    mapped = jax.shard_map(
        both,
        mesh=mesh,
        in_specs=(PartitionSpec("d"), PartitionSpec("d"), PartitionSpec()),
        out_specs=(PartitionSpec("d"), PartitionSpec(), PartitionSpec()),
    )
    for function in (both, lambda *arguments: both(*arguments)[:2], mapped):
        found = jax.jit(function)(x, dy, scale)
        assert_shards_are_of(found[:1], whole[:1])
        assert collectives(function, x, dy, scale) == {"all-reduce"}
        for one, other in zip(found[1:], whole[1:], strict=False):
            np.testing.assert_allclose(one, other, rtol=1e-5)


def check_sums_over_shards(mesh):
    """The splitting of a function that sums, on one written in JAX."""
    from fq.jax import _sharding

    def function(x, scale):
        return x * scale, (x * scale).sum(axis=tuple(a for a in (0, 1) if scale.shape[a] == 1), keepdims=True)

    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    split = jax.jit(_sharding.partitioned(function, sums=True))
    for spec in [("d",), (None, "d")]:
        for shape in [(1, 1), (SHAPE[0], 1), (1, SHAPE[1])]:
            x, scale = sharded(values, mesh, *spec), np.full(shape, 2, np.float32)
            whole = function(values, scale)
            found = split(x, scale)
            assert_shards_are_of(found[:1], whole[:1])
            np.testing.assert_array_equal(found[1], whole[1])
            assert not collectives(split, x, scale) - {"all-reduce"}


def one_process():
    assert len(jax.devices()) == 4
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
        check_every_sharding(mesh)
        check_bytes_that_shards_share(mesh)
        check_shard_map(mesh)
        check_learnable(mesh)
    check_sums_over_shards(jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,)))
    warnings.simplefilter("ignore")  # JAX's older partitioner is to go
    jax.config.update("jax_use_shardy_partitioner", False)
    check_every_sharding(jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,)))


def two_processes(port, rank):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(rank))
    assert len(jax.devices()) == 4
    assert len(jax.local_devices()) == 2
    mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    check_every_sharding(mesh)
    check_shard_map(mesh)


if __name__ == "__main__":
    {"one": one_process, "two": two_processes}[sys.argv[1]](*sys.argv[2:])
    print("the shards are right")
