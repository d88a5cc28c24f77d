"""The two files of an experiment: conf/data/NAME.yaml and conf/experiment/NAME.yaml."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node

MARK = "# Written by `insituml new-experiment`"
"""Stands at the top of every file that may be written over."""
MARKS = {MARK, "# Written by `python -m pipelines.new_experiment`"}
"""With that of earlier versions."""
YAML_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
"""That are no text where they stand alone."""


def check_name(name: str) -> None:
    """Refuse a name that is no plain word.

    Raises
    ------
    UserError
        Saying what a name may be.
    """
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) and len(name) <= 100
    if not plain or name.lower() in YAML_WORDS:
        raise UserError(
            f"{name!r} cannot name an experiment; expected a letter, then letters, digits, _ or -, "
            "such as my_run"
        )


def check_free(files: list[Path], *, force: bool) -> None:
    """Refuse to write over files.

    Raises
    ------
    UserError
        If one is there, unless ``force`` is given and it was written here.
    """
    for file in files:
        if not file.exists():
            continue
        if not file.is_file() or not MARKS & {
            *file.read_text(encoding="utf-8", errors="replace").splitlines()[:2]
        }:
            raise UserError(
                f"{file} is there already and was not written by new_experiment; choose another "
                "name"
            )
        if not force:
            raise UserError(
                f"{file} is there already; give force=true to write it anew, or choose another name"
            )


def data_text(template: str, values: dict[str, Any], heading: list[str]) -> str:
    """Return the text of a file of ``conf/data`` with some of its values changed.

    Parameters
    ----------
    template
        Another such file, whose comments beside values stay.
    values
        By dotted name; those of sections that are there, or new ones.
    heading
        Lines of comment above all.
    """
    lines = [line for line in template.splitlines() if not line.startswith("#")]
    for name, value in values.items():
        lines = _with_value(lines, name.split("."), value)
    return "\n".join([MARK, *(f"# {line}" for line in heading), *lines]) + "\n"


def experiment_text(name: str, model: str, model_values: Node, training: Node) -> str:
    """Return the text of a file of ``conf/experiment``, for data of the same name."""
    values = json.dumps(model_values, ensure_ascii=False).replace('"', "")
    values_of_training = "".join(f"\n  {key}: {value}" for key, value in training.items())
    # Hydra looks for the package in the first line alone.
    return f"""# @package _global_
{MARK}
defaults:
  - override /data: {name}
  - override /model: {model}
  - override /optimizer: adam

name: {name}
data: {{}}
model: {values}
optimizer:
  lr: 2.0e-3
training:{values_of_training}
"""


def write_both(files: dict[Path, str]) -> None:
    """Write files, all or none.

    Raises
    ------
    UserError
        If one cannot be written.
    """
    from insituml.atomic_file import write_atomically

    before = {file: file.read_bytes() if file.exists() else None for file in files}
    try:
        for file, text in files.items():
            write_atomically(file, text.encode())
    except OSError as error:
        for file, content in before.items():
            if content is None:
                file.unlink(missing_ok=True)
            elif file.read_bytes() != content:
                write_atomically(file, content)
        raise UserError(f"{error.filename or file} cannot be written: {error.strerror}") from error


def _with_value(lines: list[str], keys: list[str], value: Any) -> list[str]:
    """Return lines of YAML in which one value is another; the comment beside it stays."""
    *sections, key = keys
    start, indent = 0, ""
    for section in sections:
        start = next(i for i, x in enumerate(lines) if x.startswith(f"{indent}{section}:")) + 1
        indent += "  "
    text = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):  # YAML 1.1 takes 1e-06 for a word
        text = re.sub(r"\b(\d+)e([+-]?\d+)", r"\1.0e\2", text)
    for index in range(start, len(lines)):
        if sections and not lines[index].startswith(indent):
            break
        if lines[index].startswith(f"{indent}{key}:"):
            comment = lines[index].partition(" # ")[2]
            lines[index] = f"{indent}{key}: {text}" + (f" # {comment}" if comment else "")
            return lines
    lines.insert(start, f"{indent}{key}: {text}")
    return lines
