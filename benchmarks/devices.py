"""fq.torch and fq.jax on an accelerator beside what the frameworks have: `python -m benchmarks.devices`.

Forward and backward of float32, for a whole tensor; medians, warm, of calls that are waited for. Memory is what lies on
the device between forward and backward beside x and y, in bytes per element.
"""

import sys
import time
import warnings
from pathlib import Path
from statistics import median

from benchmarks import machine, report
from benchmarks.__main__ import Parser, positive

SCALE, QMIN, QMAX = 0.02, -128, 127


def timed(call, rounds):
    """Milliseconds of a call, the median; the first ones, which compile, are not counted."""
    for _ in range(3):
        call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * median(times)


def of_torch(elements, rounds):
    """Rows of PyTorch: (what, milliseconds, bytes kept per element)."""
    import torch

    import fq.torch

    scale, zero_point = torch.tensor(SCALE, device="cuda"), torch.tensor(0, dtype=torch.int32, device="cuda")
    x, dy = torch.randn(elements, device="cuda", requires_grad=True), torch.randn(elements, device="cuda")
    ours = lambda x: fq.torch.fake_quantize(x, scale, zero_point, QMIN, QMAX)  # noqa: E731
    functions = {
        "PyTorch's operator": lambda x: torch.fake_quantize_per_tensor_affine(x, scale, zero_point, QMIN, QMAX),
        "fq.torch": ours,
        "fq.torch, compiled": torch.compile(ours),
    }

    def step(function):
        torch.autograd.grad(function(x), x, dy)
        torch.cuda.synchronize()

    def kept(function):
        before = torch.cuda.memory_allocated()
        y = function(x)
        return (torch.cuda.memory_allocated() - before - y.nbytes) / elements

    for name, function in functions.items():
        yield name, timed(lambda function=function: step(function), rounds), kept(function)


def of_jax(elements, rounds):
    """Rows of JAX; what is kept is the size of the residuals, which are the leaves of the backward function."""
    import jax
    import jax.numpy as jnp

    import fq.jax

    def formula(x):
        level = x / SCALE
        clamped = jnp.clip(level + jax.lax.stop_gradient(jnp.round(level) - level), QMIN, QMAX)
        return clamped * SCALE

    x, dy = (jax.random.normal(jax.random.key(i), (elements,)) for i in (0, 1))
    for name, function in {
        "the formula in JAX": formula,
        "fq.jax": lambda x: fq.jax.fake_quantize(x, SCALE, 0, QMIN, QMAX),
    }.items():
        forward = jax.jit(lambda x, function=function: jax.vjp(function, x))
        backward = jax.jit(lambda vjp, dy: vjp(dy))

        def step(forward=forward, backward=backward):
            y, vjp = forward(x)
            jax.block_until_ready((y, backward(vjp, dy)))

        kept = sum(leaf.nbytes for leaf in jax.tree.leaves(forward(x)[1])) / elements
        yield name, timed(step, rounds), kept


def accelerators():
    """The frameworks that see an accelerator: (name, device, rows)."""
    try:
        import torch

        if torch.cuda.is_available():
            yield f"PyTorch {torch.__version__}", torch.cuda.get_device_name(), of_torch
    except ImportError:
        pass
    try:
        import jax

        device = jax.devices()[0]
        if device.platform != "cpu":
            yield f"JAX {jax.__version__}", device.device_kind, of_jax
    except ImportError:
        pass


def markdown(sizes, rounds):
    """The page, line by line."""
    yield from ("# fq on an accelerator", "", "Forward and backward, float32, medians of warm calls.", "")
    described = machine.describe()
    yield from (f"- host: {described['processor']}, {described['system']}, {described['date']}", "")
    yield report.line(["framework", "device", "elements", "what", "ms", "bytes kept per element"])
    yield report.line(["---"] * 6)
    for framework, device, rows in accelerators():
        for elements in sizes:
            for what, spent, kept in rows(elements, rounds):
                yield report.line([framework, device, f"{elements:,}", what, f"{spent:.3f}", f"{kept:.3f}"])


def main(arguments=None):
    """Measure, print, write; the exit code."""
    options = Parser(
        prog="python -m benchmarks.devices",
        description=f"{__doc__.splitlines()[0]} Takes about a minute, "
        "most of it to compile, and with --quick little less.",
    )
    options.add_argument("--rounds", type=positive, default=51, help="calls of each; 51 if not given")
    options.add_argument("--out", type=Path, help="folder for devices.md")
    options.add_quick(rounds=3)
    chosen = options.parse_args(arguments)
    warnings.simplefilter("ignore")
    if not list(accelerators()):
        print("error: neither PyTorch nor JAX sees an accelerator here", file=sys.stderr)
        return 2
    page = "\n".join(markdown((2**20, 2**24), chosen.rounds)) + "\n"
    print(page)
    if chosen.out is not None:
        report.save(chosen.out, "devices", page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
