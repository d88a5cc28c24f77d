"""Write an experiment for data of one's own: look at them, propose how to learn them."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import note, say
from insituml_pipelines.common.node import Node
from insituml_pipelines.experiments.asked import Asked, parsed

DESCRIPTION = """Write conf/data/NAME.yaml and conf/experiment/NAME.yaml for a field of your own.

usage: insituml new-experiment NAME data.path=PATH [record=E] [OPTION=VALUE ...]

  NAME                what to call it
  data.path=PATH      an openPMD file, BP folder, folder of these or pattern with %T; or a folder of
                      data_<iteration>.npy
  record=NAME         the mesh record to learn, where it is not E
  component=Ex        one component alone
  tasks=N             consecutive tasks, in place of what is proposed
  chunk=[16,32,16]    points of a sample, in place of what is proposed
  force=true          write over an experiment that this command wrote before
  data.KEY=VALUE      any other value of conf/data/openpmd.yaml or conf/data/efield_npy.yaml,
                      such as data.source.spacing=[1e-6,1e-6,1e-6]
"""


def template_of(asked: Asked) -> str:
    """Return the file of ``conf/data`` that reads such data.

    Raises
    ------
    UserError
        If there is nothing at the path, or nothing that is read.
    """
    path = Path(asked.path)
    if chosen := asked.values.pop("data", None):
        if chosen not in ("openpmd", "efield_npy"):
            raise UserError(f"data is {chosen!r}; expected openpmd or efield_npy")
        return str(chosen)
    if path.suffix == ".sst":
        raise UserError(
            f"{path} is a stream, which `dvc repro` could read but once; learn from it with "
            "`insituml stream data=openpmd data.path=...`"
        )
    if path.is_dir() and path.suffix not in (".bp", ".bp4", ".bp5"):
        if any(path.glob("data_*.npy")):
            return "efield_npy"
        if arrays := sorted(file.name for file in path.glob("*.npy")):
            raise UserError(
                f"{path} has no data_<iteration>.npy, but {arrays[0]}; rename them, such as "
                "data_0.npy, data_100.npy"
            )
    elif path.suffix in (".npy", ".npz"):
        raise UserError(f"{path} is one array; give the folder of data_<iteration>.npy files")
    elif not path.exists() and "%" not in path.name:
        looked = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
        raise UserError(f"data.path is {path}, but there is no such file or folder{looked}")
    return "openpmd"


def section_of(asked: Asked, template: str) -> Node:
    """Return section ``data`` as the template and the command line make it.

    Raises
    ------
    UserError
        If a key does not exist.
    """
    from omegaconf import OmegaConf

    from insituml_pipelines.common.cli import CONF

    config = OmegaConf.create({"data": OmegaConf.load(CONF / f"data/{template}.yaml")})
    for key, value in {"name": asked.name, "path": asked.path, **asked.values}.items():
        parent, _, last = f"data.{key}".rpartition(".")
        node = OmegaConf.select(config, parent)
        known = [str(k) for k in node.keys()] if OmegaConf.is_dict(node) else []  # noqa: SIM118
        # A value that a file may leave to its section's default has no line there.
        if last not in known and key != "split.on_bad_iteration":
            raise UserError(f"data.{key} does not exist; {parent} has {', '.join(known) or 'none'}")
        node[last] = value
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    section: Node = resolved["data"]
    return section


def main(arguments: list[str]) -> None:
    """Look at the data, write both files, and say what was assumed."""
    from omegaconf import OmegaConf

    from insituml_pipelines.common.cli import CONF
    from insituml_pipelines.common.outside_data import watched
    from insituml_pipelines.common.project_folder import check_own
    from insituml_pipelines.common.schema import Data, validate
    from insituml_pipelines.experiments.proposal import propose
    from insituml_pipelines.experiments.writing import (
        check_free,
        data_text,
        experiment_text,
        write_both,
    )

    asked = parsed(arguments)
    check_own(CONF)
    files = [CONF / group / f"{asked.name}.yaml" for group in ("data", "experiment")]
    check_free(files, force=asked.force)
    template = template_of(asked)
    data: Data = validate(Data, section_of(asked, template), "data")
    path = asked.path if Path.cwd() == CONF.parent else str(Path(asked.path).absolute())
    watched(path, CONF.parent)
    source = _source_of(data)
    _look_at(source, asked.path)
    training: Any = OmegaConf.load(CONF / "training/default.yaml")
    proposal = propose(
        source.iteration_numbers,
        len(source.components),
        source.grid.shape,
        training["batch_size"],
        tasks=asked.values.get("split.tasks"),
        chunk=asked.values.get("split.chunk"),
        given=asked.values,
    )
    values = {
        "name": asked.name,
        "path": path,
        **asked.values,
        "split.tasks": proposal.tasks,
        "split.chunk": list(proposal.chunk),
        "split.validation": proposal.validation,
    }
    heading = [f"{_in_words(source)}, by conf/data/{template}.yaml."]
    write_both(
        {
            files[0]: data_text(
                (CONF / f"data/{template}.yaml").read_text(encoding="utf-8"), values, heading
            ),
            files[1]: experiment_text(
                asked.name,
                proposal.model,
                proposal.model_values,
                {"epochs": proposal.epochs, "schedule": "cosine", "warmup_steps": 20},
            ),
        }
    )
    for line in _report(asked.name, source, proposal, training):
        say(line)


def _source_of(data: Any) -> Any:
    """Build the source; where it lacks the record, say how to name another."""
    from insituml_pipelines.data.sources import build_source

    try:
        return build_source(data)
    except UserError as error:
        hint = "; name the one to learn: record=..." if "no record" in str(error) else ""
        raise UserError(f"{error}{hint}") from error


def _look_at(source: Any, path: str) -> None:
    """Read the first iteration and the last; say so where values are all zero or not finite.

    Raises
    ------
    UserError
        If one of them cannot be read.
    """
    import numpy as np

    from insituml_pipelines.common.reasons import reason

    numbers = source.iteration_numbers
    try:
        steps = list(source.steps(sorted({0, len(numbers) - 1})))
    except (ValueError, LookupError, OSError, RuntimeError) as error:
        raise UserError(f"{path}: {reason(error)}") from error
    if not any(np.any(step.values) for step in steps):
        note(
            f"all values of iterations {numbers[0]} and {numbers[-1]} are zero; is it this "
            "record that you mean?"
        )
    for step in steps:
        if not np.all(np.isfinite(step.values)):
            note(
                f"iteration {step.iteration} has NaN or infinity; to leave such ones out, "
                "give data.split.on_bad_iteration=skip"
            )


def _in_words(source: Any) -> str:
    numbers = source.iteration_numbers
    shape = " × ".join(map(str, source.grid.shape))
    names = ", ".join(source.components)
    unit = f" in {source.unit}" if source.unit not in ("", "1") else ""
    return (
        f"{len(numbers)} iterations, {numbers[0]} to {numbers[-1]}, of {names}{unit} on {shape} "
        f"points ({', '.join(source.grid.axis_labels)})"
    )


def _report(name: str, source: Any, proposal: Any, training: Any) -> list[str]:
    """Return what was assumed, and what to run next."""
    import numpy as np
    from omegaconf import OmegaConf

    from insituml_pipelines.common.cli import CONF

    shape, chunk = source.grid.shape, proposal.chunk
    count = math.prod(n // c for n, c in zip(shape, chunk, strict=True))
    values = ", ".join(f"{key} {value}" for key, value in proposal.model_values.items())
    lines = [
        f"new_experiment: {name}: {_in_words(source)}",
        f"  tasks     {proposal.tasks}, one after the other; about a fifth of each is held out"
        + (f", {proposal.validation:.0%} are to select by" if proposal.validation else ""),
        f"  chunk     {list(chunk)}: {count} sample{'s' * (count > 1)} an iteration",
        f"  model     {proposal.model}: {values}",
        f"  training  {proposal.epochs} epochs: {proposal.steps(training['batch_size'])} steps of "
        f"{training['batch_size']} samples a task, {len(training['seeds'])} seeds",
    ]
    spacing = np.array(source.grid.spacing)
    if np.all(spacing == 1):
        lines.append(
            "  assumed   points lie 1 m apart, as where nothing says how far; if you know, give "
            "data.source.spacing, origin, time_step and window_velocity"
        )
    if proposal.tasks == 1:
        lines.append("  assumed   one task, since there are too few iterations: nothing to forget")
    latents = proposal.model_values["latent_size"]
    if proposal.model == "hybrid" and latents >= proposal.all_samples:
        lines.append(
            f"  note      {latents} principal components can hold all {proposal.all_samples} "
            "samples to train on, so that methods will hardly differ; to compare them, take fewer "
            "latents or more iterations"
        )
    held_out = 4 * proposal.tasks * len(source.components) * math.prod(shape)
    transit: Any = OmegaConf.load(CONF / "transit/default.yaml")
    budget = transit.held_out_bytes
    if held_out > budget:
        lines.append(
            f"  note      in transit, one held-out iteration of each task takes {held_out:.2g} "
            f"bytes: set held_out_bytes in conf/transit/default.yaml to {2 * held_out:.0e}, or run "
            "`dvc repro plot`, which leaves the stream out"
        )
    return [
        *lines,
        f"written: conf/data/{name}.yaml and conf/experiment/{name}.yaml; change there what you "
        "like, then:",
        f"  insituml select experiment={name}",
        "  dvc repro",
    ]


def command() -> None:
    """Run from the command line."""
    from insituml_pipelines.common.ending import failing_in_one_line

    with failing_in_one_line():
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(DESCRIPTION, end="")
        else:
            main(sys.argv[1:])


if __name__ == "__main__":
    command()
