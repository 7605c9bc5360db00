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

RANGES = [
    {},
    {"axis": 0, "symmetric": True},
    {"axis": 1},
    {"group": 16},
    {"method": "percentile", "p": 90, "axis": 0},
    {"method": "mse"},
]
PARAMETERS = (0, np.float32), (1, np.int32)


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
            assert_same(np.asarray(shard.data), np.array(values[shard.index], order="C"))


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


def check_shard_map_over_some_axes():
    """x is split along one axis of the mesh by hand, and along the other by XLA, or not at all."""
    mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    values, gradient = inputs()
    for via in (None, "xla"):

        def one(x, dy, via=via):
            y, vjp = jax.vjp(lambda x: fq.jax.fake_quantize(x, 0.25, *GRID, via=via), x)
            return y, vjp(dy)[0]

        both = PartitionSpec("a"), PartitionSpec("a")
        mapped = jax.jit(jax.shard_map(one, mesh=mesh, in_specs=both, out_specs=both, axis_names={"a"}))
        for spec in [("a",), ("a", "b")]:
            x, dy = sharded(values, mesh, *spec), sharded(gradient, mesh, *spec)
            y, _, dx = expected(values, gradient, 0.25)
            assert_shards_are_of(mapped(x, dy), (y, dx))


def check_explicit_shardings_stay(mesh):
    """In the type of y, of its tangent and of the gradient."""
    values, _ = inputs()
    for via in (None, "xla"):
        for spec in [("d",), (None, "d")]:
            x = sharded(values, mesh, *spec)
            run = lambda x, via=via: fq.jax.fake_quantize(x, 0.25, *GRID, via=via)  # noqa: E731
            y, dy = jax.jvp(run, (x,), (x,))
            dx = jax.grad(lambda x, run=run: run(x).sum())(x)
            found = {jax.typeof(each).sharding.spec for each in (y, dy, dx, jax.jit(run)(x))}
            assert found == {jax.typeof(x).sharding.spec}
            assert_shards_are_of([y], [fq.fake_quantize(values, 0.25, *GRID)])


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


def check_ranges(mesh):
    """In a sharded function a range is that of the whole x."""
    values = np.random.default_rng(6).standard_t(3, SHAPE).astype(np.float32)
    for spec in [("d",), (None, "d")]:
        x = sharded(values, mesh, *spec)
        for how in RANGES:
            run = jax.jit(lambda x, how=how: fq.jax.calibrate(x, 4, **how)[:2])
            for found, whole in zip(run(x), run(values), strict=True):
                for shard in found.addressable_shards:
                    np.testing.assert_allclose(shard.data, whole[shard.index], rtol=1e-6 if "method" in how else 0)


def check_ranges_in_shard_map(mesh):
    """There a range is that of the shard, or of the whole x by the minimum and maximum over the axes."""
    values = np.random.default_rng(7).standard_t(3, SHAPE).astype(np.float32)
    x, split = sharded(values, mesh, "d"), PartitionSpec("d")

    def one(x):
        ends = jax.lax.pmin(x.min(), "d"), jax.lax.pmax(x.max(), "d")
        own = fq.jax.calibrate(x, 4)
        return [one[None] for one in own[:2]], fq.jax.choose_qparams(*ends, 4)[:2]

    mapped = jax.shard_map(one, mesh=mesh, in_specs=split, out_specs=(split, PartitionSpec()))
    own, common = jax.jit(mapped)(x)
    of_shards = [fq.calibrate(part, 4) for part in np.split(values, 4)]
    assert_shards_are_of(own, [np.stack([np.asarray(one[k], kind) for one in of_shards]) for k, kind in PARAMETERS])
    whole = fq.calibrate(values, 4)
    assert_shards_are_of(common, [np.asarray(whole[k], kind) for k, kind in PARAMETERS])


def check_integers(mesh):
    """They stay where x is, in a sharded function and in `jax.shard_map`."""
    values, _ = inputs()
    q = fq.quantize(values, 0.25, *GRID, dtype=np.int8)
    expected = q, fq.dequantize(q, 0.25, GRID[0])

    def both(x, scale):
        q = fq.jax.quantize(x, scale, *GRID, dtype=np.int8)
        return q, fq.jax.dequantize(q, scale, GRID[0])

    for spec in [("d",), (None, "d")]:
        split = PartitionSpec(*spec)
        mapped = jax.shard_map(both, mesh=mesh, in_specs=(split, PartitionSpec()), out_specs=split)
        arguments = sharded(values, mesh, *spec), jnp.float32(0.25)
        for function in (both, mapped):
            found = jax.jit(function)(*arguments)
            assert_shards_are_of(found, expected)
            assert all(one.sharding.is_equivalent_to(arguments[0].sharding, 2) for one in found)
            assert not collectives(function, *arguments)


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
    explicit = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(explicit):
        check_explicit_shardings_stay(explicit)
    check_shard_map_over_some_axes()
    check_sums_over_shards(jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,)))
    warnings.simplefilter("ignore")  # JAX's older partitioner is to go
    jax.config.update("jax_use_shardy_partitioner", False)
    check_every_sharding(jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,)))


def ranges():
    """In one process too, of ranges and integers."""
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
        check_ranges(mesh)
        check_ranges_in_shard_map(mesh)
        check_integers(mesh)


def two_processes(port, rank):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(rank))
    assert len(jax.devices()) == 4
    assert len(jax.local_devices()) == 2
    mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    check_every_sharding(mesh)
    check_shard_map(mesh)
    check_learnable(mesh)
    check_ranges(mesh)
    check_ranges_in_shard_map(mesh)
    check_integers(mesh)


if __name__ == "__main__":
    {"one": one_process, "ranges": ranges, "two": two_processes}[sys.argv[1]](*sys.argv[2:])
    print("the shards are right")
