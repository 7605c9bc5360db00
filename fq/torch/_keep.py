"""What holds ranges and scales stays float32, whatever becomes of the model around it."""


class Float32:
    """A module whose floating-point tensors keep their type under ``model.bfloat16()``, ``half()`` and ``double()``."""

    def _apply(self, fn, recurse=True):
        def keep(tensor):
            moved = fn(tensor)
            is_cast = tensor.is_floating_point() and moved.dtype != tensor.dtype
            return tensor.to(moved.device) if is_cast else moved

        return super()._apply(keep, recurse)
