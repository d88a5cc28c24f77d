"""Write a field as a checkpoint gives it back, as an openPMD series beside the original."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import data_of
from insituml_pipelines.common.known_model import know_model
from insituml_pipelines.common.log import bar, say
from insituml_pipelines.common.schema import Data, Reconstruct, validate
from insituml_pipelines.data.readable import ReadableField
from insituml_pipelines.data.sources import build_source
from insituml_pipelines.runs.planning import check_device

if TYPE_CHECKING:
    from insituml.learner import ContinualLearner

SECTIONS = ("data", "reconstruct")


@dataclass(frozen=True)
class Outcome:
    """What was restored, and how well.

    Parameters
    ----------
    iterations
        How many.
    errors
        Relative L2 error ‖x − x̂‖ / ‖x‖ over all iterations, by component.
    error
        That of all components together; where they differ in unit, the root mean square of theirs.
    latents, numbers
        Numbers that a volume is encoded to, and those that it has.
    bytes_coded
        Of a volume's latents as they are stored, each by itself, on average.
    """

    iterations: int
    errors: dict[str, float]
    error: float
    latents: int
    numbers: int
    bytes_coded: float


def reconstruct(data: Data, options: Reconstruct) -> Outcome:
    """Encode and decode every iteration of a field, one in memory at a time.

    Parameters
    ----------
    data, options
        Sections ``data`` and ``reconstruct`` of the configuration.

    Raises
    ------
    UserError
        If there is no such checkpoint or field, or the two do not fit each other.
    """
    if data.kind != "field":
        raise UserError(
            f"data={data.name} are {data.kind}; only fields are written to openPMD series: choose "
            "data=openpmd, efield_npy, lwfa or fbpic"
        )
    _refuse_to_replace_the_original(data, Path(options.output))
    check_device(options.device, "reconstruct")
    learner = _load(Path(options.checkpoint), options.device)
    try:
        source = ReadableField(build_source(data), data, "reconstruct", finite=True)
        return _write(source, learner, options)
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise UserError(f"data={data.name}: {error}") from error


def _write(source: Any, learner: ContinualLearner, options: Reconstruct) -> Outcome:
    from insituml.archive import (
        ReconstructedField,
        Reconstruction,
        RelativeError,
        pack_latents,
    )
    from insituml.data.openpmd import write_series

    errors = RelativeError(len(source.components))
    latents = coded = 0

    def hear(one: Reconstruction) -> None:
        nonlocal latents, coded
        latents = one.latents.values.numel()
        coded += len(pack_latents([one.latents]))
        errors.update(one.original.values, one.restored.values)

    restored = ReconstructedField(
        source, learner, task=options.task, storage=options.latents, report=hear
    )
    if note := _other_resolution(restored):
        say(f"reconstruct: {note}")
    with bar(total=len(source), desc="reconstruct", unit="iteration") as moving:
        write_series(options.output, restored, progress=lambda *_: moving.update())
    by_component = dict(zip(source.components, errors.by_component().tolist(), strict=True))
    numbers = len(source.components) * math.prod(source.grid.shape)
    error = errors.overall(source.units)
    return Outcome(len(source), by_component, error, latents, numbers, coded / len(source))


def _load(path: Path, device: str) -> ContinualLearner:
    from insituml.checkpoint import load_checkpoint

    if not path.is_file():
        raise UserError(
            f"reconstruct.checkpoint is {path}, but there is no such file; those of a run are "
            "runs/<method>/seed_<seed>/task_<task>.pt"
        )
    try:
        return load_checkpoint(path, device)
    except ValueError as error:
        raise UserError(f"reconstruct.checkpoint: {error}") from error


def _refuse_to_replace_the_original(data: Data, output: Path) -> None:
    from insituml.data.openpmd import series_files

    originals = series_files(Path(data.path)) if data.path is not None else []
    if output.resolve() in [file.resolve() for file in originals]:
        raise UserError(
            f"reconstruct.output is {output}, which is the original itself; give another name"
        )


def _other_resolution(restored: Any) -> str:
    """Say so where the points lie at other distances than those that were learned."""
    import numpy as np

    ours, learned = restored.grid.spacing, restored.code.spacing
    if np.allclose(ours, learned, rtol=1e-3, atol=0):
        return ""
    found, expected = (" × ".join(f"{1e6 * d:.4g}" for d in widths) for widths in (ours, learned))
    return f"note: points lie {found} µm apart, those that were learned {expected} µm"


def main(call: Invocation) -> None:
    know_model(call)
    data = data_of(call)
    options = validate(Reconstruct, call.section("reconstruct"), "reconstruct")
    done = reconstruct(data, options)
    parts = ", ".join(f"{name} {error:.3g}" for name, error in done.errors.items())
    say(f"reconstruct: {done.iterations} iterations of {data.name} are in {options.output}")
    say(f"reconstruct: relative L2 error {done.error:.3g} ({parts})")
    say(
        f"reconstruct: {done.latents} latent numbers a volume in place of {done.numbers}: "
        f"{done.numbers / done.latents:.3g} times fewer"
    )
    if options.latents != "float32":
        say(
            f"reconstruct: stored as {options.latents} they take {done.bytes_coded:.4g} bytes a "
            f"volume in place of {4 * done.numbers}: {4 * done.numbers / done.bytes_coded:.3g} "
            "times fewer; the error is that of what these give back"
        )


def command() -> None:
    """Run from the command line."""
    run_stage(main, SECTIONS, "Write the field of data=... as a checkpoint gives it back.")


if __name__ == "__main__":
    command()
