"""The network of ``python -m fq demo``: layers whose weights and inputs are fake-quantized, and Adam."""

import itertools
import time

import numpy as np

import fq

BATCH = 64
_AVERAGING = np.float32(0.05)  # weight of a batch in the moving average of an activation's range


class NoQuantizer:
    """Leaves a tensor in float."""

    x_bytes = mask_bytes = 0
    seconds = 0.0

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy

    evaluate = forward


class _Quantizer:
    """Fake quantization of one tensor: between forward and backward it keeps the mask and nothing else."""

    def __init__(self, bits):
        self.bits = bits
        self.x_bytes = self.mask_bytes = 0
        self.seconds = 0.0

    def qparams_of(self, x):
        return self._qparams(*self._range(x))

    def evaluate(self, x):
        return fq.fake_quantize(x, *self.qparams_of(x))

    def forward(self, x):
        low, high = self._range(x)
        start = time.perf_counter()
        y, self._mask = fq.forward(x, *self._qparams(low, high))
        self.seconds += time.perf_counter() - start
        self.x_bytes, self.mask_bytes = x.nbytes, self._mask.nbytes
        return y

    def backward(self, dy):
        start = time.perf_counter()
        dx = fq.backward(dy, self._mask)
        self.seconds += time.perf_counter() - start
        return dx


class WeightQuantizer(_Quantizer):
    """A symmetric grid per channel, one for each row, over the range that the weights have now."""

    def _range(self, x):
        return x.min(1, keepdims=True), x.max(1, keepdims=True)

    def _qparams(self, low, high):
        return fq.choose_qparams(low, high, self.bits, symmetric=True)


class ActivationQuantizer(_Quantizer):
    """An affine grid per tensor, over the range of x that training then averages with that of each batch."""

    def __init__(self, bits, x):
        super().__init__(bits)
        self._low, self._high = x.min(), x.max()

    def _range(self, x):
        return self._low, self._high

    def _qparams(self, low, high):
        return fq.choose_qparams(low, high, self.bits, signed=False)

    def forward(self, x):
        self._observe(x)
        return super().forward(x)

    def _observe(self, x):
        self._low += _AVERAGING * (x.min() - self._low)
        self._high += _AVERAGING * (x.max() - self._high)


class InputQuantizer(ActivationQuantizer):
    """For the data, which need no gradient: keeps no mask."""

    def forward(self, x):
        self._observe(x)
        start = time.perf_counter()
        y = self.evaluate(x)
        self.seconds += time.perf_counter() - start
        return y


class LearnedQuantizer(_Quantizer):
    """A grid whose scale is trained (LSQ), by its logarithm so that it stays positive. Keeps x, as its gradient needs.

    starts_from are the parameters it begins with; n is the number of elements that share a scale.
    """

    def __init__(self, bits, starts_from, n):
        super().__init__(bits)
        self.log_scale = np.log(np.atleast_1d(starts_from.scale))
        self._grid = starts_from[1:]
        self._factor = np.float32(fq.scale_gradient_factor(n, starts_from.qmax))
        self.gradient = np.zeros_like(self.log_scale)

    def evaluate(self, x):
        return fq.fake_quantize(x, np.exp(self.log_scale), *self._grid)

    def forward(self, x):
        start = time.perf_counter()
        self._x = x
        y = self.evaluate(x)
        self.seconds += time.perf_counter() - start
        self.x_bytes = self.mask_bytes = x.nbytes
        return y

    def backward(self, dy):
        start = time.perf_counter()
        scale = np.exp(self.log_scale)
        dx, dscale, _ = fq.backward_learnable(dy, self._x, scale, *self._grid)
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

    def quantized(self, bits, x, learn_scale=False):
        """A copy with every weight and every layer's input at that many bits, calibrated on the data x.

        With learn_scale the scales are trained from there on, but for that of the data.
        """
        layers = []
        for old in self.layers:
            kind = ActivationQuantizer if layers else InputQuantizer
            quantizers = kind(bits, x), WeightQuantizer(bits)
            if learn_scale:
                quantizers = _learned(bits, quantizers, (x, old.weight))
            layers.append(Layer(old.weight.copy(), old.bias.copy(), *quantizers))
            x = np.maximum(old.evaluate(x), 0)
        return Network(layers)

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

    def accuracy(self, x, labels):
        """The share of the labels that are right."""
        for layer in self.layers[:-1]:
            x = np.maximum(layer.evaluate(x), 0)
        return float(np.mean(self.layers[-1].evaluate(x).argmax(1) == labels))

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


def _learned(bits, quantizers, tensors):
    """Quantizers that train their scales from those of the given ones on; the data's, which has no gradient, stays."""
    of_input, of_weight = quantizers
    x, weight = tensors
    if not isinstance(of_input, InputQuantizer):
        of_input = LearnedQuantizer(bits, of_input.qparams_of(x), x.shape[1] * BATCH)
    return of_input, LearnedQuantizer(bits, of_weight.qparams_of(weight), weight.shape[1])


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
