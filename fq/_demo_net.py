"""The network of ``python -m fq demo``: layers whose weights and inputs are fake-quantized, and Adam."""

import itertools
import time

import numpy as np

import fq

BATCH = 64


class NoQuantizer:
    """Leaves a tensor in float."""

    x_bytes = mask_bytes = 0
    seconds = 0.0

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy

    evaluate = forward

    def calibrate(self, weight):
        """Nothing to do."""


class _Quantizer:
    """Fake quantization of one tensor: between forward and backward it keeps the mask's bits and nothing else."""

    def __init__(self, bits):
        self.bits = bits
        self.x_bytes = self.mask_bytes = 0
        self.seconds = 0.0

    def evaluate(self, x):
        return fq.fake_quantize(x, *self.qparams)

    def forward(self, x):
        start = time.perf_counter()
        y, self._bits_of_mask = fq.forward_packed(x, *self.qparams)
        self.seconds += time.perf_counter() - start
        self.x_bytes, self.mask_bytes = x.nbytes, self._bits_of_mask.nbytes
        return y

    def backward(self, dy):
        start = time.perf_counter()
        dx = fq.backward_packed(dy, self._bits_of_mask)
        self.seconds += time.perf_counter() - start
        return dx


class WeightQuantizer(_Quantizer):
    """A symmetric grid per channel, one for each row: the one of the least squared error."""

    def __init__(self, bits, weight):
        super().__init__(bits)
        self.calibrate(weight)

    def calibrate(self, weight):
        """Choose the grid for the weights as they are now."""
        self.qparams = fq.calibrate(weight, self.bits, axis=0, symmetric=True, method="mse")


class ActivationQuantizer(_Quantizer):
    """An affine grid per tensor: the one of the least squared error on all that was seen since the last choice."""

    def __init__(self, bits, x):
        super().__init__(bits)
        self._seen = fq.Observer().update(x)
        self.calibrate()

    def calibrate(self, weight=None):
        """Choose the grid for what was seen, and begin to watch anew."""
        if self._seen.count > 0:
            self.qparams = self._seen.qparams(self.bits, signed=False, method="mse")
            self._seen = fq.Observer()

    def forward(self, x):
        start = time.perf_counter()
        self._seen.update(x)
        self.seconds += time.perf_counter() - start
        return super().forward(x)


class InputQuantizer(ActivationQuantizer):
    """For the data, which need no gradient: keeps no mask."""

    def forward(self, x):
        start = time.perf_counter()
        self._seen.update(x)
        y = self.evaluate(x)
        self.seconds += time.perf_counter() - start
        return y


def _and_x(x, *qparams):
    return fq.fake_quantize(x, *qparams), x


_KEPT = {
    "x": (_and_x, fq.backward_learnable),
    "residual": (fq.forward_residual, fq.backward_residual),
    "residual4": (fq.forward_residual_packed, fq.backward_residual_packed),
}


class LearnedQuantizer(_Quantizer):
    """A grid whose scale is trained (LSQ), by its logarithm so that it stays positive.

    starts_from are the parameters it begins with; n is the number of elements that share a scale; keep is what the
    gradient of the scale is made of: x, or a code of each residual.
    """

    def __init__(self, bits, starts_from, n, keep="x"):
        super().__init__(bits)
        self._forward, self._backward = _KEPT[keep]
        self.log_scale = np.log(np.atleast_1d(starts_from.scale))
        self._grid = starts_from[1:]
        self._factor = np.float32(fq.scale_gradient_factor(n, starts_from.qmax))
        self.gradient = np.zeros_like(self.log_scale)

    @property
    def qparams(self):
        return fq.QParams(np.exp(self.log_scale), *self._grid)

    def calibrate(self, weight=None):
        """Nothing to do."""

    def forward(self, x):
        start = time.perf_counter()
        y, self._kept = self._forward(x, *self.qparams)
        self.seconds += time.perf_counter() - start
        self.x_bytes, self.mask_bytes = x.nbytes, self._kept.nbytes
        return y

    def backward(self, dy):
        start = time.perf_counter()
        scale = np.exp(self.log_scale)
        dx, dscale, _ = self._backward(dy, self._kept, scale, *self._grid)
        self.gradient = dscale * self._factor * scale
        self.seconds += time.perf_counter() - start
        return dx


class Layer:
    """x @ weight.T + bias with x and weight fake-quantized."""

    def __init__(self, weight, bias, input_quantizer, weight_quantizer):
        self.weight, self.bias = weight, bias
        self.input_quantizer, self.weight_quantizer = input_quantizer, weight_quantizer

    def evaluate(self, x):
        return self.input_quantizer.evaluate(x) @ self.weight_quantizer.evaluate(self.weight).T + self.bias

    def forward(self, x):
        self._x = self.input_quantizer.forward(x)
        self._weight = self.weight_quantizer.forward(self.weight)
        return self._x @ self._weight.T + self.bias

    def parameter_gradients(self, dz):
        return [self.weight_quantizer.backward(dz.T @ self._x), dz.sum(0)]

    def input_gradient(self, dz):
        return self.input_quantizer.backward(dz @ self._weight)


