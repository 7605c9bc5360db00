"""The same work in other libraries: each adapter gives something to call, or one line on why it cannot.

Every library is used as its users do: those that allocate their results on each call are timed doing so.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.timing import TORCH_LEARNABLE

GRID = 0.05, 0, -128, 127
SCALE, ZERO_POINT, QMIN, QMAX = GRID
ALL_THREADS = os.cpu_count() or 1


class Absent(Exception):
    """Why a peer cannot take part."""


@dataclass
class Peer:
    """`call` does the work; `results` turns what it returns into NumPy's y and mask (None without a mask)."""

    name: str
    threads: int
    call: Callable
    prepare: Callable
    results: Callable
    gives: str = "y and mask"


def nothing():
    """The preparation of a peer that needs none."""


def keeping(run, x, y):
    """A call of `run`, which knows x and y by their addresses alone: the call keeps them alive."""

    def call(kept=(x, y)):
        run()
        return kept[1], None

    return call


def numpy_formula(x, threads):
    """The formula as one would write it."""
    if threads > 1:
        raise Absent("NumPy's functions run in one thread")
    scale = np.float32(SCALE)

    def formula():
        q = np.rint(x / scale) + np.float32(ZERO_POINT)
        mask = (q >= QMIN) & (q <= QMAX)
        return (np.clip(q, QMIN, QMAX) - np.float32(ZERO_POINT)) * scale, mask

    return Peer("NumPy formula", threads, formula, nothing, tuple)


def torch_results(tensors):
    """NumPy arrays of these tensors."""
    return tuple(tensor.numpy() for tensor in tensors)


def torch_eager(x, threads):
    """The forward that PyTorch's autograd runs."""
    import torch

    op = torch.ops.aten.fake_quantize_per_tensor_affine_cachemask
    call = partial(op, torch.from_numpy(x), *GRID)
    return Peer("PyTorch cachemask", threads, call, partial(torch.set_num_threads, threads), torch_results)


def torch_per_channel(x, threads, scale, zero_point, axis):
    """The forward that PyTorch's autograd runs, with a scale and zero point per channel."""
    import torch

    op = torch.ops.aten.fake_quantize_per_channel_affine_cachemask
    channels = torch.from_numpy(scale), torch.from_numpy(zero_point.astype(np.int32))
    call = partial(op, torch.from_numpy(x), *channels, axis, QMIN, QMAX)
    prepare = partial(torch.set_num_threads, threads)
    return Peer("PyTorch per-channel cachemask", threads, call, prepare, torch_results)


def torch_learnable(x, threads, dy, scale, zero_point, axis):
    """The gradients of x, scale and zero_point; axis is that of the channels, None for one scale."""
    import torch

    arrays = [torch.from_numpy(np.ascontiguousarray(each, np.float32)) for each in (dy, x, scale, zero_point)]
    if axis is None:
        op, axes = torch.ops.aten._fake_quantize_learnable_per_tensor_affine_backward, ()
    else:
        op, axes = torch.ops.aten._fake_quantize_learnable_per_channel_affine_backward, (axis,)
    call = partial(op, *arrays, *axes, QMIN, QMAX, 1.0)
    prepare = partial(torch.set_num_threads, threads)
    return Peer(TORCH_LEARNABLE, threads, call, prepare, torch_results, "dx and sums")


def torch_compiled(x, threads):
    """The formula through torch.compile, which needs a C++ compiler."""
    import torch
    import torch._dynamo
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # no pool of compiler processes beside the timings
    torch._dynamo.config.recompile_limit = 64  # each size and number of threads is a compilation

    def formula(tensor, scale):
        q = torch.round(tensor / scale) + ZERO_POINT
        in_range = (q >= QMIN) & (q <= QMAX)
        # uint8 by way of floats: an output of bool makes the generated loop over ten times slower.
        mask = torch.where(in_range, 1.0, 0.0).to(torch.uint8)
        return (torch.clamp(q, QMIN, QMAX) - ZERO_POINT) * scale, mask

    def results(pair):
        return pair[0].numpy(), pair[1].numpy().view(np.bool_)

    compiled = torch.compile(formula, dynamic=False)
    call = partial(compiled, torch.from_numpy(x), torch.tensor(SCALE))
    return Peer("torch.compile", threads, call, partial(torch.set_num_threads, threads), results)


