"""The extension module, for type checkers: NumPy's own stubs leave the parameters of a ufunc open."""

from types import ModuleType
from typing import Any, TypedDict, type_check_only

import numpy as np
from numpy.typing import ArrayLike, NDArray

@type_check_only
class _Operation(TypedDict):
    inputs: list[str]
    parameters: list[str]
    outputs: list[str]
    reduction: bool
    packed: str | None

_Bins = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint64]]

divide: dict[str, np.ufunc]
reciprocal: dict[str, np.ufunc]
half_away: dict[str, np.ufunc]
half_up: dict[str, np.ufunc]
floor: dict[str, np.ufunc]
ceil: dict[str, np.ufunc]
toward_zero: dict[str, np.ufunc]
stochastic: dict[str, np.ufunc]
floats: dict[str, np.ufunc]

def cache_threshold() -> int: ...
def compiler() -> str: ...
def get_num_threads() -> int: ...
def has_openmp() -> bool: ...
def operations(rule: str = ..., /) -> dict[str, _Operation]: ...
def rules() -> list[str]: ...
def storages() -> dict[np.dtype, tuple[int, bool]]: ...
def set_num_threads(n: int, /) -> None: ...
def target() -> str: ...
def targets() -> list[str]: ...
def types() -> list[np.dtype]: ...
def xla_handlers() -> dict[str, object]: ...
def _blocks(x: np.ndarray, y: np.ndarray, mask: np.ndarray | None, scales: np.ndarray, *arguments: object) -> None: ...
def _random_words(out: np.ndarray, key0: int, key1: int, start: int, /) -> None: ...
def _all_set(bits: np.ndarray, n: int, /) -> bool: ...
def _into_new(ufunc: np.ufunc, out: object, /, *inputs: object) -> Any: ...
def _describe(ufunc: np.ufunc, doc: str, /) -> None: ...
def _backward_learnable(reciprocal: bool, /, *arguments: object) -> tuple[Any, Any, Any] | None: ...
def _backward_residual(reciprocal: bool, /, *arguments: object) -> tuple[Any, Any, Any] | None: ...
def _backward_residual_packed(reciprocal: bool, /, *arguments: object) -> tuple[Any, Any, Any] | None: ...
def _choose_qparams(type: type, /, *arguments: object) -> Any: ...
def _clip_range(
    method: str, dtype: np.dtype, bins: object, low: object, high: object, steps: int, symmetric: bool, share: float, /
) -> None: ...
def _quantize(reciprocal: bool, /, *arguments: object) -> Any: ...
def _dequantize(q: object, /, *arguments: object) -> Any: ...
def _pack(to: np.ndarray, rows: np.ndarray, n: int, bits: int, /) -> None: ...
def _unpack(to: np.ndarray, packed: np.ndarray, n: int, bits: int, signed: bool, /) -> None: ...
def _help_with(errors: ModuleType, /) -> None: ...
def _tensor_forward(*arguments: object) -> Any: ...
def _tensor_backward(dy: object, bits: object, order: object, row: int, /) -> Any: ...
def _tensor_learn(*arguments: object) -> Any: ...
def _tensor_observed(*arguments: object) -> Any: ...
def _use_torch(*arguments: object) -> bool: ...
def _set_cache_threshold(bytes: int, /) -> None: ...
def _set_target(name: str, /) -> None: ...
def _extremes(
    x: np.ndarray, kept: tuple[bool, ...], /
) -> tuple[NDArray[Any], NDArray[Any], tuple[NDArray[np.uint64], ...] | None]: ...
def _distribution(x: np.ndarray, kept: tuple[bool, ...], /) -> _Bins: ...
def _merge_bins(
    start: np.ndarray,
    keys: np.ndarray,
    cells: np.ndarray,
    other_start: np.ndarray,
    other_keys: np.ndarray,
    other_cells: np.ndarray,
    /,
) -> _Bins: ...
def _values_of_bins(
    dtype: np.dtype,
    start: np.ndarray,
    keys: np.ndarray,
    cells: np.ndarray,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    /,
) -> tuple[NDArray[np.float64], ...]: ...
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
        *args: Any,
        **kwargs: Any,
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]: ...

@type_check_only
class _ForwardResidual(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        zero_point: ArrayLike,
        qmin: ArrayLike,
        qmax: ArrayLike,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[NDArray[Any], NDArray[np.int8]]: ...

@type_check_only
class _Backward(np.ufunc):  # type: ignore[misc]
    def __call__(self, dy: ArrayLike, mask: ArrayLike, *args: Any, **kwargs: Any) -> NDArray[Any]: ...

@type_check_only
class _BackwardPacked(np.ufunc):  # type: ignore[misc]
    def __call__(self, dy: ArrayLike, bits: ArrayLike, *args: Any, **kwargs: Any) -> NDArray[Any]: ...

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
        *args: Any,
        **kwargs: Any,
    ) -> NDArray[Any]: ...

@type_check_only
class _FloatsQuantize(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        mantissa_bits: ArrayLike,
        min_exponent: ArrayLike,
        max: ArrayLike,
        signed_zero: ArrayLike,
        *args: Any,
        **kwargs: Any,
    ) -> NDArray[Any]: ...

@type_check_only
class _FloatsForward(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        mantissa_bits: ArrayLike,
        min_exponent: ArrayLike,
        max: ArrayLike,
        signed_zero: ArrayLike,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]: ...

@type_check_only
class _FloatsForwardPacked(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        x: ArrayLike,
        scale: ArrayLike,
        mantissa_bits: ArrayLike,
        min_exponent: ArrayLike,
        max: ArrayLike,
        signed_zero: ArrayLike,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]: ...

@type_check_only
class _FloatsBackwardRecompute(np.ufunc):  # type: ignore[misc]
    def __call__(
        self,
        dy: ArrayLike,
        x: ArrayLike,
        scale: ArrayLike,
        mantissa_bits: ArrayLike,
        min_exponent: ArrayLike,
        max: ArrayLike,
        signed_zero: ArrayLike,
        *args: Any,
        **kwargs: Any,
    ) -> NDArray[Any]: ...
