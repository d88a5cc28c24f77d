"""Stage 4: from the checkpoints of one method to its loss matrix, latent drift and summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.known_model import know_model
from insituml_pipelines.common.log import bar, say
from insituml_pipelines.common.output import new_folder
from insituml_pipelines.common.parts import TEST, VALIDATION, asked_part, is_validated
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.runs.ambient import ambient_seed
from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.runs.seeds import seed_folders, trained_learners

if TYPE_CHECKING:
    from insituml.data import TaskFiles
    from insituml.learner import ContinualLearner
    from insituml_pipelines.results.summary import Summary
    from insituml_pipelines.tracking.base import Tracker

FOLDERS = {TEST: "evaluations", VALIDATION: "validation"}
"""Where the evaluations of a part lie: never among those of another."""
SECTIONS = ("tracking", "part")


class LongRow(NamedTuple):
    """One number of a matrix, as the tables of an evaluation hold it."""

    method: str
    seed: int
    trained_through: int
    evaluated_on: int
    metric: str
    value: float


def evaluate_method(
    name: str, files: TaskFiles, output: Path, tracker: Tracker, part: str = TEST
) -> Summary:
    """Evaluate every seed of a method on one part of the tasks.

    Parameters
    ----------
    name
        The method; its checkpoints are in ``output/runs/<name>``.
    files
        The split stream.
    output
        Gets ``evaluations/<name>``: ``loss_matrix.csv``, ``latent_drift.csv``, ``summary.json``,
        and of the first seed the reconstructions or samples as arrays, and of fields
        ``spectra.csv`` and ``energies.csv``; where there is such a part,
        ``validation_loss_matrix.csv``; of an ensemble, ``simulation_errors.csv``.
    tracker
        Hears of the results.
    part
        ``"validation"`` opens no file of the test part, and writes to ``validation/<name>``
        instead; there are no reconstructions or samples then.

    Returns
    -------
    Summary
        What ``summary.json`` holds.

    Raises
    ------
    UserError
        If checkpoints are missing, damaged or of other data.
    """
    import torch

    if part == VALIDATION and not is_validated(files.manifest):
        raise UserError(
            f"part is {VALIDATION}, but {files.folder} has no validation part of every task; set "
            "data.split.validation, such as 0.1, and split again"
        )
    torch.set_num_threads(1)
    folders = seed_folders(output / "runs" / name)
    # Learners are judged one by one: the untrained one, and one a task, by each part.
    parts = 1 + (part == TEST and is_validated(files.manifest))
    total = len(folders) * (1 + len(files.manifest.tasks)) * parts
    with (
        bar(total=total, desc=f"evaluate {name}", unit="checkpoint") as moving,
        new_folder(output / FOLDERS[part] / name) as target,
    ):
        return _evaluate_into(target, name, folders, files, tracker, part, moving.update)


def evaluated_before(
    name: str, output: Path, part: str, identity: Identity, seeds: Sequence[int]
) -> Summary | None:
    """Return what an evaluation found before, of the same runs; None where there is none."""
    from insituml_pipelines.results.summary import read_summary

    try:
        found = read_summary(output / FOLDERS[part] / name)
    except (FileNotFoundError, UserError):
        return None
    same = found.identity.of_all_seeds() == identity.of_all_seeds()
    return found if same and found.seeds.keys() == set(map(str, seeds)) else None


def _evaluate_into(
    target: Path,
    name: str,
    folders: dict[int, Path],
    files: TaskFiles,
    tracker: Tracker,
    part: str,
    progress: Callable[[], object],
) -> Summary:
    from insituml.evaluation import is_judged_by_reconstruction
    from insituml.metrics import final_average_error
    from insituml_pipelines.data.stored import digests_beside
    from insituml_pipelines.results.examples import examples
    from insituml_pipelines.results.matrices import loss_matrices
    from insituml_pipelines.results.simulation_errors import (
        SimulationRow,
        simulation_errors,
        write_simulation_errors,
    )
    from insituml_pipelines.results.summary import Summary
    from insituml_pipelines.results.volumes import volume_tables

    losses, drifts, validation = [], [], []
    by_simulation: list[SimulationRow] = []
    seeds: dict[str, dict[str, float | None]] = {}
    errors: dict[str, dict[str, float | None]] = {}
    notes: list[str] = []
    first: Identity | None = None
    for seed, folder in folders.items():
        untrained, *learners = trained_learners(folder, name, seed, files, first)
        first = first or Identity.of_metadata(untrained.metadata)
        metadata = learners[-1].metadata
        notes += [said] if (said := metadata.get("note", "")) else []
        with ambient_seed(0):  # of models that draw numbers in evaluation too
            result = _evaluate_seed(untrained, learners, files, part, progress)
        metric, numbers = result.metric, result.numbers
        if part == TEST and files.manifest.ensemble is not None:
            by_simulation += simulation_errors(learners[-1], files, name, seed)
        losses += _long(result.matrices, name, seed, first_row=-1)
        drifts += _long({"latent_drift": result.drift}, name, seed, first_row=0)
        seeds[str(seed)] = {key: _or_none(value) for key, value in numbers.items()}
        errors[str(seed)] = {key: _or_none(value) for key, value in result.final.items()}
        curves, beside = result.curves, ""
        if part == VALIDATION:  # never under the names of what was tested
            curves = {f"validation_{key}": values for key, values in curves.items()}
        elif is_validated(files.manifest):
            with ambient_seed(0):
                selecting = loss_matrices([untrained, *learners], files, VALIDATION, progress)
            validation += _long(selecting, name, seed, first_row=-1)
            error = final_average_error(selecting[metric][1:])
            curves = {**curves, "validation_final_average_error": [error]}
            beside = f", on the validation part {error:.4f}"
        tracker.evaluated(Identity.of_metadata(metadata), curves)
        if len(seeds) == 1:
            shown = examples(learners, files) if part == TEST else {}
            for key, values in shown.items():
                np.save(target / f"{key}.npy", values)
            np.save(target / "loss_history.npy", np.array(metadata["loss_history"]))
            grid = files.manifest.grid if part == TEST else None
            if grid is not None and is_judged_by_reconstruction(learners[-1]):
                with ambient_seed(0):
                    volume_tables(learners[-1], files).write(target)
        say(f"evaluate {name} seed {seed}: {_in_words(numbers, metric)}{beside}")
    if by_simulation:
        write_simulation_errors(by_simulation, target)
    _write_csv(target / "loss_matrix.csv", losses)
    if validation:
        _write_csv(target / "validation_loss_matrix.csv", validation)
    _write_csv(target / "latent_drift.csv", drifts)
    summary = Summary(
        method=name,
        metric=metric,
        generative=learners[-1].generative,
        sequential=metadata["sequential"],
        keeps_all_data=metadata["keeps_all_data"],
        is_bound=metadata["is_bound"],
        is_baseline=metadata.get("is_baseline", False),
        experiment=metadata.get("experiment", ""),
        task_steps=[learner.metadata["steps"] for learner in learners],
        identity=Identity.of_metadata(metadata),
        mean={key: _or_none(_mean([s[key] for s in seeds.values()])) for key in numbers},
        seeds=seeds,
        files=digests_beside(target),
        errors=errors,
        part=part,
        note="; ".join(dict.fromkeys(notes)),
    )
    summary.write(target)
    return summary


@dataclass(frozen=True)
class _SeedResult:
    # What one seed is judged by: matrices of its errors, and what is read off them.
    metric: str
    matrices: dict[str, np.ndarray]
    drift: np.ndarray
    numbers: dict[str, float]
    final: dict[str, float]
    curves: dict[str, list[float]]


def _evaluate_seed(
    untrained: ContinualLearner,
    learners: list[ContinualLearner],
    files: TaskFiles,
    part: str,
    progress: Callable[[], object],
) -> _SeedResult:
    from insituml import metrics
    from insituml.evaluation import latent_drift_matrix
    from insituml_pipelines.results.matrices import judged, loss_matrices

    tasks = judged(files, part)
    matrices = loss_matrices([untrained, *learners], files, part, progress)
    drift = latent_drift_matrix(learners, tasks)
    metric = metrics.main_error({name: matrix[0] for name, matrix in matrices.items()})
    matrix, baseline = matrices[metric][1:], matrices[metric][0]
    facts = learners[-1].metadata
    run = metrics.RunResult(
        matrix,
        baseline,
        facts["memory_bytes"],
        **{name: facts.get(name, np.nan) for name in ("flops", "samples_seen", "samples_replayed")},
        sequential=facts["sequential"],
        keeps_all_data=facts["keeps_all_data"],
    )
    numbers = metrics.of_run(run)
    final = {name: metrics.final_known_error(found[1:]) for name, found in matrices.items()}
    curves = {f"error_on_task_{j}": matrix[:, j].tolist() for j in range(len(tasks))}
    curves["average_error_of_seen_tasks"] = list(metrics.average_error_of_seen_tasks(matrix))
    curves["latent_drift_of_task_0"] = drift[:, 0].tolist()
    curves |= {key: [value] for key, value in numbers.items()}
    curves |= {f"final_{name}": [value] for name, value in final.items()}
    return _SeedResult(metric, matrices, drift, numbers, final, curves)


def _long(matrices: dict[str, np.ndarray], method: str, seed: int, first_row: int) -> list[LongRow]:
    """Unroll matrices to one row a number; row −1 is the untrained model."""
    return [
        LongRow(method, seed, k + first_row, j, metric, float(value))
        for metric, matrix in matrices.items()
        for (k, j), value in np.ndenumerate(matrix)
        if not np.isnan(value)
    ]


def _write_csv(path: Path, rows: list[LongRow]) -> None:
    import pandas as pd

    # Without a row the columns are still named, such as where no task has two held-out samples.
    pd.DataFrame(rows, columns=list(LongRow._fields)).to_csv(path, index=False)


def _mean(values: list[float | None]) -> float:
    return float(np.mean(np.array(values, dtype=float)))


def _or_none(value: float) -> float | None:
    """Put None for NaN, which JSON has not."""
    return None if np.isnan(value) else value


def _in_words(numbers: dict[str, float], metric: str) -> str:
    """Return the errors among the headline metrics on one line."""
    from insituml.metrics import headlines

    shown = [m for m in headlines() if m.kind == "error" and not np.isnan(numbers[m.name])]
    return f"{metric} " + ", ".join(f"{m.label} {numbers[m.name]:.4f}" for m in shown)


def main(call: Invocation) -> None:
    from insituml_pipelines.tracking.opening import open_tracker

    know_model(call)
    tracker = open_tracker(call.section("tracking"))
    part = asked_part(call) or TEST
    folder, tested = call.root / "data/tasks", part == TEST
    parts = (TEST, VALIDATION) if tested else (VALIDATION,)
    files = read_tasks(folder, call.asked_data, parts=parts, places=tested)
    evaluate_method(call.choices["method"], files, call.output, tracker, part)
    tracker.close()


def command() -> None:
    """Run from the command line."""
    run_stage(main, SECTIONS, "Evaluate one method, such as method=ewc, on the held-out data.")


if __name__ == "__main__":
    command()
