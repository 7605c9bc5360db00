"""JAX: psum, pmin and pmax of the states of all devices, inside shard_map."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax
import numpy as np
from data import digest, observed
from jax.sharding import Mesh, PartitionSpec

import fq

jax.config.update("jax_enable_x64", True)  # the sums are integers of 64 bits
states = [observed(place, 4).state() for place in range(4)]
parts = {
    op: {name: np.stack([one[op][name] for one in states]) for name in states[0][op]} for op in ("sum", "min", "max")
}


def merged(part):
    reduce = {"sum": jax.lax.psum, "min": jax.lax.pmin, "max": jax.lax.pmax}
    return {op: {name: reduce[op](array, "data") for name, array in part[op].items()} for op in part}


mesh = Mesh(np.array(jax.devices()), ("data",))
one_each, for_all = PartitionSpec("data"), PartitionSpec()
both = jax.jit(jax.shard_map(merged, mesh=mesh, in_specs=one_each, out_specs=for_all))(parts)
arrays = jax.tree.map(lambda array: np.asarray(array)[0], both)
observer = fq.Observer.from_state(states[0] | arrays)

print(digest(observer))
