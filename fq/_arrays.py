"""Arrays on their way to functions of any framework and back: NumPy's as they are, or as the framework's own."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from inspect import unwrap
from types import CodeType, ModuleType
from typing import Any

import numpy as np

__all__ = ["ArrayTypeError", "array_of", "framework_of", "taking_numpy", "tensor_over", "to_numpy"]

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]
_Convert = Callable[[tuple[Any, ...]], Iterable[Any]]

_ROOTS = {"torch": "torch", "jax": "jax", "jaxlib": "jax"}


class ArrayTypeError(TypeError):
    """A framework has no array of this type."""


def taking_numpy(function: Function) -> Function:
    """A function made for the arrays of NumPy, PyTorch or JAX as one that is called with NumPy's.

    The arrays of the framework that the function is made of are tried first, then NumPy's; where the framework is not
    known, NumPy's first, then those of each framework that is imported. What worked is tried first by later calls.

    Parameters
    ----------
    function : callable
        Called with arrays, then scale, zero_point, qmin and qmax.

    Returns
    -------
    callable
        Of the same arguments. The results are not converted: see `to_numpy`. Raises what the function raised when it
        was first tried.
    """
    framework = framework_of(function)
    worked: list[_Convert] = []

    def call(*arguments: Any) -> Any:
        errors = []
        for convert in dict.fromkeys([*worked, *_conversions(framework)]):
            try:
                results = function(*convert(arguments))
            except Exception as error:  # a framework may raise anything for arrays that are not its own
                if framework and isinstance(error, ArrayTypeError):
                    raise
                errors.append(error)
                continue
            worked[:] = [convert]
            return results
        raise errors[0]

    return call


def to_numpy(results: Any) -> Any:
    """What a function gave, as NumPy arrays: a tuple for a tuple or list, None for None."""
    if isinstance(results, tuple | list):
        return tuple(map(to_numpy, results))
    return None if results is None else array_of(results)


def array_of(found: Any) -> Array:
    """What ``np.asarray`` gives, of any tensor of PyTorch too.

    Tensors that require grad are detached, sparse ones made dense, quantized ones dequantized; bfloat16 stays bfloat16.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(found, torch.Tensor):
        return np.asarray(found)
    tensor = found.detach().cpu()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        from ml_dtypes import bfloat16

        return np.asarray(tensor.view(torch.int16).numpy().view(bfloat16))
    return np.asarray(tensor.numpy())


def tensor_over(array: Array) -> Any:
    """PyTorch's tensor over the memory of an array; of a copy where a stride is negative, which PyTorch has not."""
    torch = sys.modules["torch"]
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def framework_of(function: Any) -> str | None:
    """ "torch" or "jax" if a function is one of theirs or names them in its code, otherwise None."""
    while isinstance(function, partial):
        function = function.func
    owner = getattr(function, "__self__", getattr(function, "__objclass__", None))
    kinds = [function, *type(function).__mro__]
    kinds += owner.__mro__ if isinstance(owner, type) else type(owner).__mro__
    for one in [*kinds, *_named_in_code(function)]:
        module = one.__name__ if isinstance(one, ModuleType) else getattr(one, "__module__", None)
        root = str(module).removeprefix("fq.").partition(".")[0]
        if root in _ROOTS:
            return _ROOTS[root]
    return None


def _named_in_code(function: Any) -> list[Any]:
    """What the names in a Python function's code stand for, as far as they are global or in its closure."""
    function = unwrap(function)
    function = getattr(function, "__func__", function)
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _filled(cell)]
    known = getattr(function, "__globals__", {})
    codes: list[CodeType | None] = [getattr(function, "__code__", None)]
    found: list[Any] = []
    for code in codes:
        found += [known[name] for name in getattr(code, "co_names", ()) if name in known]
        codes += [one for one in getattr(code, "co_consts", ()) if hasattr(one, "co_names")]
    return found + cells


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _conversions(framework: str | None) -> list[_Convert]:
    if framework:
        return [_CONVERSIONS[framework], tuple]
    return [tuple, *(convert for name, convert in _CONVERSIONS.items() if name in sys.modules)]


def _converted(arguments: tuple[Any, ...], convert: Callable[[Array], Any]) -> list[Any]:
    """Arrays converted; a parameter without axes becomes a number of Python's, which changes no type."""
    arrays, parameters = arguments[:-4], arguments[-4:]
    numbers = [convert(np.asarray(one)) if np.ndim(one) else np.asarray(one).item() for one in parameters]
    return [*(convert(np.asarray(one)) for one in arrays), *numbers]


def _to_torch(arguments: tuple[Any, ...]) -> list[Any]:
    """Tensors of memory of their own."""
    return _converted(arguments, lambda array: tensor_over(array.astype(array.dtype.newbyteorder("="), order="C")))


def _to_jax(arguments: tuple[Any, ...]) -> list[Any]:
    import jax.numpy as jnp

    def convert(array: Array) -> Any:
        converted = jnp.array(array)
        if converted.dtype != array.dtype and array.dtype.kind == "f":
            raise ArrayTypeError(
                f"JAX makes {converted.dtype} of {array.dtype}: give float32, "
                'or call jax.config.update("jax_enable_x64", True)'
            )
        return converted

    return _converted(arguments, convert)


_CONVERSIONS: dict[str, _Convert] = {"torch": _to_torch, "jax": _to_jax}
