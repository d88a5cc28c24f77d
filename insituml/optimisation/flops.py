"""Count the arithmetic of what is done: FLOPs of matrix products, convolutions and factorisations.

A multiplication and an addition are two. Elementwise work is not counted: it is small beside them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

Shape = Sequence[int]


def _matrices(shape: Shape) -> tuple[int, int, int]:
    """Return how many matrices there are, the longer side and the shorter one."""
    longer, shorter = max(shape[-2:]), min(shape[-2:])
    return math.prod(shape[:-2]), longer, shorter


def _svd(shape: Shape, *_: Any, **__: Any) -> int:
    count, m, n = _matrices(shape)
    return count * (6 * m * n**2 + 20 * n**3)


def _eigh(shape: Shape, *_: Any, **__: Any) -> int:
    count, n, n = _matrices(shape)  # they are square
    return count * 9 * n**3


def _qr(shape: Shape, *_: Any, **__: Any) -> int:
    count, m, n = _matrices(shape)
    return count * (4 * m * n**2 - 4 * n**3 // 3)


def _cholesky(shape: Shape, *_: Any, **__: Any) -> int:
    count, n, n = _matrices(shape)  # they are square
    return count * n**3 // 3


_ATEN = torch.ops.aten
FACTORISATIONS: dict[Any, Callable[..., int]] = {
    _ATEN._linalg_svd: _svd,
    _ATEN._linalg_eigh: _eigh,
    _ATEN.linalg_qr: _qr,
    _ATEN.linalg_cholesky_ex: _cholesky,
}
"""Thin and with vectors, after Golub & Van Loan, "Matrix computations", 3rd ed., 5.2 to 8.6.

What a library really does depends on the numbers; its order is this.
"""


class _Counter(TorchDispatchMode):
    """As :class:`torch.utils.flop_counter.FlopCounterMode`, without its hooks on modules.

    Those take the inputs of modules apart, which functions that ``vmap`` transforms do not bear.
    """

    def __init__(self) -> None:
        super().__init__()
        self.formulas = FlopCounterMode(display=False, custom_mapping=FACTORISATIONS).flop_registry
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = self.formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        return result


@contextmanager
def counted_flops() -> Iterator[Callable[[], int]]:
    """Count what is done within, forward and backward; results are the same, bit for bit.

    Yields
    ------
    callable
        Returns the FLOPs so far.
    """
    counter = _Counter()
    with counter:
        yield lambda: counter.flops
