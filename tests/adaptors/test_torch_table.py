"""Every transform of PyTorch, over fq's fake quantization and PyTorch's own: the guide's table is what comes out.

A case runs a transform over a function, or over a module, and gives tensors. Its outcome is "yes" where they are those
that plain autograd gives, "no" where PyTorch or fq refuses. Another result fails the test.
"""

import copy
import functools
import io
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import torch.autograd.forward_ad as forward_ad  # noqa: E402
from torch import nn  # noqa: E402
from torch.ao import quantization as theirs  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import fq.torch  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = Path(__file__).parents[2] / "docs/guide/pytorch-transforms.md"
X = torch.linspace(-3, 3, 24).reshape(4, 6)
SCALES = torch.tensor([0.125, 0.25, 0.5, 1.0])
GRID = 0, -8, 7


def our_function(x, scale=0.25):
    return fq.torch.fake_quantize(x, scale, *GRID, reciprocal=True)


def their_function(x, scale=0.25):
    zero_point = torch.zeros((), dtype=torch.int32) if isinstance(scale, torch.Tensor) else 0
    return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, *GRID[1:])


def formula(x, scale=0.25):
    """The formula whose gradient plain autograd finds."""
    level = torch.round(x.detach() * (1 / scale))
    through = torch.where((level >= -8) & (level <= 7), x, torch.zeros_like(x))
    return (level.clamp(-8, 7) * scale + 0.0).detach() + (through - through.detach())


def module_of(library, channels):
    settings = {"quant_min": -8, "quant_max": 7, "dtype": torch.qint8}
    if channels:
        settings["observer"] = theirs.MovingAveragePerChannelMinMaxObserver
        settings["qscheme"] = torch.per_channel_symmetric
    return library.FusedMovingAvgObsFakeQuantize(**settings)


class Net(nn.Module):
    """Quantized activations per tensor, and weights per channel, by modules that have seen nothing."""

    def __init__(self, library):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.quantize, self.weights = module_of(library, False), module_of(library, True)

    def forward(self, x):
        return self.last(nn.functional.linear(self.quantize(x), self.weights(self.linear.weight), self.linear.bias))


def trained(net, call=None, steps=3):
    """The outputs of some steps, and the gradients of the last one."""
    found, call = [], net if call is None else call
    for step in range(steps):
        net.zero_grad()
        y = call(X * (1 + step))
        y.square().sum().backward()
        found.append(y.detach().clone())
    return *found, *(p.grad.clone() for p in net.parameters())


def warm(net):
    for step in range(3):
        net(X * (1 + step))
    return net


OURS = SimpleNamespace(name="fq", function=our_function, modules=fq.torch)
THEIRS = SimpleNamespace(name="PyTorch", function=their_function, modules=theirs)
EAGER = SimpleNamespace(name="eager", function=formula, modules=theirs)
CASES, SLOW = {}, set()


def case(name, slow=False):
    def add(function):
        CASES[name] = function
        SLOW.update([name] if slow else [])
        return function

    return add


def square(function):
    return lambda x: function(x).square().sum()


@case("torch.func.grad")
def _(library):
    return torch.func.grad(square(library.function))(X)


@case("torch.func.vjp")
def _(library):
    return torch.func.vjp(library.function, X)[1](X)


@case("torch.func.jvp")
def _(library):
    return torch.func.jvp(library.function, (X,), (X + 1,))


@case("forward_ad.make_dual")
def _(library):
    with forward_ad.dual_level():
        return tuple(forward_ad.unpack_dual(library.function(forward_ad.make_dual(X, X + 1))))


@case("torch.func.jacfwd")
def _(library):
    return torch.func.jacfwd(library.function)(X[1])


@case("torch.func.jacrev")
def _(library):
    return torch.func.jacrev(library.function)(X[1])


@case("torch.func.hessian")
def _(library):
    return torch.func.hessian(square(library.function))(X[1])


@case("torch.func.vmap of x")
def _(library):
    return torch.func.vmap(library.function)(X)


@case("torch.func.vmap of scale")
def _(library):
    return torch.func.vmap(library.function, (None, 0))(X, SCALES)


