"""fq.torch beside PyTorch's own fake quantization, forward and backward, on the CPU: `python -m benchmarks.torch`.

Both run in one process, one after the other in turn; the figures are medians, and their ratio. A step is that of a
small transformer in which `prepare_qat` quantizes 14 linear layers: 28 fake quantizations.
"""

import os
import sys
import warnings
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks import machine, report, timing
from benchmarks.__main__ import Parser, positive

SHAPES = (8, 8), (64, 64), (256, 256), (1024, 1024)
SCALE, QMIN, QMAX = 0.02, -128, 127
WIDTH, HEADS, LAYERS, WORDS, BATCH = 64, 2, 2, 16, 4


def backed(function, x, dy, *learned):
    """A call of the function, and its gradients."""
    import torch

    def call():
        return torch.autograd.grad(function(x), (x, *learned), dy)

    return call


def functional(x, dy):
    """Numbers of the two functions for a whole tensor: (fq's, PyTorch's)."""
    import torch

    import fq.torch

    scale, zero_point = torch.tensor(SCALE), torch.tensor(0, dtype=torch.int32)
    return (
        backed(lambda x: fq.torch.fake_quantize(x, scale, zero_point, QMIN, QMAX, reciprocal=True), x, dy),
        backed(lambda x: torch.fake_quantize_per_tensor_affine(x, scale, zero_point, QMIN, QMAX), x, dy),
    )


def channels(x, dy):
    """A scale for each row."""
    import torch

    import fq.torch

    scale, zero_point = torch.full((len(x),), SCALE), torch.zeros(len(x), dtype=torch.int32)
    ours, levels = scale.reshape(-1, 1), zero_point.reshape(-1, 1)
    return (
        backed(lambda x: fq.torch.fake_quantize(x, ours, levels, QMIN, QMAX, reciprocal=True), x, dy),
        backed(lambda x: torch.fake_quantize_per_channel_affine(x, scale, zero_point, 0, QMIN, QMAX), x, dy),
    )


def learnable(x, dy):
    """A scale with a gradient."""
    import torch

    import fq.torch

    scale, zero_point = torch.tensor([SCALE], requires_grad=True), torch.zeros(1, requires_grad=True)
    learned = scale, zero_point
    theirs = torch._fake_quantize_learnable_per_tensor_affine
    return (
        backed(
            lambda x: fq.torch.fake_quantize_learnable(x, scale, zero_point, QMIN, QMAX, reciprocal=True),
            *(x, dy, *learned),
        ),
        backed(lambda x: theirs(x, scale, zero_point, QMIN, QMAX, 1.0), x, dy, *learned),
    )


def operator(x, dy):
    """The operator that compiled code calls, beside PyTorch's function in eager mode."""
    import torch

    import fq.torch  # noqa: F401  which registers it

    scale, zero_point = torch.tensor(SCALE), torch.tensor(0)
    theirs = torch.tensor(0, dtype=torch.int32)
    return (
        backed(lambda x: torch.ops.fq.forward_packed(x, scale, zero_point, QMIN, QMAX, True, [0, 1])[0], x, dy),
        backed(lambda x: torch.fake_quantize_per_tensor_affine(x, scale, theirs, QMIN, QMAX), x, dy),
    )


def module(name, per_channel, x, dy):
    """A module that observes and quantizes."""
    import torch
    from torch.ao import quantization

    import fq.torch

    kind = "MovingAveragePerChannelMinMaxObserver" if per_channel else "MovingAverageMinMaxObserver"
    scheme = torch.per_channel_symmetric if per_channel else torch.per_tensor_affine
    settings = {"observer": getattr(quantization, kind), "quant_min": QMIN, "quant_max": QMAX}
    modules = [getattr(one, name)(**settings, dtype=torch.qint8, qscheme=scheme) for one in (fq.torch, quantization)]
    return tuple(backed(one, x, dy) for one in modules)


FUSED = "FusedMovingAvgObsFakeQuantize"
CASES = {
    "functional, per tensor": functional,
    "functional, per channel": channels,
    "learnable": learnable,
    "operator in compiled code": operator,
    "fused module, per tensor": partial(module, FUSED, False),
    "fused module, per channel": partial(module, FUSED, True),
    "FakeQuantize, per tensor": partial(module, "FakeQuantize", False),
    "FakeQuantize, per channel": partial(module, "FakeQuantize", True),
}


