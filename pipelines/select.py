"""Choose the experiment that `dvc repro` runs: fill in conf/pipeline.yaml."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

from pipelines.common.cli import CONF, Invocation, run_stage
from pipelines.common.errors import UserError
from pipelines.common.outside_data import watched

SECTIONS = ("data", "pipeline")


def select(choices: dict[str, str], path: str | None, file: Path) -> None:
    """Write the chosen configuration files into ``file``; its methods and comments stay.

    Parameters
    ----------
    choices
        File chosen in each configuration group.
    path
        Outside data that the experiment reads; None: its own configuration file stands for it.
    file
        ``conf/pipeline.yaml``.

    Raises
    ------
    UserError
        If the data lie where DVC cannot watch them.
    """
    from insituml.atomic_file import write_atomically

    text = file.read_text(encoding="utf-8")
    values = {key: choices[key] for key in ("experiment", "data", "model", "optimizer")}
    source = path and watched(path, file.parents[1])
    values["source"] = source or f"conf/data/{choices['data']}.yaml"
    for key, value in values.items():
        plain = value if re.fullmatch(r"[\w./-]+", value) else json.dumps(value)
        # The old value is quoted or one word; a function keeps re.sub from reading backslashes.
        old = rf'(?m)^{key}: ("(?:\\.|[^"])*"|\S+)'
        text = re.sub(old, partial(_instead, f"{key}: {plain}"), text)
    write_atomically(file, text.encode())


def _instead(line: str, _: re.Match[str]) -> str:
    return line


def main(call: Invocation) -> None:
    overrides = [o.partition("=")[0] for o in call.overrides]
    if values := [key for key in overrides if key not in call.choices]:
        raise UserError(
            f"{values[0]} is a value: `dvc repro` reads values from conf/ alone, so write it into "
            f"conf/experiment/{call.choices['experiment']}.yaml or the file that has it"
        )
    select(call.choices, call.section("data").get("path"), CONF / "pipeline.yaml")
    print(f"`dvc repro` now runs experiment {call.choices['experiment']}")


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Choose what `dvc repro` runs, such as experiment=pic.")
