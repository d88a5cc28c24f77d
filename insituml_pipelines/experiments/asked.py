"""What the command line of ``new_experiment`` asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.experiments.writing import check_name

SHORT = {
    "path": "data.path",
    "record": "data.source.record",
    "component": "data.component",
    "tasks": "data.split.tasks",
    "chunk": "data.split.chunk",
}
"""Names of options that people will try, and the values that they stand for."""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Parameters
    ----------
    name
        Of the experiment.
    path
        Of the data.
    values
        Others of section ``data``, by dotted name below it.
    force
        Whether an earlier one is written over.
    """

    name: str
    path: str
    values: dict[str, Any]
    force: bool


def parsed(arguments: list[str]) -> Asked:
    """Read the command line.

    Raises
    ------
    UserError
        For what is missing or not known.
    """
    names = [argument for argument in arguments if "=" not in argument]
    usage = "insituml new-experiment NAME data.path=PATH"
    if len(names) != 1:
        given = f"{' and '.join(map(repr, names))} are given" if names else "there is no name"
        raise UserError(f"{given}; expected one: {usage}")
    check_name(names[0])
    values: dict[str, Any] = {}
    for argument in arguments:
        key, sign, text = argument.partition("=")
        if not sign:
            continue
        key = SHORT.get(key, key)
        if key not in ("force", "data") and not key.startswith("data."):
            raise UserError(
                f"{key} is not an option of new_experiment; it has {', '.join(SHORT)}, force and "
                "data.KEY: see --help. How to train is written into conf/experiment afterwards"
            )
        # A path is taken as it is: it may have blanks, commas and colons.
        values[key] = text if key in ("data.path", "data") else _value(key, text)
    path, force = values.pop("data.path", ""), values.pop("force", False)
    if not path:
        raise UserError(f"data.path has no value; say where your data are: {usage}")
    if not isinstance(force, bool):
        raise UserError(f"force is {force!r}; expected true or false")
    below = {key.removeprefix("data."): value for key, value in values.items()}
    return Asked(names[0], str(Path(path).expanduser()), below, force)


def _value(key: str, text: str) -> Any:
    try:
        (value,) = OmegaConf.from_dotlist([f"value={text}"]).values()
    except Exception as error:  # of YAML, which is OmegaConf's matter
        raise UserError(f"{key}={text} is no value; write lists as [1,2,3]") from error
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