@case("torch.func.vmap of x and scale")
def _(library):
    return torch.func.vmap(library.function)(X, SCALES)


@case("vmap(grad), a gradient per sample")
def _(library):
    return torch.func.vmap(torch.func.grad(square(library.function)))(X)


@case("torch.func.functional_call")
def _(library):
    net = nn.Linear(6, 3)
    torch.nn.init.constant_(net.weight, 0.3), torch.nn.init.zeros_(net.bias)

    def loss(weight, x):
        return torch.func.functional_call(net, {"weight": library.function(weight)}, (x,)).square().sum()

    return torch.func.vmap(torch.func.grad(loss), (None, 0))(net.weight.detach(), X)


@case("a transform around a parameter outside of it")
def _(library):
    weight = X.clone().requires_grad_()
    y = torch.func.vmap(lambda x: (library.function(weight) * x).sum())(X)
    return y, *torch.autograd.grad(y.sum(), weight)


@case("autograd.grad(is_grads_batched=True)")
def _(library):
    x = X.clone().requires_grad_()
    return torch.autograd.grad(library.function(x), x, torch.stack([X, -X, X + 1]), is_grads_batched=True)


@case("a gradient of the gradient")
def _(library):
    x = X.clone().requires_grad_()
    (dx,) = torch.autograd.grad(square(library.function)(x), x, create_graph=True)
    return dx.detach(), *torch.autograd.grad(dx.square().sum(), x)


def checkpointed(library, reentrant):
    x = X.clone().requires_grad_()
    y = checkpoint(lambda x: library.function(x).sin(), x, use_reentrant=reentrant)
    y.backward(X)
    return y.detach(), x.grad


@case("checkpoint")
def _(library):
    return checkpointed(library, False)


@case("checkpoint(use_reentrant=True)")
def _(library):
    return checkpointed(library, True)


@case("saved_tensors_hooks")
def _(library):
    x = X.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy().copy(), torch.from_numpy):
        y = library.function(x)
    return y.detach(), *torch.autograd.grad(y, x, X)


@case("save_on_cpu")
def _(library):
    x = X.clone().requires_grad_()
    with torch.autograd.graph.save_on_cpu():
        y = library.function(x)
    return y.detach(), *torch.autograd.grad(y, x, X)


def compiled(library, backend, **settings):
    torch.compiler.reset()
    net = Net(library.modules)
    call = net if library is EAGER else torch.compile(net, backend=backend, **settings)
    return trained(net, call)


@case("torch.compile of a fresh model, fullgraph")
def _(library):
    return compiled(library, "aot_eager", fullgraph=True)


@case("torch.compile of a fresh model, any breaks")
def _(library):
    return compiled(library, "aot_eager")


@case("torch.compile with dynamic shapes")
def _(library):
    torch.compiler.reset()
    function = library.function
    call = function if library is EAGER else torch.compile(function, backend="aot_eager", dynamic=True, fullgraph=True)
    found = []
    for n in range(2, 5):
        x = X[:n].clone().requires_grad_()
        found += [call(x).detach(), *torch.autograd.grad(call(x), x, X[:n])]
    return tuple(found)


@case("torch.compile by inductor", slow=True)
def _(library):
    return compiled(library, "inductor", fullgraph=True)


def exported(library):
    net = warm(Net(library.modules)).eval()
    theirs.disable_observer(net), net.apply(theirs.disable_observer)
    return net, lambda: torch.export.export(net, (X,), dynamic_shapes=({0: torch.export.Dim("n", min=2)},))


@case("torch.export, saved and loaded")
def _(library):
    net, export = exported(library)
    if library is EAGER:
        return net(X)
    file = io.BytesIO()
    torch.export.save(export(), file)
    file.seek(0)
    return torch.export.load(file).module()(X)


@case("AOTInductor", slow=True)
def _(library, tmp_path=None):
    import tempfile

    net, export = exported(library)
    if library is EAGER:
        return net(X)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = torch._inductor.aoti_compile_and_package(export(), package_path=f"{folder}/net.pt2")
        return torch._inductor.aoti_load_package(path)(X)


