"""MobileNetV2 (Sandler et al. 2018, width 1.0, 3.5 M parameters) with a place for each fake quantization.

Weights are quantized per channel and activations per tensor where PyTorch's fbgemm setting does: the input, what each
convolution gives after its batch normalization and ReLU6, each sum, and the output. The ReLU6 is not in place: in place
it would keep a copy of what it overwrites for its own backward.
"""

import torch
from torch import nn

from benchmarks.mobilenet_v2.resnet import ResNet18

# expansion, channels, repetitions, stride of the first: table 2 of the paper
STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class Convolution(nn.Module):
    """A convolution with quantized weights, batch normalization, and ReLU6 if wanted; then fake quantization."""

    def __init__(self, way, inputs, outputs, kernel=1, stride=1, groups=1, relu=True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU6() if relu else nn.Identity()
        self.weights, self.activation = way.weight(), way.activation()

    def forward(self, x):
        conv = self.conv
        x = nn.functional.conv2d(x, self.weights(conv.weight), None, conv.stride, conv.padding, groups=conv.groups)
        return self.activation(self.relu(self.norm(x)))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; and the input added where shapes allow it."""

    def __init__(self, way, inputs, outputs, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        expand = [Convolution(way, inputs, hidden)] if expansion > 1 else []
        self.path = nn.Sequential(
            *expand,
            Convolution(way, hidden, hidden, 3, stride, groups=hidden),
            Convolution(way, hidden, outputs, relu=False),
        )
        self.sum = way.activation() if stride == 1 and inputs == outputs else None

    def forward(self, x):
        return self.path(x) if self.sum is None else self.sum(x + self.path(x))


class MobileNetV2(nn.Module):
    """Images of shape (N, 3, H, W) to logits of shape (N, classes)."""

    def __init__(self, way, classes=1000):
        super().__init__()
        blocks, inputs = [Convolution(way, 3, 32, 3, 2)], 32
        for expansion, outputs, repetitions, stride in STAGES:
            for index in range(repetitions):
                blocks.append(InvertedResidual(way, inputs, outputs, stride if index == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(way.image(), *blocks, Convolution(way, inputs, 1280))
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(1280, classes)
        nn.init.normal_(self.linear.weight, 0, 0.01)
        self.weights, self.logits = way.weight(), way.activation()

    def forward(self, x):
        x = self.dropout(self.features(x).mean((2, 3)))
        return self.logits(nn.functional.linear(x, self.weights(self.linear.weight), self.linear.bias))


NETS = {"mobilenet_v2": MobileNetV2, "resnet18": ResNet18}


def build(way, seed=0, name="mobilenet_v2"):
    """The network of this name, whose initial weights are the same whatever the way."""
    torch.manual_seed(seed)
    return NETS[name](way).train()