class Network:
    """A multilayer perceptron: layers with ReLU between them."""

    def __init__(self, layers):
        self.layers = layers

    @classmethod
    def random(cls, sizes, rng):
        """A network in float."""
        layers = []
        for inputs, outputs in itertools.pairwise(sizes):
            weight = rng.standard_normal((outputs, inputs), np.float32) * np.float32(np.sqrt(2 / inputs))
            layers.append(Layer(weight, np.zeros(outputs, np.float32), NoQuantizer(), NoQuantizer()))
        return cls(layers)

    def quantized(self, bits, x, learn_scale=False, keep="x"):
        """A copy with every weight and every layer's input at that many bits, calibrated on the data x.

        With learn_scale the scales are trained from there on, but for that of the data. keep: what that keeps of
        activations; weights live anyway.
        """
        layers = []
        for old in self.layers:
            kind = ActivationQuantizer if layers else InputQuantizer
            quantizers = kind(bits, x), WeightQuantizer(bits, old.weight)
            if learn_scale:
                quantizers = _learned(bits, quantizers, (x, old.weight), keep)
            layers.append(Layer(old.weight.copy(), old.bias.copy(), *quantizers))
            x = np.maximum(old.evaluate(x), 0)
        return Network(layers)

    def calibrate(self):
        """Choose every grid that is not trained for the weights as they are, and for what was seen of the inputs."""
        for layer in self.layers:
            layer.input_quantizer.calibrate(None)
            layer.weight_quantizer.calibrate(layer.weight)

    def copy(self):
        """The same network in float, to be trained on apart."""
        return Network([Layer(one.weight.copy(), one.bias.copy(), NoQuantizer(), NoQuantizer()) for one in self.layers])

    @property
    def parameters(self):
        own = [parameter for layer in self.layers for parameter in (layer.weight, layer.bias)]
        return own + [one.log_scale for one in self._learned]

    @property
    def _learned(self):
        return [one for one in self.quantizers if isinstance(one, LearnedQuantizer)]

    @property
    def quantizers(self):
        return [one for layer in self.layers for one in (layer.input_quantizer, layer.weight_quantizer)]

    def evaluate(self, x):
        """The outputs, of which the largest is the answer."""
        for layer in self.layers[:-1]:
            x = np.maximum(layer.evaluate(x), 0)
        return self.layers[-1].evaluate(x)

    def accuracy(self, x, labels):
        """The share of the labels that are right."""
        return float(np.mean(self.evaluate(x).argmax(1) == labels))

    def gradients(self, x, labels):
        """The gradient of the mean cross-entropy for each of the parameters."""
        active = []
        for layer in self.layers[:-1]:
            x = np.maximum(layer.forward(x), 0)
            active.append(x > 0)
        dz = _cross_entropy_gradient(self.layers[-1].forward(x), labels)
        gradients = self.layers[-1].parameter_gradients(dz)
        for k in reversed(range(len(active))):
            dz = self.layers[k + 1].input_gradient(dz) * active[k]
            gradients = self.layers[k].parameter_gradients(dz) + gradients
        return gradients + [one.gradient for one in self._learned]


def _learned(bits, quantizers, tensors, keep):
    """Quantizers that train their scales from those of the given ones on; the data's, which has no gradient, stays."""
    of_input, of_weight = quantizers
    x, weight = tensors
    if not isinstance(of_input, InputQuantizer):
        of_input = LearnedQuantizer(bits, of_input.qparams, x.shape[1] * BATCH, keep)
    return of_input, LearnedQuantizer(bits, of_weight.qparams, weight.shape[1])


def _cross_entropy_gradient(z, labels):
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p / np.float32(len(labels))


class Adam:
    """Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015); changes the parameters in place."""

    def __init__(self, parameters):
        self._parameters = parameters
        self._mean = [np.zeros_like(parameter) for parameter in parameters]
        self._square = [np.zeros_like(parameter) for parameter in parameters]
        self._steps = 0

    def step(self, gradients, rate):
        self._steps += 1
        rate = np.float32(rate * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps))
        for parameter, mean, square, gradient in zip(
            self._parameters, self._mean, self._square, gradients, strict=True
        ):
            mean += np.float32(0.1) * (gradient - mean)
            square += np.float32(0.001) * (gradient * gradient - square)
            parameter -= rate * mean / (np.sqrt(square) + np.float32(1e-8))
