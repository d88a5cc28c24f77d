"""torch.compile of what a learner calls while it is trained."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from insituml.execution.precision import parts_of
from insituml.execution.replaced import Replaced
from insituml.learner import ContinualLearner


class _Compiled(Replaced):
    def __init__(self, module: nn.Module, backend: str) -> None:
        super().__init__(module)
        self.backend = backend
        # A function of the module, not the module: its parameters keep their names.
        self._call = torch.compile(self.usual, backend=backend)

    def trained(self, *inputs: Any, **options: Any) -> Any:
        return self._call(*inputs, **options)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Compiled:
        again = _Compiled.__new__(_Compiled)
        memo[id(self)] = again
        again.module = copy.deepcopy(self.module, memo)
        again.inner = copy.deepcopy(self.inner, memo)
        again.backend = self.backend
        again._call = torch.compile(again.usual, backend=self.backend)
        return again


def compile_parts(learner: ContinualLearner, backend: str = "inductor") -> None:
    """Compile each part of a learner, when it is first trained and for each size of a batch.

    What is compiled draws random numbers in its own way: the masks of dropout are others.

    Parameters
    ----------
    learner
        Changed in place.
    backend
        Of ``torch.compile``; ``"inductor"`` needs a C++ compiler, or Triton on a GPU.

    Raises
    ------
    ValueError
        If it has no parts.
    """
    for part in parts_of(learner, "compile"):
        _Compiled(part, backend)
