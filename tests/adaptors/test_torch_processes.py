"""Two processes, by gloo: losses and scales under DistributedDataParallel and FSDP2 are those of PyTorch's modules."""

import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import torch, torch.distributed as dist
from torch import nn
from torch.ao import quantization
import fq.torch

rank, way, file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", store=dist.FileStore(file, 2), rank=rank, world_size=2)

def quantized(function):
    class Quantized(nn.Linear):
        def forward(self, x):
            return nn.functional.linear(function(x), function(self.weight), self.bias)
    return Quantized

def by_module(library):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).train()
    net.qconfig = library.get_default_qat_qconfig("x86")
    net = quantization.prepare_qat(net)
    return net, nn.parallel.DistributedDataParallel(net)

def by_function(library):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    ours = lambda x: fq.torch.fake_quantize(x, 0.05, 0, -8, 7, reciprocal=True)
    theirs = lambda x: torch.fake_quantize_per_tensor_affine(x, 0.05, 0, -8, 7)
    kind = quantized(ours if library is fq.torch else theirs)
    net = nn.Sequential(kind(8, 8), nn.ReLU(), kind(8, 4))
    mesh = init_device_mesh("cpu", (2,))
    for each in (net[0], net[2], net):
        fully_shard(each, mesh=mesh)
    return net, net

def run(library):
    torch.manual_seed(0)
    net, wrapped = {"DDP": by_module, "FSDP2": by_function}[way](library)
    optimizer, found = torch.optim.SGD(net.parameters(), 0.1), []
    for step in range(4):
        x = torch.randn(6, 8, generator=torch.Generator().manual_seed(10 * step + rank))
        loss = wrapped(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    full = [v.full_tensor() if hasattr(v, "full_tensor") else v for v in net.state_dict().values()]
    return found, full

(found, state), (expected, theirs) = run(fq.torch), run(quantization)
assert found == expected, (found, expected)
assert all(map(torch.equal, state, theirs))
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["DDP", "FSDP2"])
def test_two_processes_train_as_with_pytorchs(way, tmp_path):
    command = [sys.executable, "-c", PROGRAM]
    processes = [
        subprocess.Popen([*command, str(rank), way, str(tmp_path / "store")], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
