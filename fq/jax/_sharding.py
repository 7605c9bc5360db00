"""How a call is split over devices: as x is, in shards whose packed masks are those of the whole."""

import math
from functools import partial

import jax
import numpy as np
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec


def partitioned(function, sums, per_byte=8):
    """The function, which XLA may run on shards of its arrays instead of gathering them.

    Parameters
    ----------
    function : callable
        Of arrays, the first of them x or dy; gives some.
    sums : bool
        Whether its results after the first are sums over the axes along which their shape is 1.
    per_byte : int
        Elements in a byte of what is packed.

    Returns
    -------
    callable
    """

    def split(*arrays):
        return tuple(function(*arrays))

    def shardings(mesh, arrays, spec, x):
        return tuple(NamedSharding(mesh, _spec_of(each.shape, x.shape, spec)) for each in arrays)

    def infer(mesh, arguments, results):
        return shardings(mesh, results, _kept(mesh, arguments, results, per_byte), arguments[0])

    def partition(mesh, arguments, results):
        x, spec = arguments[0], _kept(mesh, arguments, results, per_byte)

        def on_a_shard(*arrays):
            first, *others = function(*arrays)
            if sums:
                others = [_added_up(part, whole, x, spec) for part, whole in zip(others, results[1:], strict=True)]
            return (first, *others)

        return mesh, on_a_shard, shardings(mesh, results, spec, x), shardings(mesh, arguments, spec, x)

    call = custom_partitioning(split)
    call.def_partition(partition, infer_sharding_from_operands=infer, sharding_rule=partial(_rule, per_byte))
    return call


def varying_alike(*arrays):
    """The arrays, inside `jax.shard_map` all varying along the axes of the mesh that one of them varies along."""
    axes = frozenset().union(*map(_varies_along, arrays))
    missing = [tuple(axes - _varies_along(array)) for array in arrays]
    return [
        jax.lax.pcast(array, names, to="varying") if names else array
        for array, names in zip(arrays, missing, strict=True)
    ]


def _varies_along(array):
    kind = jax.typeof(array)
    return kind.vma if hasattr(kind, "vma") else kind.mat.varying  # until JAX 0.9, from 0.10 on


def kind_of_bits(x, per_byte=8):
    """The kind of what is packed of such an x: sharded as x is, where the kind tells and no byte spans two shards."""
    shape, (*others, last) = (*x.shape[:-1], -(-x.shape[-1] // per_byte)), x.sharding.spec
    if last is not None and x.shape[-1] % (per_byte * _shards(x.sharding.mesh, last)) != 0:
        last = None
    sharding = NamedSharding(x.sharding.mesh, PartitionSpec(*others, last))
    return x.update(shape=shape, dtype=np.dtype(np.uint8), sharding=sharding)


def _shards(mesh, entry):
    return math.prod(mesh.shape[name] for name in _names(entry))


def _names(entry):
    return entry if isinstance(entry, tuple) else () if entry is None else (entry,)


def _kept(mesh, arguments, results, per_byte):
    """The sharding of x that the call keeps: shards of equal size, of whole bytes where something is packed."""
    x = arguments[0]
    packs = any(each.dtype == np.uint8 for each in (*arguments, *results))
    spec = tuple(x.sharding.spec) if isinstance(x.sharding, NamedSharding) else ()
    kept = []
    for axis, size in enumerate(x.shape):
        entry = spec[axis] if axis < len(spec) else None
        unit = _shards(mesh, entry) * (per_byte if packs and entry is not None and axis == len(x.shape) - 1 else 1)
        kept.append(entry if size % unit == 0 else None)
    return kept


def _spec_of(shape, of_x, spec):
    """An axis of 1 that is broadcast along x is whole on each device."""
    return PartitionSpec(
        *(None if size == 1 != whole else entry for size, whole, entry in zip(shape, of_x, spec, strict=True))
    )


def _added_up(part, whole, x, spec):
    """The sum over the devices that hold parts of it."""
    names = [
        name
        for size, of_x, entry in zip(whole.shape, x.shape, spec, strict=True)
        if size == 1 != of_x
        for name in _names(entry)
    ]
    return jax.lax.psum(part, tuple(names)) if names else part


def _rule(per_byte, mesh, arguments, results):
    """For the Shardy partitioner, which axes are split alike: `(b e)` is the last one as bytes of some elements.

    The rule is made before it is known along which axes of the mesh the last one is split; a number of bytes that all
    devices could share is one that any of those can.
    """
    arrays = [*arguments, *results]
    is_bits = [str(each.element_type) == "ui8" for each in arrays]
    of_x = arrays[0].shape
    axes, last, extra = [f"a{axis}" for axis in range(len(of_x))], None, {}
    if any(is_bits) and not mesh.empty and of_x[-1] % (per_byte * mesh.size) == 0:
        axes[-1], last, extra = "(b e)", "b", {"e": per_byte}
    elif any(is_bits):
        last, extra = "b", {"need_replication_factors": (axes[-1], "b")}
    texts = []
    for number, (array, bits) in enumerate(zip(arrays, is_bits, strict=True)):
        names = [
            f"one{number}_{axis}" if size == 1 != whole else axes[axis]
            for axis, (size, whole) in enumerate(zip(array.shape, of_x, strict=True))
        ]
        texts.append(" ".join([*names[:-1], last] if bits else names))
    inputs = len(arguments)
    return ", ".join(texts[:inputs]) + " -> " + ", ".join(texts[inputs:]), extra
