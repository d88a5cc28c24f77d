"""One file in, one file out: everything a run needs to go on or to be looked at."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from insituml.checkpoint_file import (
    CheckpointFile,
    read_checkpoint_file,
    write_checkpoint_file,
)
from insituml.learner import ContinualLearner
from insituml.methods.base import Method


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
    training = {
        "method_class": _name_of(type(method)),
        "method": method.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
    }
    return write_checkpoint_file(path, CheckpointFile(learner.description(), metadata, training))


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
    CheckpointFormatError
        If it is of another format; the message names the version that wrote it.
    ImportError
        If the model's class cannot be imported; the message names it.
    """
    return _learner(read_checkpoint_file(path), path).to(device)


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
        If the checkpoint is of another method, or holds no state of its training.
    DamagedFileError
        If the file is damaged.
    """
    # Read on the CPU, where generators and Adam's step counts stay; the rest is placed by each.
    content = read_checkpoint_file(path)
    state, expected = content.training, _name_of(type(method))
    if state is None:
        raise ValueError(
            f"{path} holds a learner alone: only the last checkpoint of a run keeps the state of "
            "its method and optimizer; resume from that one"
        )
    if state["method_class"] != expected:
        raise ValueError(
            f"{path} was written by method {state['method_class']}, not {expected}; resume with "
            "the method it was trained with"
        )
    learner.load_state_dict(content.model["weights"])
    method.load_state_dict(state["method"], learner)
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return content.metadata


def _name_of(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _learner(content: CheckpointFile, path: Path | str) -> ContinualLearner:
    named_class = content.model["model_class"]
    module, _, name = named_class.partition(":")
    try:
        cls: Any = importlib.import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"{path} holds a {named_class}, which cannot be imported here ({error}); "
            "put its module on the Python path"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, ContinualLearner)):
        raise ImportError(f"{path} names {named_class}, which is no ContinualLearner")
    named = dict(content.model["model_arguments"])
    learner = cls(*named.pop("*", ()), **named)
    learner.load_state_dict(content.model["weights"])
    learner.metadata = content.metadata
    return learner.eval()
