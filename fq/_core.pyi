"""The extension module, for type checkers: NumPy's own stubs leave the parameters of a ufunc open."""

from typing import Any, type_check_only

import numpy as np
from numpy.typing import ArrayLike, NDArray

divide: dict[str, np.ufunc]
reciprocal: dict[str, np.ufunc]

def cache_threshold() -> int: ...
def compiler() -> str: ...
def get_num_threads() -> int: ...
def has_openmp() -> bool: ...
def set_num_threads(n: int, /) -> None: ...
def target() -> str: ...
def targets() -> list[str]: ...
def types() -> list[np.dtype]: ...
def xla_handlers() -> dict[str, object]: ...
def _all_set(bits: np.ndarray, n: int, /) -> bool: ...
def _into_new(ufunc: np.ufunc, out: object, /, *inputs: object) -> Any: ...
def _describe(ufunc: np.ufunc, doc: str, /) -> None: ...
def _learnable_plain(
    reciprocal: bool,
    dy: object,
    x: object,
    scale: object,
    zero_point: object,
    qmin: object,
    qmax: object,
    out: object,
    /,
) -> tuple[Any, Any, Any] | None: ...
def _learnable(
    reciprocal: int,
    dx: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    scale: np.ndarray,
    zero_point: np.ndarray,
    qmin: np.ndarray,
    qmax: np.ndarray,
    keys: np.ndarray,
    sums: np.ndarray,
    /,
) -> None: ...
def _set_cache_threshold(bytes: int, /) -> None: ...
def _set_target(name: str, /) -> None: ...
def _use_large_pages(memory: np.ndarray, /) -> None: ...

@type_check_only
class _Quantize(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        zero_point: ArrayLike,
        qmin: ArrayLike,
        qmax: ArrayLike,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> NDArray[Any]: ...

@type_check_only
class _Forward(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        zero_point: ArrayLike,
        qmin: ArrayLike,
        qmax: ArrayLike,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]: ...

@type_check_only
class _ForwardPacked(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        zero_point: ArrayLike,
        qmin: ArrayLike,
        qmax: ArrayLike,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]: ...

@type_check_only
class _Backward(np.ufunc):  # type: ignore[misc]
    def __call__(self, dy: ArrayLike, mask: ArrayLike, /, *args: Any, **kwargs: Any) -> NDArray[Any]: ...

@type_check_only
class _BackwardPacked(np.ufunc):  # type: ignore[misc]
    def __call__(self, dy: ArrayLike, bits: ArrayLike, /, *args: Any, **kwargs: Any) -> NDArray[Any]: ...

@type_check_only
class _BackwardRecompute(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        dy: ArrayLike,
        x: ArrayLike,
        scale: ArrayLike,
        zero_point: ArrayLike,
        qmin: ArrayLike,
        qmax: ArrayLike,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> NDArray[Any]: ...
