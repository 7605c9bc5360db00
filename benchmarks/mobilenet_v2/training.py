"""Training steps on crops of photographs, and what they keep for the backward."""

import functools

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import nn

from benchmarks.mobilenet_v2 import net
from benchmarks.mobilenet_v2.ways import LEARNED, WAYS


class Trainer:
    """A network, its optimizer, and the batch of the next step: the same sequence of batches for every way."""

    def __init__(self, way, batch, size, name="mobilenet_v2"):
        self.net = net.build({**WAYS, **LEARNED}[way], name=name)
        self.optimizer = torch.optim.SGD(self.net.parameters(), 0.01, momentum=0.9)
        self.batch, self.size, self.batches = batch, size, 0
        self.next_batch()

    def next_batch(self):
        """Other crops of the photographs."""
        self.images, self.labels = photographs(self.batch, self.size, seed=self.batches)
        self.batches += 1

    def next_step(self):
        """A step, and the batch of the one after it."""
        loss = self.step()
        self.next_batch()
        return loss

    def step(self):
        """Forward, backward, and the optimizer's step; the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def loss(self):
        """The forward."""
        torch.manual_seed(0)  # of the dropout
        return nn.functional.cross_entropy(self.net(self.images), self.labels)

    def saved_bytes(self):
        """Bytes that the forward keeps for the backward: of the storages of all saved tensors, each counted once."""
        storages = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            kept = self.loss()
        del kept
        return sum(storages.values())


@functools.cache
def _sources():
    """scikit-learn's photographs, read once."""
    return load_sample_images().images


def photographs(batch, size, seed=0):
    """Random crops of scikit-learn's two photographs, each mirrored or not, which makes four classes.

    Returns
    -------
    images : Tensor of float32, (batch, 3, size, size)
        Normalized with the mean and deviation of ImageNet.
    labels : Tensor of int64, (batch,)
    """
    sources = _sources()
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, batch)
    images = np.empty((batch, size, size, 3), np.float32)
    for image, label in zip(images, labels, strict=True):
        source = sources[label % 2]
        top, left = (rng.integers(0, length - size + 1) for length in source.shape[:2])
        crop = source[top : top + size, left : left + size]
        image[...] = crop[:, ::-1] if label >= 2 else crop
    images = (images / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels)
