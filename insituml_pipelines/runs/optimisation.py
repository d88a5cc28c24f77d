"""From section ``training`` to what drives the optimizer; the same from files and in transit."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node

if TYPE_CHECKING:
    from insituml.execution import Execution
    from insituml.optimisation import Amount, AveragedWeights, Schedule

SCHEDULE = {
    "schedule": "name",
    "warmup_steps": "warmup_steps",
    "final_rate": "final_rate",
    "decay_share": "decay_share",
}
"""Parameters of :class:`~insituml.optimisation.Schedule`, by key."""


def schedule_of(settings: Node) -> Schedule:
    """Return the schedule of the learning rate; constant where nothing is said.

    Raises
    ------
    UserError
        If the values do not fit each other.
    """
    from insituml.optimisation import Schedule

    given = {name: settings[key] for key, name in SCHEDULE.items() if key in settings}
    try:
        return Schedule(**given)
    except ValueError as error:
        raise UserError(f"training: {error}") from error


def average_of(settings: Node) -> AveragedWeights | None:
    """Return what averages the weights for evaluation; None where nothing is said."""
    from insituml.optimisation import AveragedWeights

    decay = settings.get("averaging")
    return None if decay is None else AveragedWeights(decay)


def execution_of(settings: Node) -> Execution:
    """Return how the arithmetic of a step is done; plainly where nothing is said.

    Raises
    ------
    UserError
        If two options exclude each other, or a device computes nothing.
    """
    from insituml.execution import Execution

    if is_meta(settings.get("decoder_device")):
        raise UserError(
            "training.decoder_device is meta, which computes nothing; name a device that does, "
            "such as cuda:1, or null for one device"
        )

    names = [field.name for field in fields(Execution)]
    try:
        return Execution(**{name: settings[name] for name in names if name in settings})
    except ValueError as error:
        raise UserError(f"training: {error}") from error


def is_meta(device: str | None) -> bool:
    """Return whether a device is torch's stand-in for one, which has shapes and no values."""
    return device is not None and device.partition(":")[0] == "meta"


def chosen_options(settings: Node) -> list[str]:
    """Return which options of how a step is computed are chosen, as a section has them."""
    from insituml.execution import Execution

    chosen, plain = execution_of(settings), Execution()
    return [f.name for f in fields(Execution) if getattr(chosen, f.name) != getattr(plain, f.name)]


def amount_of(settings: Node) -> Amount:
    """Return how much a task is trained on, from files."""
    from insituml.optimisation import Amount

    return Amount(
        batch_size=settings["batch_size"],
        epochs=settings["epochs"],
        budget=settings.get("budget"),
        accumulate=settings.get("accumulate", 1),
    )
