"""Which method forgets least: every method tuned with the same budget, then trained on fresh seeds.

Each method gets as many candidate settings as any other, each trained with the tuning seeds on the
first tasks alone, which is what a user of a stream has; the error on their validation part decides.
This happens in a folder that holds no test data and no later task. The chosen setting is then
trained on all tasks with seeds that tuning never saw, and the test part opened once. With
``--as-shipped`` nothing is tuned: each method has the settings in ``conf/``. Everything runs
through the pipeline's own commands in the folder given by ``--folder``, which then holds the
tables and figures of the comparison too. What was trained already is kept: the same command goes
on where it was stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

from tqdm import tqdm

REPOSITORY = Path(__file__).parents[1]
TUNING_SEEDS = "[100,101]"
STRENGTHS = "1,10,100,1000,10000"
STRENGTHS_OF_EWC = "10,100,1000,10000,100000"
REPLAYED = "4,8,16,32,48"

# What is tuned: five settings a method, one or several keys at once. A method without a choice of
# its own has nothing to tune.
CANDIDATES: dict[str, dict[str, str]] = {
    "naive": {},
    "joint": {},
    "joint_converged": {},
    "incremental_pca": {},
    "cumulative": {},
    "ewc": {"method.strength": STRENGTHS_OF_EWC},
    "online_ewc": {"method.strength": STRENGTHS_OF_EWC},
    "kronecker_ewc": {"method.strength": STRENGTHS},
    "mas": {"method.strength": "1e-8,1e-7,1e-6,1e-5,1e-4"},
    "synaptic_intelligence": {"method.strength": "0.1,1,10,100,1000"},
    "lwf": {"method.strength": "0.1,0.3,1,3,10"},
    "weight_averaging": {"method.strength": "0.1,0.3,1,3,10"},
    "gpm": {"method.threshold": "0.5,0.8,0.9,0.95,0.99"},
    "agem": {"method.reference_size": REPLAYED},
    "sgem": {"method.reference_size": REPLAYED},
    "agem_layerwise": {"method.reference_size": REPLAYED},
    "gem": {"method.margin": "0,0.1,0.5,1,2"},
    "experience_replay": {"method.replay_size": REPLAYED},
    "compressed_replay": {"method.replay_size": REPLAYED},
    "mir": {"method.replay_size": REPLAYED},
    "der": {"method.alpha": "0.1,0.3,1,3,10"},
    "der_plus_plus": {"method.alpha": "0.1,0.3,1,3,10"},
    "sketched_replay": {"method.alpha": "0.1,0.3,1,3,10"},
    "ewc_replay": {"method.methods.1.strength": "0.1,1,10,100,1000"},
    "agem_lwf": {"method.methods.0.strength": "0.1,0.3,1,3,10"},
    "generative_replay": {"method.replay_size": REPLAYED},
}
NEEDS_SAMPLING = "generative_replay"
"""For models that draw samples, as toy8_flow's."""


class Quality:
    """One comparison on one experiment.

    Parameters
    ----------
    experiment
        File in conf/experiment.
    folder
        Gets data, checkpoints, tables and figures.
    seeds
        Of the final trainings.
    overrides
        Further overrides of every training, such as ``training.epochs=2``.
    selection_tasks
        Tasks, from the first one on, that settings are chosen on.
    """

    def __init__(
        self,
        experiment: str,
        folder: Path,
        seeds: Sequence[int],
        overrides: Sequence[str],
        selection_tasks: int = 2,
    ) -> None:
        self.experiment = experiment
        self.folder = folder
        self.seeds = list(seeds)
        self.overrides = list(overrides)
        self.selection_tasks = selection_tasks
        self.selection = folder / "selection"

    def prepare(self) -> None:
        """Generate and split the data, unless they are there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stage, result in (("generate", "data/raw"), ("split", "data/tasks")):
            if not (self.folder / result).exists():
                self._run(stage, self.folder)

    def prepare_selection(self) -> None:
        """Make the stream that settings are chosen on, unless it is there."""
        if not (self.selection / "data/tasks").exists():
            copy_for_selection(
                self.folder / "data/tasks", self.selection / "data/tasks", self.selection_tasks
            )

    def tune(self, method: str) -> dict[str, str]:
        """Return the best of a method's candidates by the validation error on the first tasks."""
        scores = {}
        for number, setting in enumerate(settings(method)):
            place = self.selection / "tuning" / method / str(number)
            summary = place / "validation" / method / "summary.json"
            if not summary.exists():
                self._try(method, setting, place)
            mean = json.loads(summary.read_text())["mean"] if summary.exists() else {}
            scores[number] = mean.get("final_average_error", math.inf)
        best = min(scores, key=lambda number: scores[number])
        return settings(method)[best]

    def _try(self, method: str, setting: dict[str, str], place: Path) -> None:
        """Train one candidate as a sweep of one job, which is evaluated at once."""
        sweep = [f"hydra.sweep.dir={place.parent.resolve()}", f"hydra.sweep.subdir={place.name}"]
        choices = [f"{key}={value}" for key, value in setting.items()]
        seeds = f"training.seeds={TUNING_SEEDS}"
        try:
            self._run("train", self.selection, "-m", f"method={method}", *choices, seeds, *sweep)
        except RuntimeError as error:
            # A setting under which training diverges is no candidate; anything else is an error.
            if "the loss became" not in str(error):
                raise
            tqdm.write(f"{method}: {' '.join(choices)} diverges")

    def train(self, method: str, setting: dict[str, str]) -> None:
        """Train and evaluate a method with the seeds that tuning has not seen."""
        if (self.folder / "evaluations" / method / "summary.json").exists():
            return
        choices = [f"{key}={value}" for key, value in setting.items()]
        seeds = f"training.seeds={self.seeds}".replace(" ", "")
        self._run("train", self.folder, f"method={method}", *choices, seeds)
        self._run("evaluate", self.folder, f"method={method}", "tracking=none")

    def compare(self, methods: Sequence[str]) -> str:
        """Write tables and figures; return the leaderboard."""
        from insituml_pipelines.plot import compare
        from insituml_pipelines.tracking.base import Tracker

        return compare(methods, self.folder, self.folder, Tracker())

    def _run(self, stage: str, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", f"insituml_pipelines.{stage}", *arguments]
        command.append(f"experiment={self.experiment}")
        if stage == "train":
            command += [*self.overrides, "training.workers=0", "tracking=none"]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[2:])}:\n{done.stderr.strip()}")