def transformer():
    """A small one: LAYERS times attention and two linear layers, then two more."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
            self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

        def forward(self, x):
            q, k, v = (
                each(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in (self.query, self.key, self.value)
            )
            seen = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = self.first(x + self.out(seen))
            return self.second(x + self.narrow(nn.functional.gelu(self.wide(x))))

    torch.manual_seed(0)
    return nn.Sequential(*(Layer() for _ in range(LAYERS)), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2))


def step(qconfig):
    """One step of training with this QConfig, or without fake quantization."""
    import torch
    from torch.ao import quantization

    net = transformer().train()
    if qconfig is not None:
        net.qconfig = qconfig
        net = quantization.prepare_qat(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    x = torch.randn(BATCH, WORDS, WIDTH, generator=torch.Generator().manual_seed(1))

    def call():
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()

    return call


def row(case, shape, ours, theirs, rounds, calls):
    """The medians of both, in microseconds."""
    pair = [timing.Candidate("fq", ours), timing.Candidate("PyTorch", theirs)]
    us, torch_us = (median(each) * 1e6 for each in timing.interleave(pair, rounds, calls)[1])
    return {"case": case, "shape": list(shape), "fq_us": us, "torch_us": torch_us, "ratio": us / torch_us}


def rows_of(shapes, rounds):
    """Every case on every shape, then the steps."""
    import torch
    from torch.ao import quantization

    import fq.torch

    rows = []
    for (case, make), shape in tqdm(list(product(CASES.items(), shapes)), desc="benchmarks.torch", file=sys.stderr):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
        ours, theirs = make(x, torch.ones(shape))
        rows.append(row(case, shape, ours, theirs, rounds, max(4, 2**18 // x.numel() // 8)))
    steps = [step(None), step(fq.torch.get_default_qat_qconfig()), step(quantization.get_default_qat_qconfig())]
    rows.append(row("a transformer's step", (BATCH, WORDS, WIDTH), *steps[1:], rounds, 4))
    rows.append(row("the step without fake quantization", (BATCH, WORDS, WIDTH), steps[0], steps[2], rounds, 4))
    return rows


def parser():
    """The options."""
    told = "Speed of fq.torch beside PyTorch's own. Takes about a minute, and with --quick some seconds."
    options = Parser(prog="python -m benchmarks.torch", description=told)
    add = options.add_argument
    add("--sides", nargs="+", type=positive, metavar="N", help="sides of square arrays (default: 8 64 256 1024)")
    add("--rounds", type=positive, metavar="N", default=51, help="samples of each (default: 51)")
    add("--threads", type=positive, metavar="N", default=1, help="of PyTorch and fq (default: 1)")
    add("--out", type=Path, metavar="DIR", help="write torch.md and torch.json here")
    options.add_quick(sides=[8], rounds=3)
    return options


def markdown(result):
    """The result as a page."""
    described = result["machine"]
    heads = ["case", "shape", "fq, us", "PyTorch, us", "fq / PyTorch"]
    lines = ["# fq.torch beside PyTorch's fake quantization", "", "Forward and backward, float32; medians in turn.", ""]
    lines += [
        f"- {described['processor']}, {described['cores']} cores, {result['threads']} used, {described['system']}"
    ]
    lines += ["- " + ", ".join(f"{name} {version}" for name, version in described["versions"].items())]
    lines += [f"- load {result['load']}, {described['date']}", ""]
    lines += [report.line(heads), report.line(["---"] * len(heads))]
    for each in result["rows"]:
        values = [each["case"], "x".join(map(str, each["shape"]))]
        values += [f"{each['fq_us']:.1f}", f"{each['torch_us']:.1f}", f"{each['ratio']:.2f}"]
        lines.append(report.line(values))
    return "\n".join(lines) + "\n"


def main(arguments=None):
    """Measure, print, write; the exit code."""
    chosen = parser().parse_args(arguments)
    import torch

    import fq

    warnings.simplefilter("ignore")
    torch.set_num_threads(chosen.threads), fq.set_num_threads(chosen.threads)
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    shapes = [(side, side) for side in chosen.sides] if chosen.sides else SHAPES
    rows = rows_of(shapes, chosen.rounds)
    result = {"machine": machine.describe(), "load": load, "threads": chosen.threads, "rows": rows}
    print(markdown(result))
    if chosen.out is not None:
        report.save(chosen.out, "torch", markdown(result), result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
