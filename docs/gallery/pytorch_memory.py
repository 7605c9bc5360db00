"""Count the bytes that each way of fake quantization keeps for the backward pass, on a photograph in PyTorch."""

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_sample_image

import fq.torch

photograph = load_sample_image("flower.jpg")[:224, 200:424]
image = torch.from_numpy(photograph.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
torch.manual_seed(0)
x = torch.nn.Conv2d(3, 16, 3, padding=1)(image).detach().requires_grad_()  # what the layer makes of the photograph
qparams = fq.torch.calibrate(x.detach(), bits=4, method="mse")


def written_out(x, scale, zero_point, qmin, qmax):
    """Fake quantization by operations of PyTorch."""
    level = x / scale + zero_point
    rounded = level + (torch.round(level) - level).detach()
    return (torch.clamp(rounded, qmin, qmax) - zero_point) * scale


QUANTIZERS = {
    "written out": written_out,
    "torch.fake_quantize": torch.fake_quantize_per_tensor_affine,
    "fq.torch.fake_quantize": fq.torch.fake_quantize,
}


def kept_per_element(quantizer):
    """Bytes that autograd keeps between forward and backward, per element of x; each piece of memory counts once."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = quantizer(x, *qparams)
    y.sum().backward()
    return sum(sizes.values()) / x.numel()


kept = {name: kept_per_element(quantizer) for name, quantizer in QUANTIZERS.items()}

figure = Figure(figsize=(7, 2.4), layout="constrained")
axes = figure.subplots()
axes.bar_label(axes.barh(list(kept), list(kept.values()), color=["#D55E00", "#E69F00", "#0072B2"]), fmt=" %.3f")
axes.invert_yaxis()
axes.set(xlabel="bytes kept for the backward pass, per element", xlim=(0, 1.15 * max(kept.values())))
figure.savefig("pytorch_memory.svg")
ours, theirs = kept["fq.torch.fake_quantize"], kept["torch.fake_quantize"]
print(f"per element: {8 * ours:.2f} bits with fq, {8 * theirs:.2f} with PyTorch's operator")
