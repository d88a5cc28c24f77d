"""The one format of checkpoints: a model, what is known about it, and where training stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from insituml.verified_file import read_verified, write_verified
from insituml.version import __version__

FORMAT = 1
"""Version of the layout; a reader refuses others."""


class CheckpointFormatError(ValueError):
    """A file of another format than this version of insituml reads."""


@dataclass(frozen=True)
class CheckpointFile:
    """Content of a checkpoint.

    Parameters
    ----------
    model
        ``model_class``, ``model_arguments`` and ``weights``: what builds the learner again.
    metadata
        What is known about it: nested plain values.
    training
        ``method_class`` and the state of method, optimizer and generator, from which training goes
        on; None in a checkpoint that is only looked at.
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
    if found != FORMAT:
        raise CheckpointFormatError(
            f"{path} was written by insituml {_writer(state)} in checkpoint format {found or 0}; "
            f"insituml {__version__} reads format {FORMAT}: train again, or read it with the "
            "version that wrote it"
        )
    model = {key: state[key] for key in ("model_class", "model_arguments", "weights")}
    return CheckpointFile(model, state["metadata"], state["training"])


def drop_training_state(path: Path | str) -> None:
    """Rewrite a checkpoint without the state that only going on from it needs."""
    content = read_checkpoint_file(path)
    if content.training is not None:
        write_checkpoint_file(path, replace(content, training=None))


def _writer(state: dict[str, Any]) -> str:
    """Return the version of insituml that wrote a file, as far as it says so."""
    if "insituml" in state:
        return str(state["insituml"])
    versions = state.get("metadata", {}).get("versions", {})
    return str(versions.get("insituml", "0.1.0 or earlier"))
