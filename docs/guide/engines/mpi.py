"""mpi4py: Allreduce of each array of the state. Run by: mpirun -n 3 python mpi.py"""

from data import digest, observed
from mpi4py import MPI

import fq

world = MPI.COMM_WORLD
state = observed(world.rank, world.size).state()
for name, op in {"sum": MPI.SUM, "min": MPI.MIN, "max": MPI.MAX}.items():
    for array in state[name].values():
        world.Allreduce(MPI.IN_PLACE, array, op)
observer = fq.Observer.from_state(state)

print(digest(observer))
