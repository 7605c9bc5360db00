"""Types of the ufuncs, for type checkers alone: NumPy's own stubs leave the parameters of a ufunc open."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

class _Quantize(np.ufunc):
    def __call__(  # type: ignore[override]
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

class _Forward(np.ufunc):
    def __call__(  # type: ignore[override]
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

class _ForwardPacked(np.ufunc):
    def __call__(  # type: ignore[override]
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

class _Backward(np.ufunc):
    def __call__(  # type: ignore[override]
        self, dy: ArrayLike, mask: ArrayLike, /, *args: Any, **kwargs: Any
    ) -> NDArray[Any]: ...

class _BackwardPacked(np.ufunc):
    def __call__(  # type: ignore[override]
        self, dy: ArrayLike, bits: ArrayLike, /, *args: Any, **kwargs: Any
    ) -> NDArray[Any]: ...

class _BackwardRecompute(np.ufunc):
    def __call__(  # type: ignore[override]
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
