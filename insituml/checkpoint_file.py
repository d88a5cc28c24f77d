"""The one format of checkpoints: a model, what is known about it, and where training stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from insituml.verified_file import read_verified, write_verified
from insituml.version import __version__

FORMAT = 1
"""Version of the layout; a reader refuses others."""


_REQUIRED = {"model_class": str, "model_arguments": dict, "weights": dict, "metadata": dict}
_OPTIONAL = {"model_generators": list, "model_frozen": list, "model_transient": dict}
_TRAINING = {"method_class", "method", "optimizer", "generator"}


class CheckpointFormatError(ValueError):
    """A file of another format than this version of insituml reads."""


@dataclass(frozen=True)
class CheckpointFile:
    """Content of a checkpoint.

    Parameters
    ----------
    model
        What builds the learner again: ``model_class``, ``model_arguments`` and ``weights``; and,
        where they are known, ``model_generators`` (names of arguments that are generators),
        ``model_frozen`` (names of parameters that are not trained) and ``model_transient`` (dtypes
        of the buffers that are no part of the weights).
    metadata
        What is known about it: nested plain values.
    training
        ``method_class`` and the state of method, optimizer and generator, from which training goes
        on; where the model's weights are averages, its own ``weights`` and the ``average``. None in
        a checkpoint that is only looked at.
    """

    model: dict[str, Any]
    metadata: dict[str, Any]
    training: dict[str, Any] | None = None


def write_checkpoint_file(path: Path | str, content: CheckpointFile) -> Path:
    """Write a checkpoint atomically and with a checksum.

    Raises
    ------
    TypeError
        If something cannot be stored; the message says where it is.
    """
    state = {
        "format": FORMAT,
        "insituml": __version__,
        **content.model,
        "metadata": content.metadata,
        "training": content.training,
    }
    return write_verified(path, state)


def read_checkpoint_file(path: Path | str) -> CheckpointFile:
    """Read a checkpoint; tensors are on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is damaged.
    CheckpointFormatError
        If it has another format; the message names the version that wrote it.
    """
    state = read_verified(path)
    found = state.get("format")
    if type(found) is not int or found != FORMAT:
        raise CheckpointFormatError(
            f"{path} was written by insituml {_writer(state)} in checkpoint format "
            f"{_number(found)}; insituml {__version__} reads format {FORMAT}: train again, or read "
            "it with the version that wrote it"
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(state.get(key), kind):
            arrived = type(state[key]).__name__ if key in state else "missing"
            raise CheckpointFormatError(
                f"{path} is no checkpoint of insituml: {key} is {arrived}; expected {kind.__name__}"
            )
    model = {key: state[key] for key in ("model_class", "model_arguments", "weights")}
    for key, kind in _OPTIONAL.items():
        if not isinstance(state.get(key, kind()), kind):
            raise CheckpointFormatError(
                f"{path} is no checkpoint of insituml: {key} is a {type(state[key]).__name__}; "
                f"expected {kind.__name__}"
            )
        if key in state:
            model[key] = state[key]
    names = [model["weights"], model["model_arguments"], *(model.get(k, ()) for k in _OPTIONAL)]
    if not all(isinstance(name, str) for part in names for name in part):
        raise CheckpointFormatError(f"{path} is no checkpoint of insituml: a name is no string")
    if not all(isinstance(d, torch.dtype) for d in model.get("model_transient", {}).values()):
        raise CheckpointFormatError(f"{path} is no checkpoint of insituml: a dtype is none")
    training = state.get("training")
    if training is not None and not (isinstance(training, dict) and training.keys() >= _TRAINING):
        raise CheckpointFormatError(
            f"{path} is no checkpoint of insituml: training is no dictionary of "
            f"{', '.join(sorted(_TRAINING))}"
        )
    return CheckpointFile(model, state["metadata"], training)


def drop_training_state(path: Path | str) -> None:
    """Rewrite a checkpoint without the state that only going on from it needs."""
    content = read_checkpoint_file(path)
    if content.training is not None:
        write_checkpoint_file(path, replace(content, training=None))


def _number(found: Any) -> str:
    return str(found or 0)[:20]


def _writer(state: dict[str, Any]) -> str:
    """Return the version of insituml that wrote a file, as far as it says so."""
    if "insituml" in state:
        return str(state["insituml"])
    metadata = state.get("metadata")
    versions = metadata.get("versions") if isinstance(metadata, dict) else None
    known = versions.get("insituml") if isinstance(versions, dict) else None
    return "0.1.0 or earlier" if known is None else str(known)
