"""Copies of learners, with whatever their last pass left behind."""

from __future__ import annotations

import copy
import gc
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

from insituml.learner import ContinualLearner

_SHARED = (
    *(type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, FrameType),
    *(str, bytes, int, float, complex, type(None)),
)
"""What deepcopy takes as it is, and does not look into."""


def copied(learner: ContinualLearner) -> ContinualLearner:
    """Return a deep copy; tensors of the last pass, wherever they are kept, lose their graph.

    Raises
    ------
    ValueError
        If it keeps something that cannot be copied, such as a lock or an open file.
    """
    try:
        return copy.deepcopy(learner, _detached(learner))
    except Exception as error:  # whatever the user's own attributes may raise
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{type(learner).__name__} cannot be copied ({type(error).__name__}: {reason}), which "
            "methods with a teacher need; keep locks, files and other handles outside of it, or "
            "give what holds them a __deepcopy__"
        ) from error


def check_copyable(learner: ContinualLearner) -> None:
    """Raise a ValueError before training if :func:`copied` would after it."""
    copied(learner)


def _detached(learner: ContinualLearner) -> dict[int, Any]:
    """Return copies of what deepcopy refuses: tensors that are part of a graph, and generators."""
    copies: dict[int, Any] = {}
    seen: set[int] = set()
    waiting: list[Any] = [learner]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, _SHARED):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if not value.is_leaf:
                copies[id(value)] = value.detach().clone()
            waiting += vars(value).values()
        elif isinstance(value, torch.Generator):
            copies[id(value)] = value.clone_state()
        else:
            waiting += gc.get_referents(value)
    return copies
