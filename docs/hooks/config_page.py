"""The reference of the configuration: each option with its value and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import griffe
from docstrings import Docstring, find

from insituml_pipelines.common.option_comments import Option, OptionsFile, read_options

GROUPS = {
    "data": "Where the data come from, and how they become tasks.",
    "data/ensemble": "Several simulations, for `insituml stream` alone: `+data/ensemble=FILE`.",
    "experiment": "Data, model and training values that fit together. It stands above the files of "
    "the other groups, and the command line above it.",
    "method": "What keeps a learner from forgetting.",
    "model": "The network.",
    "optimizer": "Any optimizer of torch.",
    "training": "How every method is trained.",
    "transit": "Learning while a simulation runs.",
    "produce": "A field streamed to another process.",
    "reconstruct": "Fields from a checkpoint.",
    "tracking": "Where runs are recorded.",
}
HEAD = """# Configuration

Made from the files of `conf/`: every option with its value there and the comment beside it.
`insituml train --cfg job` prints what a command would run with; `KEY=VALUE` changes a value,
`GROUP=FILE` takes another file.

`${...}` takes the value of another option. `${for_experiment:{default: 1, toy8: 2}}` is 2 in the
experiment toy8 and 1 in the others. `???` has to be given."""
TABLE = "| option | value | what it says |\n|:---|:---|:---|\n"


def config_page(root: Path) -> str:
    """Return the page as Markdown."""
    lines = [
        HEAD,
        "## What runs: `conf/pipeline.yaml`",
        table(root, "pipeline", read_options(root / "conf/pipeline.yaml")),
        "## Top level: `conf/config.yaml`",
        table(root, "", read_options(root / "conf/config.yaml")),
    ]
    for group, purpose in GROUPS.items():
        lines += [f"## `{group}`", purpose]
        for file in sorted((root / "conf" / group).glob("*.yaml")):
            read = read_options(file)
            lines += [f"### `{group}={file.stem}`"]
            if group == "method":
                lines += [f"What it does, and its equation: [{file.stem}](methods.md#{file.stem})."]
            owner = "" if group == "experiment" else group.partition("/")[0]
            lines += [read.description, table(root, owner, read)]
    others = {f.parent.name for f in (root / "conf").glob("*/*.yaml")} - {*GROUPS, "hydra"}
    for group in sorted(others):  # a group that this page does not know of yet
        lines += [f"## `{group}`"]
        for file in sorted((root / "conf" / group).glob("*.yaml")):
            read = read_options(file)
            lines += [f"### `{group}={file.stem}`", read.description, table(root, group, read)]
    return "\n\n".join(line for line in lines if line) + "\n"


def table(root: Path, group: str, read: OptionsFile) -> str:
    """Return the options of a file as a table; empty where it has none.

    Where a file says nothing of an option, the docstring of the class that takes it does.
    """
    rows, targets = [], {o.key.rpartition(".")[0]: o.value for o in read.options if _is_target(o)}
    for option in read.options:
        owner, _, name = option.key.rpartition(".")
        said = option.comment or _documented(root, targets.get(owner, "")).get(name, "")
        if choices := _choices(group, option.key):
            said = f"{said}{'. ' if said else ''}One of {', '.join(f'`{c}`' for c in choices)}."
        if name == "_partial_" or not (option.value or said):
            continue
        key = f"{group}.{option.key}" if group else option.key
        value = f"`{cell(option.value)}`" if option.value else ""
        rows.append(f"| `{key}` | {value} | {cell(said)} |")
    return TABLE + "\n".join(rows) if rows else ""


def cell(text: str) -> str:
    """Return text that may stand in a cell of a table."""
    return text.replace("|", "\\|")


def _is_target(option: Option) -> bool:
    return option.key.rpartition(".")[2] == "_target_"


def _documented(root: Path, target: str) -> dict[str, str]:
    """Return what the docstrings of a class and of those above it say of its parameters."""
    if not target.startswith("insituml."):
        return {}
    found = find(root, target)
    above = found.mro() if isinstance(found, griffe.Class) else []
    said: dict[str, str] = {}
    for owner in (found, *above):
        said = {**Docstring(owner).parameters(), **said}
    return said


def _choices(group: str, key: str) -> tuple[str, ...]:
    """Return the words that an option may be, as the checked sections know them."""
    from insituml_pipelines.common import schema

    section = {
        "training": schema.Training,
        "transit": schema.Transit,
        "reconstruct": schema.Reconstruct,
    }.get(group)
    field = section.model_fields.get(key) if section else None
    words = get_args(field.annotation) if field is not None else ()
    return words if words and all(isinstance(w, str) for w in words) else ()
