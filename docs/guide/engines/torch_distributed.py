"""torch.distributed: all_reduce of each array of the state, by the operation that the state names."""

import sys

import torch
import torch.distributed as dist
from data import digest, observed

import fq

rank, size, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=size)

state = observed(rank, size).state()
for name, op in {"sum": dist.ReduceOp.SUM, "min": dist.ReduceOp.MIN, "max": dist.ReduceOp.MAX}.items():
    for array in state[name].values():
        # PyTorch sums int64, whose bits are those of uint64; the tensor is over the array's memory.
        dist.all_reduce(torch.from_numpy(array.view("int64") if array.dtype == "uint64" else array), op)
observer = fq.Observer.from_state(state)

print(digest(observer))
dist.destroy_process_group()
