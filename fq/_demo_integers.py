"""The trained network of ``python -m fq demo`` in integers: what is stored, and inference in integers."""

import io

import numpy as np

import fq

_PACKED = 1, 2, 4  # bits per element that fq packs; others are stored in the smallest type that holds them


class IntegerLayer:
    """Integers for the weights, and the grid of the inputs: x @ weight.T + bias as a product of integers."""

    def __init__(self, layer):
        self.input, self.grid = layer.input_quantizer.qparams, layer.weight_quantizer.qparams
        self.bias, self.inputs = layer.bias, layer.weight.shape[1]
        self.bits = next((bits for bits in _PACKED if bits >= layer.weight_quantizer.bits), None)
        if self.bits is None:
            self.stored = fq.quantize(layer.weight, *self.grid)
        else:
            self.stored = fq.quantize_packed(layer.weight, *self.grid, bits=self.bits)

    def levels(self):
        """The weights' levels less their zero_point."""
        signed = self.grid.qmin < 0
        stored = self.stored if self.bits is None else fq.unpack(self.stored, self.bits, self.inputs, signed)
        return stored.astype(np.int64) - self.grid.zero_point

    def evaluate(self, x):
        """The outputs: a sum of products of integers for each, and one multiplication by both scales."""
        q = fq.quantize(x, *self.input).astype(np.int64) - self.input.zero_point
        scale = self.input.scale * self.grid.scale.astype(np.float64).reshape(-1)
        return (q @ self.levels().T * scale).astype(np.float32) + self.bias

    def arrays(self):
        """What is stored."""
        return {"weight": self.stored, "scale": self.grid.scale, "bias": self.bias, "input": np.array(self.input)}


class IntegerNetwork:
    """The layers of a trained network in integers."""

    def __init__(self, network):
        self.layers = [IntegerLayer(layer) for layer in network.layers]

    def evaluate(self, x):
        """The outputs, of which the largest is the answer."""
        for layer in self.layers[:-1]:
            x = np.maximum(layer.evaluate(x), 0)
        return self.layers[-1].evaluate(x)

    def file_bytes(self):
        """The size of an .npz file of the network."""
        return _file_bytes([layer.arrays() for layer in self.layers])


def float_file_bytes(network):
    """The size of an .npz file of a network in float."""
    return _file_bytes([{"weight": layer.weight, "bias": layer.bias} for layer in network.layers])


def _file_bytes(layers):
    file = io.BytesIO()
    np.savez(file, **{f"{i}.{name}": array for i, layer in enumerate(layers) for name, array in layer.items()})
    return file.getbuffer().nbytes