@case("make_fx")
def _(library):
    return library.function(X) if library is EAGER else make_fx(lambda x: library.function(x))(X)(X)


@case("fx.symbolic_trace of a function")
def _(library):
    return library.function(X) if library is EAGER else torch.fx.symbolic_trace(library.function)(X)


@case("fx.symbolic_trace of a model")
def _(library):
    net = Net(library.modules)
    return trained(net, net if library is EAGER else torch.fx.symbolic_trace(net))


@case("jit.trace")
def _(library):
    return library.function(X) if library is EAGER else torch.jit.trace(library.function, (X,))(X)


@case("jit.script of FakeQuantize")
def _(library):
    module = library.modules.FakeQuantize(observer=theirs.MovingAverageMinMaxObserver, quant_min=0, quant_max=15)
    return (module if library is EAGER else torch.jit.script(module))(X)


@case("deepcopy")
def _(library):
    return trained(copy.deepcopy(warm(Net(library.modules))))


@case("pickle")
def _(library):
    return trained(pickle.loads(pickle.dumps(warm(Net(library.modules)))))


@case("share_memory")
def _(library):
    return trained(warm(Net(library.modules)).share_memory())


@case("autocast(bfloat16)")
def _(library):
    net = Net(library.modules)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(X)
    return y.dtype == torch.bfloat16 if library is not EAGER else True


@case("model.bfloat16()")
def _(library):
    net = Net(library.modules).bfloat16()
    y = net(X.bfloat16()) if library is not EAGER else X.bfloat16()
    return y.dtype == torch.bfloat16


@functools.cache
def group():
    """A process group of one, for what wants one."""
    from torch.distributed import HashStore, init_process_group

    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)


@case("DistributedDataParallel")
def _(library):
    net = Net(library.modules)
    if library is EAGER:
        return trained(net)
    group()
    wrapped = nn.parallel.DistributedDataParallel(net)
    return trained(net, wrapped)


@case("FSDP2 (fully_shard)")
def _(library):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    net = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    for each, value in zip(net.parameters(), (0.1, 0.2, 0.3, 0.4), strict=True):
        torch.nn.init.constant_(each, value)
    for each in net:
        each.forward = functools.partial(_quantized_linear, each, library.function)
    if library is not EAGER:
        group()
        mesh = init_device_mesh("cpu", (1,))
        for each in (*net, net):
            fully_shard(each, mesh=mesh)
    y = net(X)
    y.square().sum().backward()
    grads = [p.grad.full_tensor() if library is not EAGER else p.grad for p in net.parameters()]
    return y.detach(), *grads


def _quantized_linear(linear, function, x):
    return nn.functional.linear(function(x), function(linear.weight), linear.bias)


@case("DTensor")
def _(library):
    if library is EAGER:
        return library.function(X)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    group()
    x = distribute_tensor(X, init_device_mesh("cpu", (1,)), [Shard(0)])
    return library.function(x).full_tensor()


@case("DTensor, by its local tensor")
def _(library):
    if library is EAGER:
        return library.function(X)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    group()
    x = distribute_tensor(X, init_device_mesh("cpu", (1,)), [Shard(0)])
    return library.function(x.to_local())


def results(run, library):
    found = run(library)
    return found if isinstance(found, tuple) else (found,)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other


def outcome(name, library):
    """ "yes", or "no" and what was raised."""
    run = CASES[name]
    expected = results(run, EAGER)
    try:
        found = results(run, library)
    except Exception as error:
        return "no", error
    finally:
        torch.compiler.reset()
    assert len(found) == len(expected)
    is_same = all(map(same, found, expected))
    return ("yes" if is_same else "wrong"), None


def table():
    """name -> (PyTorch's, fq's), as the page says."""
    lines = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {cells[0]: tuple(cells[1:]) for cells in lines if set(cells[1:]) <= {"yes", "no"}}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CASES])
@pytest.mark.parametrize("library", [THEIRS, OURS], ids=lambda one: one.name)
def test_the_outcome_is_what_the_page_says(name, library):
    found, error = outcome(name, library)
    assert found == table()[name][library is OURS], error


def test_the_page_names_every_transform():
    assert set(table()) == set(CASES)
