"""One file in, one file out: everything a run needs to go on or to be looked at."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from insituml import ranks
from insituml.checkpoint_file import (
    CheckpointFile,
    CheckpointFormatError,
    read_checkpoint_file,
    write_checkpoint_file,
)
from insituml.learner import ContinualLearner
from insituml.locations import local_file
from insituml.methods.base import Method
from insituml.model_class import Trusted, class_name, trusted_class
from insituml.optimisation import AveragedWeights
from insituml.rebuilding import (
    RebuildError,
    build,
    build_without_memory,
    check_same_parts,
    fill,
)
from insituml.shards import cut_state, cut_weights, is_sharded, whole


def save_checkpoint(
    path: Path | str,
    learner: ContinualLearner,
    *,
    method: Method,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    metadata: dict[str, Any],
    average: AveragedWeights | None = None,
) -> Path:
    """Write a learner with all state of its training, atomically and with a checksum.

    On several ranks all call it, and the first one writes what all of them hold, or what each holds
    a part of: the file can be resumed on any number of ranks, sharded or not.

    Parameters
    ----------
    path
        File to write.
    learner, method, optimizer, generator
        As they are in :func:`insituml.training.train`.
    metadata
        Numbers, strings, tensors and nested lists and dictionaries of these: task index, loss
        history, configuration, versions.
    average
        Of the weights: what the file's model is to have. The learner's own weights are then part of
        the state from which training goes on.

    Raises
    ------
    TypeError
        If something cannot be stored; the message says where it is.
    ValueError
        If the learner's constructor would not build it again; the message says what differs.
    """
    writes = ranks.rank() == 0
    training: dict[str, Any] = {
        "method_class": class_name(type(method)),
        "method": method.state_dict(),
        "optimizer": whole(optimizer.state_dict(), keep=writes),
        "generator": generator.get_state(),
    }
    weights = whole(dict(learner.state_dict()), keep=writes) if is_sharded(learner) else None
    if not writes:
        return Path(path)
    model = learner.description()
    if weights is not None:
        model["weights"] = weights
    if average is not None:
        training |= {"weights": model["weights"], "average": average.state_dict()}
        model["weights"] = average.of(model["weights"])
    return write_checkpoint_file(path, CheckpointFile(model, metadata, training))


def load_checkpoint(
    path: Path | str,
    device: torch.device | str = "cpu",
    *,
    trust: Trusted | Iterable[Trusted] = (),
) -> ContinualLearner:
    """Return the learner of a checkpoint, in ``eval`` mode, with ``.metadata``.

    Parameters and buffers have the dtypes in which they were saved, and those that were not
    trained are not. The file decides nothing else: its class must be known or trusted before
    anything is imported or built, and nothing is allocated before shapes agree with the weights.

    Parameters
    ----------
    path
        File written by :func:`save_checkpoint` or ``learner.save_checkpoint``; or an address that
        an installed package fetches, such as ``"runs:/<id>/model"`` or ``"models:/<name>/1"`` of
        MLflow (:mod:`insituml.locations`).
    device
        Where to put the learner.
    trust
        Models that the file may name beside insituml's own and learners that the program has
        defined or imported: a class, a module or its name, or several of these.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or nothing at the address.
    DamagedFileError
        If the file is damaged.
    CheckpointFormatError
        If it is of another format; the message names the version that wrote it. Or if the model's
        class does not build, from the stored arguments, what the weights are of.
    UntrustedModelError
        If its class is not trusted; the message says what to pass.
    ValueError
        If its class cannot be imported, or is no learner, or nobody knows such addresses.
    """
    with local_file(path) as file:
        content = read_checkpoint_file(file)
    cls = trusted_class(content.model["model_class"], trust, str(path))
    learner = _learner(cls, content, path)
    learner.metadata = content.metadata
    return learner.to(device).eval()


def resume(
    path: Path | str,
    learner: ContinualLearner,
    *,
    method: Method,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    average: AveragedWeights | None = None,
) -> dict[str, Any]:
    """Set everything to what a checkpoint holds, in place; return its metadata.

    Training that goes on from here equals training that was never interrupted, bit for bit.

    Raises
    ------
    ValueError
        If the checkpoint is of another method or another model, or holds no state of its training.
    DamagedFileError
        If the file is damaged.
    """
    # Read on the CPU, where generators and Adam's step counts stay; the rest is placed by each.
    content = read_checkpoint_file(path)
    state, expected = content.training, class_name(type(method))
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
    try:
        weights = state.get("weights", content.model["weights"])
        check_same_parts(learner, weights)
        _check_same_dtypes(learner, weights)
        learner.load_state_dict(cut_weights(weights, learner))
        method.load_state_dict(state["method"], learner)
        optimizer.load_state_dict(cut_state(state["optimizer"], optimizer))
        generator.set_state(state["generator"])
        if average is not None:
            average.load_state_dict(state["average"], learner)
    except RebuildError as error:
        raise ValueError(
            f"{path} is of another model: {error}; resume with the model it was trained with"
        ) from error
    except (KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise ValueError(
            f"{path} cannot be resumed from: the state of its training does not fit "
            f"({type(error).__name__}: {error}); resume with the method, optimizer and learner it "
            "was written with"
        ) from error
    return content.metadata


def _check_same_dtypes(learner: ContinualLearner, weights: dict[str, Any]) -> None:
    for key, mine in learner.state_dict().items():
        stored = weights[key]
        if isinstance(mine, torch.Tensor) and mine.dtype != stored.dtype:
            raise RebuildError(f"{key} is {mine.dtype} here and {stored.dtype} in the file")


def _learner(
    cls: type[ContinualLearner], content: CheckpointFile, path: Path | str
) -> ContinualLearner:
    model, weights = content.model, content.model["weights"]
    arguments, generators = model["model_arguments"], model.get("model_generators", [])
    if "model_generators" not in model and _requires_generator(cls):
        generators = ["generator"]
    own = cls.__module__.startswith("insituml.")
    try:
        try:
            shell = build_without_memory(cls, arguments, generators, entries=len(weights))
        except RebuildError:
            # Some constructors compute with values, which meta tensors have not; none of ours.
            if own:
                raise
            shell = None
        if shell is not None:
            check_same_parts(shell, weights)
        learner = build(cls, arguments, generators)
        check_same_parts(learner, weights)
        fill(
            learner,
            weights,
            transient=model.get("model_transient", {}),
            frozen=model.get("model_frozen"),
        )
    except RebuildError as error:
        raise CheckpointFormatError(
            f"{path} holds a {model['model_class']} that its class does not build: {error}; was "
            "the class changed since, or the file?"
        ) from error
    assert isinstance(learner, ContinualLearner)
    return learner


def _requires_generator(cls: type[ContinualLearner]) -> bool:
    """Tell whether files that do not say so need a generator to build this class."""
    parameter = inspect.signature(cls).parameters.get("generator")
    return parameter is not None and parameter.default is parameter.empty
