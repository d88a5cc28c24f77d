"""Stage 4: from the checkpoints of one method to its loss matrix, latent drift and summary."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.common.cli import Invocation, run_stage
from pipelines.common.errors import UserError
from pipelines.common.schema import Tracking, validate
from pipelines.common.task_files import read_stream, write_json

if TYPE_CHECKING:
    from insituml.learner import ContinualLearner
    from pipelines.tracking.mlflow import Tracker

SECTIONS = ("tracking",)
LONG_COLUMNS = ["method", "seed", "trained_through", "evaluated_on", "metric", "value"]
METRICS = ("final_average_error", "forgetting", "backward_transfer", "forward_transfer")


def evaluate_method(name: str, tasks: Path, output: Path, tracker: Tracker) -> dict[str, Any]:
    """Evaluate every seed of a method on the held-out data.

    Parameters
    ----------
    name
        The method; its checkpoints are in ``output/runs/<name>``.
    tasks
        Folder of the split stream.
    output
        Gets ``evaluations/<name>``: ``loss_matrix.csv``, ``latent_drift.csv``, ``summary.json``,
        and the reconstructions or samples of the first seed as arrays.
    tracker
        Hears of the results.

    Returns
    -------
    dict
        Content of ``summary.json``.

    Raises
    ------
    UserError
        If checkpoints are missing, damaged or of other data.
    """
    import torch

    from pipelines.results.examples import examples

    torch.set_num_threads(1)
    stream = read_stream(tasks)
    folders = sorted((output / "runs" / name).glob("seed_*"), key=_seed)
    if not folders:
        raise UserError(
            f"there are no checkpoints of {name}; run `python -m pipelines.train method={name}`"
        )
    target = output / "evaluations" / name
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)

    losses, drifts, seeds, memory, metric = [], [], {}, 0, ""
    identity: dict[str, Any] = {}
    for folder in folders:
        seed = _seed(folder)
        untrained, *learners = _learners(folder, stream.fingerprint, len(stream.task_names))
        identity, memory = learners[-1].metadata, learners[-1].metadata["memory_bytes"]
        result = _evaluate_seed(untrained, learners, stream.tasks())
        losses += _long(result["matrices"], name, seed, first_row=-1)
        drifts += _long({"latent_drift": result["drift"]}, name, seed, first_row=0)
        seeds[str(seed)], metric = result["numbers"], result["metric"]
        tracker.evaluated(_identity(identity), result["curves"])
        if folder == folders[0]:
            for key, values in examples(learners, stream).items():
                np.save(target / f"{key}.npy", values)
            np.save(target / "loss_history.npy", np.array(identity["loss_history"]))
        numbers = result["numbers"]
        print(
            f"evaluate {name} seed {seed}: final average error ({metric}) "
            f"{numbers['final_average_error']:.4f}, forgetting {numbers['forgetting']:.4f}"
        )
    summary = {
        "method": name,
        "metric": metric,
        "generative": learners[-1].generative,
        "memory_bytes": memory,
        "sequential": identity["sequential"],
        "task_steps": [learner.metadata["steps"] for learner in learners],
        "identity": _identity(identity),
        "mean": {key: _mean([s[key] for s in seeds.values()]) for key in METRICS},
        "seeds": seeds,
    }
    _write_csv(target / "loss_matrix.csv", losses)
    _write_csv(target / "latent_drift.csv", drifts)
    write_json(target / "summary.json", summary)
    return summary


def _evaluate_seed(
    untrained: ContinualLearner, learners: list[ContinualLearner], tasks: list[Any]
) -> dict[str, Any]:
    from insituml import metrics
    from insituml.evaluation import latent_drift_matrix, loss_matrix

    matrices = loss_matrix([untrained, *learners], tasks)
    drift = latent_drift_matrix(learners, tasks)
    metric = next(iter(matrices))  # the main one comes first
    matrix, baseline = matrices[metric][1:], matrices[metric][0]
    numbers: dict[str, float | None] = {
        "final_average_error": metrics.final_average_error(matrix),
        "forgetting": metrics.forgetting(matrix),
        "backward_transfer": metrics.backward_transfer(matrix),
        "forward_transfer": metrics.forward_transfer(matrix, baseline),
    }
    curves: dict[str, Any] = {f"error_on_task_{j}": matrix[:, j] for j in range(len(tasks))}
    curves["average_error_of_seen_tasks"] = [matrix[k, : k + 1].mean() for k in range(len(tasks))]
    curves["latent_drift_of_task_0"] = drift[:, 0]
    curves |= {key: [value] for key, value in numbers.items()}
    return {
        "metric": metric,
        "matrices": matrices,
        "drift": drift,
        "numbers": numbers,
        "curves": curves,
    }


def _learners(folder: Path, data_fingerprint: str, tasks: int) -> list[ContinualLearner]:
    """Load the untrained learner and the one after each task."""
    from insituml import DamagedFileError, load_checkpoint
    from pipelines.runs.worker import INITIAL, checkpoint_path

    files = [folder / INITIAL, *(checkpoint_path(folder, k) for k in range(tasks))]
    try:
        learners = [load_checkpoint(file) for file in files]
    except (DamagedFileError, FileNotFoundError, ImportError) as error:
        raise UserError(str(error)) from error
    trained_on = learners[0].metadata["data"]
    if trained_on != data_fingerprint:
        raise UserError(
            f"{folder} was trained on other data ({trained_on[:12]}) than those in data/tasks "
            f"({data_fingerprint[:12]}); train again"
        )
    return learners


def _identity(metadata: dict[str, Any]) -> dict[str, Any]:
    keys = ("method_name", "seed", "model", "method", "optimizer", "training", "data")
    return {key: metadata[key] for key in (*keys, "code", "versions")}


def _long(
    matrices: dict[str, np.ndarray], method: str, seed: int, first_row: int
) -> list[dict[str, Any]]:
    """Unroll matrices to one row a number; row −1 is the untrained model."""
    return [
        {
            "method": method,
            "seed": seed,
            "trained_through": k + first_row,
            "evaluated_on": j,
            "metric": metric,
            "value": float(value),
        }
        for metric, matrix in matrices.items()
        for (k, j), value in np.ndenumerate(matrix)
        if not np.isnan(value)
    ]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    # Without a row the columns are still named, such as where no task has two held-out samples.
    pd.DataFrame(rows, columns=LONG_COLUMNS).to_csv(path, index=False)


def _seed(folder: Path) -> int:
    return int(folder.name.removeprefix("seed_"))


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def main(call: Invocation) -> None:
    from pipelines.tracking.mlflow import open_tracker

    tracker = open_tracker(validate(Tracking, call.section("tracking"), "tracking"), call.root)
    evaluate_method(call.choices["method"], call.root / "data/tasks", call.output, tracker)
    tracker.close()


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Evaluate one method, such as method=ewc, on the held-out data.")
