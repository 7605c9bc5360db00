"""ResNet-18 (He et al. 2016) for small images, whose 20 convolutions have quantized weights and inputs.

As usual for such images the first convolution has 3 x 3 pixels and stride 1, and no pooling follows.
"""

import torch
from torch import nn

STAGES = [(64, 1), (128, 2), (256, 2), (512, 2)]  # channels, stride of the first of two blocks


class Convolution(nn.Module):
    """A convolution of quantized input and weights, and batch normalization."""

    def __init__(self, way, inputs, outputs, kernel, stride, of_image=False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        self.norm = nn.BatchNorm2d(outputs)
        self.weights, self.activation = way.weight(), (way.image if of_image else way.activation)()

    def forward(self, x):
        conv, weight = self.conv, self.weights(self.conv.weight)
        return self.norm(nn.functional.conv2d(self.activation(x), weight, None, conv.stride, conv.padding))


class Block(nn.Module):
    """Two convolutions, beside the input or a third one."""

    def __init__(self, way, inputs, outputs, stride):
        super().__init__()
        self.first = Convolution(way, inputs, outputs, 3, stride)
        self.second = Convolution(way, outputs, outputs, 3, 1)
        changes = stride != 1 or inputs != outputs
        self.beside = Convolution(way, inputs, outputs, 1, stride) if changes else nn.Identity()

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))) + self.beside(x))


class ResNet18(nn.Module):
    """Images of shape (N, 3, H, W) to logits of shape (N, classes)."""

    def __init__(self, way, classes=1000):
        super().__init__()
        self.stem = Convolution(way, 3, 64, 3, 1, of_image=True)
        blocks, inputs = [], 64
        for outputs, stride in STAGES:
            blocks += [Block(way, inputs, outputs, stride), Block(way, outputs, outputs, 1)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x):
        return self.linear(self.blocks(torch.relu(self.stem(x))).mean((2, 3)))
