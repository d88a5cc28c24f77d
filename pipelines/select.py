"""Choose the experiment that `dvc repro` runs: fill in conf/pipeline.yaml."""

from __future__ import annotations

import re
from pathlib import Path

from omegaconf import OmegaConf

from pipelines.cli import CONF, Invocation, run_stage

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
    """
    from insituml.atomic_file import write_atomically

    text = file.read_text()
    values = {key: choices[key] for key in ("experiment", "data", "model", "optimizer")}
    values["source"] = path or f"conf/data/{choices['data']}.yaml"
    for key, value in values.items():
        text = re.sub(rf"(?m)^{key}: \S+", f"{key}: {value}", text)
    OmegaConf.create(text)
    write_atomically(file, text.encode())


def main(call: Invocation) -> None:
    select(call.choices, call.section("data").get("path"), CONF / "pipeline.yaml")
    print(f"`dvc repro` now runs experiment {call.choices['experiment']}")


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Choose what `dvc repro` runs, such as experiment=pic.")
