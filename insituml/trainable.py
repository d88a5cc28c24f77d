"""What is checked before a learner is trained, and of each loss; where its samples must lie."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.task import Batch, Task, sent
from insituml.learner import ContinualLearner
from insituml.methods.base import Method


def check_optimizer(optimizer: torch.optim.Optimizer, learner: ContinualLearner) -> None:
    """Refuse an optimizer that cannot train this learner.

    Warns where a parameter that can be trained is left to nobody, even all of them: an optimizer
    of something else altogether leaves the learner as it is.

    Raises
    ------
    ValueError
        If its step needs a closure, as that of LBFGS does, or it holds a parameter that seems to
        have been the learner's: one beside the learner's own, or one of the same shape.
    """
    name = type(optimizer).__name__
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"{name}.step needs a closure that evaluates the loss several times, but gradients are "
            "corrected once a step; use an optimizer that takes one gradient, such as Adam or SGD"
        )
    named = {id(p): key for key, p in learner.named_parameters()}
    held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    foreign = [p for key, p in held.items() if key not in named]
    shapes = {p.shape for p in learner.parameters()}
    if foreign and (len(foreign) < len(held) or any(p.shape in shapes for p in foreign)):
        raise ValueError(
            f"{len(foreign)} of the {len(held)} parameters of {name} are not "
            f"{type(learner).__name__}'s (was a layer replaced, or the learner copied or loaded?); "
            "build the optimizer again from learner.parameters()"
        )
    left = [key for key, p in learner.named_parameters() if p.requires_grad and id(p) not in held]
    if left:
        warnings.warn(
            f"{len(left)} trainable parameters, such as {left[0]}, are not in {name} and stay as "
            "they are; give them to it, or freeze them with requires_grad_(False)",
            stacklevel=3,
        )


def check_ranks(learner: ContinualLearner) -> None:
    """Raise ValueError where several ranks would normalise by statistics of their own samples."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    # SyncBatchNorm as well: it waits for all ranks, of which one without samples does not come.
    own = [n for n, part in learner.named_modules() if isinstance(part, kind)]
    if ranks.size() > 1 and own:
        raise ValueError(
            f"{type(learner).__name__} has batch normalisation ({own[0]}), which on several ranks "
            "would take the statistics of each one's samples, or wait for a rank without any; use "
            "layer or group normalisation, or one rank"
        )


def check_in_transit(method: Method) -> None:
    """Raise ValueError unless a method learns tasks one after the other, as they come."""
    if not method.learns_in_transit:
        raise ValueError(
            f"{type(method).__name__} trains on several tasks at once, which no stream can give "
            "again; train it on files"
        )


def check_count(name: str, value: Any) -> None:
    """Raise ValueError unless a number is a whole one of 1 or more."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number of 1 or more")


def check_samples(task: Task) -> None:
    """Raise ValueError unless a task has samples to train on, in columns of one length."""
    where = f"task {task.index} ({task.name})"
    if len(task.train) == 0 or len(task.train[0]) == 0:
        raise ValueError(f"{where} has no sample to train on")
    lengths = [len(column) for column in task.train]
    if len(set(lengths)) > 1:
        raise ValueError(f"{where} has columns of {lengths} samples; expected one row each")


def moved(samples: Batch, learner: ContinualLearner) -> Batch:
    """Return samples on the device of a learner."""
    device = next(learner.parameters()).device
    return tuple(sent(column, device) for column in samples)


def check_loss(loss: Any, learner: ContinualLearner) -> Tensor:
    """Return a loss that can be minimised.

    Raises
    ------
    ValueError
        If it is no scalar tensor, or no trained parameter takes part in it.
    """
    name = type(learner).__name__
    if not isinstance(loss, Tensor):
        raise ValueError(
            f"the loss of {name} is a {type(loss).__name__}; expected a scalar tensor, which keeps "
            "the way back to the parameters (no .item() or float())"
        )
    if loss.numel() != 1 or loss.is_complex():
        raise ValueError(
            f"the loss of {name} has shape {tuple(loss.shape)} and {loss.dtype}; expected one real "
            "number, the mean over the batch"
        )
    if not loss.requires_grad:
        raise ValueError(
            f"no trainable parameter takes part in the loss of {name}; was it detached, computed "
            "under torch.no_grad(), or is every parameter frozen?"
        )
    return loss.reshape(())


def normalises_batches(learner: ContinualLearner) -> bool:
    """Tell whether a layer in training mode takes its statistics from the batch."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    return any(isinstance(part, kind) and part.training for part in learner.modules())
