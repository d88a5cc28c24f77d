"""The types of the configuration, checked before anything runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node

LARGEST = 10**12
"""A number of epochs or samples above this is a slip: nobody could wait for it."""
Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
CountOrZero = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Whole = Annotated[int, Field(strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=2_000_000, allow_inf_nan=False)]
"""At most 23 days: no longer can the system be asked to wait."""
Fraction = Annotated[float, Field(gt=0, lt=1)]
FractionOrZero = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**64)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[\w.-]*\w[\w.-]*$")]
"""Of something that files are called by: no folder, no blank."""
Text = Annotated[str, Field(min_length=1, pattern=r"^[^\x00\n]*$")]


def _each_once(values: list[Any]) -> list[Any]:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} stands there twice; name each once")
    return values


EachOnce = AfterValidator(_each_once)


class Section(BaseModel):
    """A section of the configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(Section):
    """How to train, the same for every method."""

    epochs: Count
    batch_size: Count
    max_gradient_norm: Positive | None
    memory_size: Count
    reference_size: Count
    seeds: Annotated[list[Seed], Field(min_length=1), EachOnce]
    workers: Annotated[int, Field(strict=True, ge=0, le=4096)]
    threads: Annotated[int, Field(strict=True, ge=1, le=4096)]
    device: Text
    schedule: Literal["constant", "inverse_sqrt", "cosine", "decay"]
    warmup_steps: CountOrZero
    final_rate: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    decay_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    averaging: Fraction | None
    budget: Count | None
    accumulate: Count
    mirror: Annotated[list[Text], EachOnce]
    mirror_kinds: dict[str, Literal["polar", "axial", "scalar"]] | None
    mix_iterations: CountOrZero
    activation_checkpointing: Annotated[bool, Field(strict=True)]
    precision: Literal["float32", "bfloat16"]
    channels_last: Annotated[bool, Field(strict=True)]
    compile: Annotated[bool, Field(strict=True)]
    decoder_device: Text | None
    sharded: Annotated[bool, Field(strict=True)]


class Transit(Section):
    """How to learn from a stream; see conf/transit/default.yaml."""

    folder: str
    methods: Annotated[list[Name], Field(min_length=1), EachOnce] | None
    iterations: (
        Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=3, max_length=3)]
        | None
    )
    slots: Annotated[int, Field(strict=True, ge=2, le=LARGEST)]
    read_blocks: bool | None
    policy: Literal["block", "drop"]
    batches_per_iteration: Count
    max_batches_per_iteration: Count | None
    recent_iterations: Count
    task_samples: Count
    samples_per_iteration: Count
    normalisation_iterations: Count | None
    held_out_bytes: Count
    on_bad_iteration: Literal["skip", "fail"]
    batches_after_death: CountOrZero
    checkpoint_every: Count
    open_timeout: Seconds
    stall_timeout: Seconds


class Split(Section):
    """How data become tasks; without a ``holdout``, test data are the published ones."""

    holdout: Fraction | None
    validation: FractionOrZero | None = None
    normalisation: Literal["first_task", "running", "global"]
    on_bad_iteration: Literal["skip", "fail"] = "fail"
    seed: Seed


class TimeSplit(Split):
    """Tasks are consecutive iterations."""

    by: Literal["time"]
    tasks: Count
    chunk: Annotated[list[Count], Field(min_length=1)] | None = None


class LabelSplit(Split):
    """Tasks are groups of labels."""

    by: Literal["label"]
    groups: Annotated[list[Annotated[list[int], Field(min_length=1)]], Field(min_length=1)]
    chunk: None = None


class Ensemble(Section):
    """Several simulations that one trainer learns from; see conf/data/ensemble/."""

    producers: Count | None = None
    vary: dict[str, Annotated[list[float | int], Field(min_length=1)]] | None = None
    streams: Text | None = None
    simulations: Count | None = None
    tasks: Literal["time", "simulation", "none"] = "time"
    order: Literal["arrival", "fixed"] = "arrival"
    parameters: Annotated[list[Text], EachOnce] | None = None
    restarts: CountOrZero = 0
    join_timeout: Seconds = 60.0


class Data(Section):
    """Where the data come from and how they become tasks."""

    name: Name
    kind: str
    path: Text | None = None
    component: Text | None = None
    iterations: Annotated[list[Whole], Field(min_length=3, max_length=3)] | None = None
    format: Literal["h5", "bp"] = "h5"
    source: Node
    split: Annotated[TimeSplit | LabelSplit, Field(discriminator="by")]
    ensemble: Ensemble | None = None


class Compared(Section):
    """Which methods are compared."""

    methods: Annotated[list[Name], Field(min_length=1), EachOnce]


class Produce(Section):
    """How a field is streamed to another process; the writer checks the queue itself."""

    output: Text
    queue_limit: Annotated[int, Field(strict=True, le=10**9)]
    policy: str
    wait_for_reader: bool
    readers: Count
    open_timeout: Seconds | None
    delay: Annotated[float, Field(ge=0, le=86_400)]


class Reconstruct(Section):
    """Which checkpoint restores a field, and where that is written."""

    checkpoint: Text
    output: Text
    task: CountOrZero | None
    device: Text
    latents: Literal["float32", "float16", "int8"] = "float32"


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
        raise UserError(explain(error, name, section)) from error


SPLITS: dict[str, type[Section]] = {"time": TimeSplit, "label": LabelSplit}


def explain(error: ValidationError, name: str, section: type[Section] = Section) -> str:
    """Return what is wrong with the values of ``name``, on one line."""
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
            said = problem["msg"].lower().removeprefix("value error, ")
            given = repr(problem["input"])
            given = given if len(given) <= 100 else f"{given[:97]}..."
            lines.append(f"{where} is {given}: {said}")
    return "; ".join(lines)
