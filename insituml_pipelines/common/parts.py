"""Which part of the tasks a command judges by: what is to be tested is not what is chosen by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml_pipelines.common.cli import Invocation

TEST, VALIDATION = "test", "validation"


def asked_part(call: Invocation) -> str | None:
    """Return the value of ``part``; None where the command is to choose.

    Raises
    ------
    UserError
        If it is no part to judge by.
    """
    part = call.config.part
    if part not in (None, TEST, VALIDATION):
        raise UserError(f"part is {part!r}; expected {VALIDATION} or {TEST}")
    return None if part is None else str(part)


def is_validated(manifest: Manifest) -> bool:
    """Return whether every task has a part to select by."""
    return all(task.validation for task in manifest.tasks)


def swept_part(call: Invocation, *, validated: bool) -> str:
    """Return what a sweep compares its jobs by: the validation part, unless ``part`` says other.

    Raises
    ------
    UserError
        If there is no validation part.
    """
    part = asked_part(call) or VALIDATION
    if part == VALIDATION and not validated:
        raise UserError(
            "a sweep compares its jobs by the error on the validation part, and there is none; set "
            "data.split.validation to a part of each task, such as 0.1, or say part=test to choose "
            "by the data that are to test the choice"
        )
    return part