def jax_jit(x, threads):
    """The formula under jax.jit, on the CPU."""
    import jax
    import jax.numpy as jnp

    if threads != ALL_THREADS:
        raise Absent("XLA's threads cannot be set within a process")

    @jax.jit
    def formula(array, scale):
        q = jnp.rint(array / scale) + ZERO_POINT
        return (jnp.clip(q, QMIN, QMAX) - ZERO_POINT) * scale, (q >= QMIN) & (q <= QMAX)

    # The scale is an argument: XLA would turn division by a constant into a multiplication.
    cpu = jax.devices("cpu")[0]
    array, scale = jax.device_put(x, cpu), jax.device_put(np.float32(SCALE), cpu)

    def call():
        return jax.block_until_ready(formula(array, scale))

    name = "JAX, as it is (XLA's own threads)"
    return Peer(name, threads, call, nothing, lambda pair: (np.asarray(pair[0]), np.asarray(pair[1])))


def numba_loop(x, threads):
    """A loop written by hand, into outputs made beforehand."""
    import numba

    # error_model: without a test for division by zero in every step, which keeps the loop from vectorizing.
    @numba.njit(parallel=threads > 1, error_model="numpy")
    def loop(x, scale, y, mask):
        low, high = np.float32(QMIN - ZERO_POINT), np.float32(QMAX - ZERO_POINT)
        for i in numba.prange(x.size):
            q = np.rint(x[i] / scale)
            mask[i] = (low <= q) & (q <= high)
            y[i] = min(max(q, low), high) * scale

    y, mask = np.zeros_like(x), np.zeros(x.shape, np.bool_)
    call = partial(loop, x, np.float32(SCALE), y, mask)
    return Peer("numba loop", threads, call, partial(numba.set_num_threads, threads), lambda _: (y, mask))


def onnx_model(x):
    """QuantizeLinear and DequantizeLinear to int8, as bytes."""
    from onnx import TensorProto, helper

    grid = [
        helper.make_tensor("scale", TensorProto.FLOAT, [], [SCALE]),
        helper.make_tensor("zero_point", TensorProto.INT8, [], [ZERO_POINT]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero_point"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero_point"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(x.shape)) for name in "xy"]
    graph = helper.make_graph(nodes, "qdq", ends[:1], ends[1:], grid)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return model.SerializeToString()


def onnx_runtime(x, threads):
    """QuantizeLinear and DequantizeLinear into an output made beforehand."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_model(x), options, providers=["CPUExecutionProvider"])
    y = np.zeros_like(x)
    binding = session.io_binding()
    for bind, name, array in ((binding.bind_input, "x", x), (binding.bind_output, "y", y)):
        bind(name, "cpu", 0, np.float32, list(array.shape), array.ctypes.data)
    call = keeping(partial(session.run_with_iobinding, binding), x, y)
    return Peer("ONNX Runtime QDQ (y only)", threads, call, nothing, tuple, "y only")


def openvino_op(x, threads):
    """The operation FakeQuantize, into an output made beforehand."""
    sys.modules.setdefault("openvino_telemetry", None)  # which would fork, and report over the network, at import
    import openvino
    from openvino import opset13

    low, high = (np.float32((level - ZERO_POINT) * SCALE) for level in (QMIN, QMAX))
    data = opset13.parameter(list(x.shape), np.float32)
    model = openvino.Model([opset13.fake_quantize(data, low, high, low, high, QMAX - QMIN + 1)], [data])
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    y = np.zeros_like(x)
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    request.set_output_tensor(openvino.Tensor(y, shared_memory=True))
    return Peer("OpenVINO (y only)", threads, keeping(request.infer, x, y), nothing, tuple, "y only")


ADAPTERS = {
    "NumPy formula": numpy_formula,
    "PyTorch eager": torch_eager,
    "PyTorch eager per channel": torch_per_channel,
    "PyTorch learnable": torch_learnable,
    "torch.compile": torch_compiled,
    "JAX": jax_jit,
    "numba": numba_loop,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": openvino_op,
}


OTHER_WORK = {"PyTorch eager per channel", "PyTorch learnable"}  # than that of fq.forward with one scale


def build(name, x, threads, *channels):
    """The peer, called once so that it is compiled and known to work, or a line on why it is absent."""
    try:
        peer = ADAPTERS[name](x, threads, *channels)
        peer.prepare()
        peer.call()
        return peer
    except ModuleNotFoundError as error:
        reason = f"{error.name} is not installed"
    except Absent as error:
        reason = str(error)
    except Exception as error:  # whatever goes wrong in another library must not end the benchmark
        reason = next(iter(str(error).splitlines()), type(error).__name__)
    return f"{name}, {threads} thread{'s' * (threads > 1)}: absent: {reason}"
