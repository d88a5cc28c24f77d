"""One file in, one file out: everything a run needs to go on or to be looked at."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.verified_file import read_verified, write_verified


def save_checkpoint(
    path: Path | str,
    learner: ContinualLearner,
    *,
    method: Method,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    metadata: dict[str, Any],
) -> Path:
    """Write a learner with all state of its training, atomically and with a checksum.

    Parameters
    ----------
    path
        File to write.
    learner, method, optimizer, generator
        As they are in :func:`insituml.training.train`.
    metadata
        Numbers, strings, tensors and nested lists and dictionaries of these: task index, loss
        history, configuration, versions.

    Raises
    ------
    TypeError
        If something cannot be stored; the message says where it is.
    """
    state = {
        **learner.description(),
        "method_class": _name_of(type(method)),
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "metadata": metadata,
    }
    return write_verified(path, state)


def load_checkpoint(path: Path | str, device: torch.device | str = "cpu") -> ContinualLearner:
    """Return the learner of a checkpoint, ready to use, with ``.metadata``.

    Parameters
    ----------
    path
        File written by :func:`save_checkpoint` or ``learner.save_checkpoint``.
    device
        Where to put the learner.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If the file is damaged.
    ImportError
        If the model's class cannot be imported; the message names it.
    """
    return _learner(read_verified(path), path).to(device)


def resume(
    path: Path | str,
    learner: ContinualLearner,
    *,
    method: Method,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Set everything to what a checkpoint holds, in place; return its metadata.

    Training that goes on from here equals training that was never interrupted, bit for bit.

    Raises
    ------
    ValueError
        If the checkpoint is of another method.
    DamagedFileError
        If the file is damaged.
    """
    # Read on the CPU, where generators and Adam's step counts stay; the rest is placed by each.
    state = read_verified(path)
    expected = _name_of(type(method))
    if state["method_class"] != expected:
        raise ValueError(
            f"{path} was written by method {state['method_class']}, not {expected}; resume with "
            "the method it was trained with"
        )
    learner.load_state_dict(state["weights"])
    method.load_state_dict(state["method"], learner)
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return state["metadata"]


def _name_of(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _learner(state: dict[str, Any], path: Path | str) -> ContinualLearner:
    module, _, name = state["model_class"].partition(":")
    try:
        cls: Any = importlib.import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"{path} holds a {state['model_class']}, which cannot be imported here ({error}); "
            "put its module on the Python path"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, ContinualLearner)):
        raise ImportError(f"{path} names {state['model_class']}, which is no ContinualLearner")
    named = dict(state["model_arguments"])
    learner = cls(*named.pop("*", ()), **named)
    learner.load_state_dict(state["weights"])
    learner.metadata = state["metadata"]
    return learner.eval()
