"""Whether anything else holds a tensor, whose memory may be written to where nothing does.

PyTorch's engine asks the same of a gradient before it adds another to it in place. It counts C++'s references; a hook
may keep Python's object as well, so that Python's are counted too. How many there are of a tensor that nothing else
holds depends on the versions of both: they are counted once on one that is known to be so.
"""

import functools
import sys

import torch


def references(tensor):
    """References to the object, the tensor, and its memory. A caller gives a local variable, in a statement of its own:
    the interpreter's own references count."""
    return sys.getrefcount(tensor), *in_graph(tensor)


def in_graph(tensor):
    """References to the tensor and to its memory, by C++ and so by what a graph saves for its backward."""
    return tensor._use_count(), torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


@functools.cache
def of_a_result_alone():
    """What `in_graph` says of a result that no graph has saved; None where it does not tell it from another."""
    result = torch.ones(1, device="cpu")
    alone = in_graph(result)
    _saved, shared = result.detach(), in_graph(result)
    return alone if alone != shared else None


@functools.cache
def of_a_gradient_alone():
    """What `references` says in `backward(ctx, dy)` of a dy that nothing else holds; None where it does not tell it
    from others."""
    alone, kept, shared = _counted(), _counted(keep=True), _counted(share=True)
    return alone if alone not in (kept, shared) else None


class _Counting(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, found):
        ctx.found = found
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        found = references(dy)
        ctx.found.append(found)
        return dy, None


def _counted(keep=False, share=False):
    """What `references` says in a backward: of a gradient that a hook keeps, or that goes to two places."""
    found, gradients = [], []
    with torch.enable_grad():
        x = torch.ones(1, device="cpu", requires_grad=True) + 1
        y = _Counting.apply(x, found)
        if keep:
            y.register_hook(gradients.append)
        if share:
            y = y + x
        y.neg().backward()
    return found[0]
