"""Choose the experiment that `dvc repro` runs: fill in conf/pipeline.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf

from insituml_pipelines.common.cli import CONF, Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.located import located
from insituml_pipelines.common.log import say
from insituml_pipelines.common.outside_data import watched
from insituml_pipelines.common.project_folder import check_own
from insituml_pipelines.runs.own_learner import KEY

SECTIONS = ("data", "model", "pipeline")


LEFT_OUT = "  # cannot be compared here, says insituml select"
NOTED = "  # cannot be compared here, says (?:insituml |pipelines\\.)select"
"""As files have it, those of earlier versions too."""


def select(
    choices: dict[str, str], path: str | None, file: Path, *, without: Collection[str] = ()
) -> None:
    """Write the chosen configuration files into ``file``; its methods and comments stay.

    Parameters
    ----------
    choices
        File chosen in each configuration group.
    path
        Outside data that the experiment reads; None: its own configuration file stands for it.
    file
        ``conf/pipeline.yaml``.
    without
        Methods that cannot be compared in this experiment: their lines become comments, and lines
        again when another one is chosen.

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
    text = re.sub(rf"(?m)^( *)# (- .*){NOTED}$", r"\1\2", text)
    for name in without:
        text = re.sub(rf"(?m)^( *)(- {name}\b.*)$", rf"\1# \2{LEFT_OUT}", text)
    write_atomically(file, text.encode())


def _instead(line: str, _: re.Match[str]) -> str:
    return line


def incomparable(model_target: str) -> list[str]:
    """Return the methods that bring a learner of their own, where the model does not reconstruct.

    Raises
    ------
    UserError
        If there is no such model.
    """
    if not getattr(located(model_target, "model"), "generative", False):
        return []
    files = sorted((CONF / "method").glob("*.yaml"))
    return [file.stem for file in files if KEY in OmegaConf.load(file)]


def main(call: Invocation) -> None:
    check_own(CONF)
    overrides = [o.partition("=")[0] for o in call.overrides]
    if values := [key for key in overrides if key not in call.choices]:
        raise UserError(
            f"{values[0]} is a value: `dvc repro` reads values from conf/ alone, so write it into "
            f"conf/experiment/{call.choices['experiment']}.yaml or the file that has it"
        )
    without = incomparable(str(call.config.model["_target_"]))
    path = call.section("data").get("path")
    select(call.choices, path, CONF / "pipeline.yaml", without=without)
    say(f"`dvc repro` now runs experiment {call.choices['experiment']}")
    if without:
        say(
            f"without {', '.join(without)}, which reconstructs: this experiment's model is judged "
            "by another error"
        )


def command() -> None:
    """Run from the command line."""
    run_stage(main, SECTIONS, "Choose what `dvc repro` runs, such as experiment=pic.")


if __name__ == "__main__":
    command()
