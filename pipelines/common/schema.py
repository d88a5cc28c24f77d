"""The types of the configuration, checked before anything runs."""

from __future__ import annotations

import inspect
import pydoc
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.common.errors import UserError
from pipelines.common.node import Node

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A section of the configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Training(Section):
    """How to train, the same for every method."""

    epochs: Count
    batch_size: Count
    max_gradient_norm: Positive | None
    memory_size: Count
    reference_size: Annotated[int, Field(ge=0)]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    workers: Annotated[int, Field(ge=0)]
    threads: Count
    device: str


class Transit(Section):
    """How to learn from a stream; see conf/transit/default.yaml."""

    folder: str
    methods: Annotated[list[str], Field(min_length=1)] | None
    iterations: Annotated[list[int], Field(min_length=3, max_length=3)] | None
    slots: Annotated[int, Field(ge=2)]
    policy: Literal["block", "drop"]
    batches_per_iteration: Count
    max_batches_per_iteration: Count | None
    recent_iterations: Count
    task_samples: Count
    samples_per_iteration: Count
    normalisation_iterations: Count | None
    held_out_bytes: Count
    on_bad_iteration: Literal["skip", "fail"]
    batches_after_death: Annotated[int, Field(ge=0)]
    checkpoint_every: Count
    open_timeout: Positive
    stall_timeout: Positive


class Split(Section):
    """How data become tasks; without a ``holdout``, test data are the published ones."""

    holdout: Annotated[float, Field(gt=0, lt=1)] | None
    normalisation: Literal["first_task", "running", "global"]
    on_bad_iteration: Literal["skip", "fail"] = "fail"
    seed: int


class TimeSplit(Split):
    """Tasks are consecutive iterations."""

    by: Literal["time"]
    tasks: Count
    chunk: list[Count] | None = None


class LabelSplit(Split):
    """Tasks are groups of labels."""

    by: Literal["label"]
    groups: Annotated[list[list[int]], Field(min_length=1)]
    chunk: None = None


class Data(Section):
    """Where the data come from and how they become tasks."""

    name: str
    kind: str
    path: str | None = None
    component: str | None = None
    format: Literal["h5", "bp"] = "h5"
    source: Node
    split: Annotated[TimeSplit | LabelSplit, Field(discriminator="by")]


class Produce(Section):
    """How a field is streamed to another process; the writer checks the queue itself."""

    output: str
    queue_limit: int
    policy: str
    wait_for_reader: bool
    open_timeout: Positive | None
    delay: Annotated[float, Field(ge=0)]


class Reconstruct(Section):
    """Which checkpoint restores a field, and where that is written."""

    checkpoint: str
    output: str
    task: Annotated[int, Field(ge=0)] | None
    device: str


def validate(section: type[Section], values: Node, name: str) -> Any:
    """Return ``values`` as a ``section``.

    Raises
    ------
    UserError
        Naming each wrong key, what arrived and what is accepted.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error, name, section)) from error


def validate_target(node: Node, name: str) -> None:
    """Check a ``_target_`` node's arguments against the signature of what it builds.

    Nodes among its arguments, and in lists of them, are checked in the same way.

    Raises
    ------
    UserError
        If the target cannot be imported, an argument is unknown or has the wrong type, or a node
        is built where a function that builds it is expected.
    """
    path = node.get("_target_")
    try:
        target = path and pydoc.locate(path)
    except pydoc.ErrorDuringImport as error:
        raise UserError(f"{name}._target_ cannot be imported: {error}") from error
    if target is None:
        raise UserError(f"{name}._target_ is {path!r}; give the full name of a class or function")
    parameters = _parameters(target)
    hints = _hints(target)
    for key, value in node.items():
        if key.startswith("_") and key.endswith("_"):
            continue
        if key not in parameters:
            raise UserError(
                f"{name}.{key} is not an option of {node['_target_']}; "
                f"accepted: {', '.join(sorted(parameters)) or 'none'}"
            )
        for place, nested in _nodes(value, f"{name}.{key}"):
            _check_partial(nested, place, hints.get(key))
            validate_target(nested, place)
        if key in hints and not _nodes(value, ""):
            try:
                TypeAdapter(hints[key]).validate_python(value)
            except ValidationError as error:
                raise UserError(_explain(error, f"{name}.{key}")) from error


def _nodes(value: Any, name: str) -> list[tuple[str, Node]]:
    """Return the ``_target_`` nodes that a value is, or that a list holds, and their places."""
    entries = [(f"{name}.{i}", v) for i, v in enumerate(value)] if isinstance(value, list) else []
    return [(n, v) for n, v in [(name, value), *entries] if isinstance(v, dict) and "_target_" in v]


def _check_partial(node: Node, name: str, hint: Any) -> None:
    """Where a function is expected, or a list of them, a node must not be built at once."""
    kinds = [typing.get_origin(h) for h in (hint, *typing.get_args(hint))]
    if Callable in kinds and not node.get("_partial_"):
        raise UserError(f"{name} is built by what it is given to; it needs {name}._partial_=true")


def _functions(target: Any) -> list[Callable[..., Any]]:
    """Return what takes a target's arguments: a ``**`` argument is handed on to the base class."""
    functions: list[Callable[..., Any]] = []
    own = (
        [vars(c)["__init__"] for c in target.__mro__ if "__init__" in vars(c)]
        if (isinstance(target, type))
        else [target]
    )
    for function in own:
        functions.append(function)
        parameters = inspect.signature(function).parameters.values()
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return functions


def _parameters(target: Any) -> set[str]:
    names: set[str] = set()
    for function in _functions(target):
        parameters = inspect.signature(function).parameters.values()
        names.update(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    return names - {"self", "generator", "params", "build"}


def _hints(target: Any) -> Node:
    """Return the annotations pydantic can check: plain types, not tensors or optimizers' unions."""
    plain: Node = {}
    for function in reversed(_functions(target)):
        for key, hint in typing.get_type_hints(function).items():
            if "torch" not in str(hint) and key not in ("return", "generator"):
                plain[key] = hint
    return plain


SPLITS: dict[str, type[Section]] = {"time": TimeSplit, "label": LabelSplit}


def _explain(error: ValidationError, name: str, section: type[Section] = Section) -> str:
    lines = []
    for problem in error.errors():
        owner: type[Section] = section
        for part in problem["loc"]:
            owner = SPLITS.get(str(part), owner)
        where = ".".join([name, *(str(part) for part in problem["loc"] if part not in SPLITS)])
        if problem["type"] == "extra_forbidden":
            parent, accepted = where.rpartition(".")[0], ", ".join(owner.model_fields)
            lines.append(f"{where} is not a key of {parent}; accepted: {accepted}")
        elif problem["type"] == "missing":
            lines.append(f"{where} is missing; give it a value")
        elif problem["type"] == "callable_type":
            given = f"{where} is {problem['input']!r}"
            lines.append(f"{given}; expected a node with _target_ and _partial_: true")
        else:
            lines.append(f"{where} is {problem['input']!r}: {problem['msg'].lower()}")
    return "; ".join(lines)