def copy_for_selection(tasks: Path, target: Path, count: int) -> None:
    """Make a stream of the first tasks, of their training and validation parts alone.

    Parameters
    ----------
    tasks
        Folder of the split stream.
    target
        Gets the files; no test file is opened, or lies there.
    count
        How many tasks.

    Raises
    ------
    ValueError
        If there are fewer tasks, or one of them has no validation part.
    """
    from insituml.data.task_files import TaskFiles, task_folder, write_manifest

    manifest = TaskFiles.open(tasks).manifest
    chosen = manifest.tasks[:count]
    if not 1 <= count <= len(manifest.tasks) or not all(task.validation for task in chosen):
        raise ValueError(
            f"{tasks} has {len(manifest.tasks)} tasks, validation parts of "
            f"{[task.validation for task in chosen]} samples; to select on {count} each needs one: "
            "set data.split.validation, such as 0.1, and another --selection-tasks"
        )
    made = target.with_name(f".{target.name}")  # a copy that was interrupted is no stream
    shutil.rmtree(made, ignore_errors=True)
    for task in range(count):
        folder = task_folder(made, task)
        folder.mkdir(parents=True)
        for file in task_folder(tasks, task).iterdir():
            if not file.name.startswith("test_"):
                shutil.copy2(file, folder)
    other = hashlib.sha256(f"{manifest.fingerprint}, tasks 0 to {count - 1}".encode())
    write_manifest(made, replace(manifest, tasks=chosen, fingerprint=other.hexdigest()))
    made.rename(target)


def settings(method: str) -> list[dict[str, str]]:
    """Return a method's candidates, each a table of overrides."""
    table = CANDIDATES[method]
    values = (options.split(",") for options in table.values())
    return [dict(zip(table, chosen, strict=True)) for chosen in product(*values)]


def chosen_settings(
    quality: Quality, methods: Sequence[str], workers: int, *, tune: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    """Tune and train the methods side by side; yield each with its setting when it is done."""

    def work(method: str) -> tuple[str, dict[str, str]]:
        setting = quality.tune(method) if tune and CANDIDATES[method] else {}
        quality.train(method, setting)
        return method, setting

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, methods)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", help="file in conf/experiment, such as lwfa or toy8")
    parser.add_argument("--folder", type=Path, help="default: quality/<experiment>")
    usual = ",".join(method for method in CANDIDATES if method != NEEDS_SAMPLING)
    parser.add_argument("--methods", default=usual, help=f"default: all but {NEEDS_SAMPLING}")
    parser.add_argument("--seeds", type=int, default=5, help="final trainings of each method")
    parser.add_argument(
        "--selection-tasks", type=int, default=2, help="first tasks, on which settings are chosen"
    )
    parser.add_argument("--as-shipped", action="store_true", help="settings of conf/, not tuned")
    parser.add_argument("--workers", type=int, default=2, help="methods side by side")
    parser.add_argument("overrides", nargs="*", help="of every training, as training.epochs=2")
    arguments = parser.parse_intermixed_args()
    methods = arguments.methods.split(",")
    if unknown := set(methods) - set(CANDIDATES):
        parser.error(f"no candidates for {', '.join(unknown)}; known: {', '.join(CANDIDATES)}")
    folder = arguments.folder or Path("quality") / arguments.experiment
    quality = Quality(
        arguments.experiment,
        folder,
        range(arguments.seeds),
        arguments.overrides,
        arguments.selection_tasks,
    )
    try:
        quality.prepare()
        if not arguments.as_shipped:
            quality.prepare_selection()
    except ValueError as error:
        parser.error(str(error))
    chosen = {}
    found = chosen_settings(quality, methods, arguments.workers, tune=not arguments.as_shipped)
    for method, setting in tqdm(found, total=len(methods), unit="method"):
        chosen[method] = setting
        tqdm.write(f"{method}: {', '.join(f'{k}={v}' for k, v in setting.items()) or 'as it is'}")
    (folder / "chosen.json").write_text(json.dumps(chosen, indent=2) + "\n")
    print(quality.compare(methods))
    print(f"\nsettings: {folder}/chosen.json, tables: {folder}/results, figures: {folder}/figures")


if __name__ == "__main__":
    main()
