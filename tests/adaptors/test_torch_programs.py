"""Random programs of PyTorch, run with fq and with PyTorch's own fake quantization: equal gradients, untouched inputs.

A program is a list of steps drawn from a grammar by a seed. It runs once with each of the two, and every tensor that it
was given, kept or got must be equal, at the end and bit for bit.
"""

import random

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch_ways import WAYS, go  # noqa: E402

import fq.torch  # noqa: E402
from fq.torch import _operators  # noqa: E402

SIDE = 4
PROGRAMS = 160


def ours(x, scale, zero_point, axis):
    if axis is None:
        return fq.torch.fake_quantize(x, scale, zero_point, -8, 7, reciprocal=True)
    shape = [-1 if each == axis else 1 for each in range(x.dim())]
    channels = scale * torch.linspace(0.5, 1.5, x.shape[axis]).reshape(shape)
    levels = torch.full(channels.shape, zero_point)
    return fq.torch.fake_quantize(x, channels, levels, -8, 7, reciprocal=True)


def theirs(x, scale, zero_point, axis):
    if axis is None:
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, -8, 7)
    channels = scale * torch.linspace(0.5, 1.5, x.shape[axis])
    levels = torch.full((x.shape[axis],), zero_point, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(x, channels, levels, axis, -8, 7)


class Keeps(torch.autograd.Function):
    """A product whose backward keeps the gradient that it returns."""

    @staticmethod
    def forward(ctx, x, kept):
        ctx.kept = kept
        return x * 1.5

    @staticmethod
    def backward(ctx, dy):
        dx = dy * 1.5
        ctx.kept.append(dx)
        return dx, None


class Returns(torch.autograd.Function):
    """A product whose backward returns what it saved, again and again."""

    @staticmethod
    def forward(ctx, x, kept):
        saved = torch.linspace(1, 2, x.numel()).reshape(x.shape)
        kept.append(saved)
        ctx.save_for_backward(saved)
        return x * saved

    @staticmethod
    def backward(ctx, dy):
        return ctx.saved_tensors[0], None


def keep_a_gradient(x, kept):
    if x.requires_grad:
        x.register_hook(lambda dy: kept.append(dy) or None)
    return x


def keep_and_scale(x, kept):
    if x.requires_grad:
        x.register_hook(lambda dy: kept.append(dy) or dy * 2)
    return x


STEPS = {
    "transpose": lambda x, q, kept: x.t(),
    "view": lambda x, q, kept: x.reshape(SIDE, SIDE),
    "rows": lambda x, q, kept: torch.cat([x[1:], x[:1]]),
    "every other": lambda x, q, kept: torch.stack([x, x], -1)[..., 0],
    "expand": lambda x, q, kept: x[:1].expand(SIDE, SIDE),
    "flip": lambda x, q, kept: x.flip(0),
    "unbind": lambda x, q, kept: torch.stack(torch.unbind(x)[::-1]),
    "relu": lambda x, q, kept: torch.relu(x),
    "tanh": lambda x, q, kept: x.tanh(),
    "product": lambda x, q, kept: x * x,
    "in place": lambda x, q, kept: (x * 1).add_(0.5),
    "part in place": lambda x, q, kept: _fill(x * 1),
    "quantized, then in place": lambda x, q, kept: q(x).mul_(2),
    "two branches": lambda x, q, kept: q(x) + x,
    "two of one": lambda x, q, kept: q(x) - q(x) * 0.5,
    "sum of views": lambda x, q, kept: (q(x).unsqueeze(0) + q(x.t()).unsqueeze(0))[0],
    "hook": lambda x, q, kept: keep_a_gradient(q(keep_a_gradient(x, kept)), kept),
    "changing hook": lambda x, q, kept: keep_and_scale(q(x), kept),
    "keeps": lambda x, q, kept: Keeps.apply(q(x), kept),
    "returns": lambda x, q, kept: Returns.apply(q(x), kept),
    "checkpoint": lambda x, q, kept: checkpoint(lambda x: q(x).sin(), x, use_reentrant=False),
    "detached": lambda x, q, kept: q(x) + q(x.detach()),
    "quantize": lambda x, q, kept: q(x),
}


JOINS = {  # of what was computed so far with the parameters
    "nothing": lambda y, a, b, q: y,
    "sum": lambda y, a, b, q: y + q(a),
    "sum as views": lambda y, a, b, q: y.unsqueeze(0).add(q(a).unsqueeze(0))[0],
    "sum of both": lambda y, a, b, q: y * (q(a).view(1, SIDE, SIDE) + q(b).view(1, SIDE, SIDE)).squeeze(0),
    "flattened": lambda y, a, b, q: (y.flatten() + q(a).view(-1) + b.view(-1)).view(SIDE, SIDE),
    "product": lambda y, a, b, q: y * a,
}


def _fill(x):
    x[0] = 0.25
    return x


class Program:
    """What a seed says: two parameters, steps, grids, and how it is trained."""

    def __init__(self, seed):
        draw = random.Random(seed)
        self.seed, self.steps = seed, [draw.choice(list(STEPS)) for _ in range(draw.randint(1, 5))] + ["quantize"]
        self.grids = [
            (draw.choice([0.05, 0.3, 3.0]), draw.choice([0, 2]), draw.choice([None, 0, 1])) for _ in self.steps
        ]
        self.joins = [draw.choice([*JOINS, *["nothing"] * 6]) for _ in self.steps]
        self.joins[draw.randrange(len(self.steps))] = draw.choice([name for name in JOINS if name != "nothing"])
        self.shares, self.clips, self.retains = (draw.random() < 0.5 for _ in range(3))
        self.rounds, self.given = draw.randint(1, 3), draw.choice(["sum", "gradient", "square"])

    def run(self, quantizer):
        """Every tensor that the program was given, kept, or got."""
        generator = torch.Generator().manual_seed(self.seed)
        x, dy, *values = torch.randn(4, SIDE, SIDE, generator=generator)
        before = x.clone(), dy.clone()
        a, b = (nn.Parameter(value) for value in values)
        kept = []
        for _ in range(self.rounds):
            y = self.forward(x, a, a if self.shares else b, quantizer, kept)
            for last in (False, True) if self.retains else (True,):
                self.backward(y, dy, not last)
            if self.clips:
                nn.utils.clip_grad_norm_([a, b], 0.5)
        assert torch.equal(x, before[0]), "x was written to"
        assert torch.equal(dy, before[1]), "dy was written to"
        return [y.detach(), *kept, *(p.grad for p in (a, b) if p.grad is not None)]

    def forward(self, x, a, b, quantizer, kept):
        y = x
        for index, (name, grid) in enumerate(zip(self.steps, self.grids, strict=True)):

            def quantize(value, grid=grid):
                return quantizer(value, *grid)

            y = STEPS[name](JOINS[self.joins[index]](y, (a, b)[index % 2], (b, a)[index % 2], quantize), quantize, kept)
        return y

    def backward(self, y, dy, retain):
        if self.given == "gradient":
            y.backward(dy, retain_graph=retain)
        else:
            (y.sum() if self.given == "sum" else y.square().sum()).backward(retain_graph=retain)


def differences(seeds):
    """The programs whose results differ, or that wrote to what they were given."""
    found = []
    for seed in seeds:
        program = Program(seed)
        expected = program.run(theirs)
        try:
            got = program.run(ours)
        except AssertionError as error:
            found.append((seed, program.steps, str(error)))
            continue
        if len(got) != len(expected) or not all(map(torch.equal, got, expected)):
            found.append((seed, program.steps, "another result"))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_random_programs_give_what_they_give_with_pytorch(way, monkeypatch):
    go(way, monkeypatch)
    assert differences(range(PROGRAMS)) == []


def returning_dy(monkeypatch):
    real = _operators.masked

    def masked(dy, *kept):
        dx = real(dy, *kept)
        return dy if torch.equal(dx, dy) else dx

    monkeypatch.setattr(_operators, "masked", masked)


def writing_over_dy(monkeypatch):
    real = _operators.masked

    def masked(dy, *kept):
        dx = real(dy, *kept)
        return dy.data.copy_(dx) if dy.is_contiguous() else dx

    monkeypatch.setattr(_operators, "masked", masked)


@pytest.mark.parametrize("wrong", [returning_dy, writing_over_dy])
def test_these_programs_catch_a_backward_that_does_not_keep_to_its_own_memory(wrong, monkeypatch):
    wrong(monkeypatch)
    assert differences(range(PROGRAMS // 2))
