"""Stage 5: gather the evaluations of all methods into tables and figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.cli import CONF, Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import say
from insituml_pipelines.common.output import new_folders
from insituml_pipelines.common.schema import Compared, validate
from insituml_pipelines.common.task_files import read_tasks

if TYPE_CHECKING:
    from insituml_pipelines.tracking.base import Tracker

SECTIONS = ("pipeline", "tracking")


def compare(
    methods: Sequence[str], root: Path, output: Path, tracker: Tracker, workers: int = 0
) -> str:
    """Write ``results/`` and ``figures/`` from the evaluations of all methods.

    Parameters
    ----------
    methods
        Methods to compare, all evaluated.
    root
        Holds ``evaluations/`` and ``data/tasks``.
    output
        Gets ``results/metrics.json``, ``results/loss_matrix.csv``, ``results/leaderboard.csv``,
        ``results/leaderboard.md``, ``results/differences.csv``, ``results/differences.md``,
        ``results/errors.md``, ``results/forgetting_curves.csv``, of an ensemble
        ``results/simulation_errors.csv`` and ``.md``, and ``figures/*.png``.
    tracker
        Gets the figures and tables.
    workers
        Processes that draw; 0: this one.

    Returns
    -------
    str
        The leaderboard in Markdown.
    """
    import pandas as pd

    from insituml.atomic_file import write_atomically, write_json
    from insituml.metrics import headlines
    from insituml.plots import differences_markdown, leaderboard_markdown
    from insituml_pipelines.results import significance, tables
    from insituml_pipelines.results.error_table import errors_markdown
    from insituml_pipelines.results.figures import draw_figures
    from insituml_pipelines.results.labels import described, metric_label
    from insituml_pipelines.results.simulation_table import gathered, simulations_markdown
    from insituml_pipelines.results.summary import check_evaluation

    manifest = read_tasks(root / "data/tasks").manifest
    summaries = tables.read_summaries(root, methods)
    if (data := summaries[methods[0]].identity.data) != manifest.fingerprint:
        raise UserError(
            f"the evaluations are of other data ({data[:12]}) than those in data/tasks "
            f"({manifest.fingerprint[:12]}); train and evaluate again, or run `dvc repro`"
        )
    for method, summary in summaries.items():
        check_evaluation(root / "evaluations" / method, summary)
        if len(summary.task_steps) != len(manifest.tasks):
            raise UserError(
                f"evaluations/{method} is of {len(summary.task_steps)} tasks, data/tasks of "
                f"{len(manifest.tasks)}; run `insituml split` again, or `dvc repro`"
            )
    board, differences = significance.with_verdicts(tables.leaderboard(summaries), summaries)
    rows: list[dict[str, Any]] = board.to_dict("records")
    metric = summaries[methods[0]].metric
    markdown = leaderboard_markdown(rows, metric_label=described(metric, manifest))
    compared = differences_markdown(
        differences.to_dict("records"),
        caption=significance.differences_caption(differences, metric_label(metric)),
    )
    matrices = pd.concat([tables.read_table(root, m, "loss_matrix.csv") for m in methods])
    csv = {
        "loss_matrix": matrices,
        "leaderboard": board,
        "differences": differences,
        "forgetting_curves": tables.forgetting_curves(root, summaries),
    }

    results, figures = output / "results", output / "figures"
    with new_folders(results, figures) as (made, drawn):
        write_json(made / "metrics.json", tables.headline_numbers(board))
        for name, table in csv.items():
            write_atomically(made / f"{name}.csv", table.to_csv(index=False).encode())
        write_atomically(made / "leaderboard.md", (markdown + "\n").encode())
        write_atomically(made / "differences.md", compared.encode())
        write_atomically(made / "errors.md", errors_markdown(rows, manifest).encode())
        if manifest.ensemble is not None:
            by_simulation = gathered(root, methods)
            write_atomically(
                made / "simulation_errors.csv", by_simulation.to_csv(index=False).encode()
            )
            if len(by_simulation):
                words = simulations_markdown(by_simulation)
                write_atomically(made / "simulation_errors.md", words.encode())
        draw_figures(summaries, rows, manifest, root, drawn, workers)

    identity = summaries[methods[0]].identity
    numbers = {f"{m.name}.{row['method']}": row[m.name] for m in headlines() for row in rows}
    for folder in (results, figures):
        tracker.compared(identity, numbers, folder)
    return markdown


def _is_known(method: str) -> bool:
    return (CONF / "method" / f"{method}.yaml").is_file()


def main(call: Invocation) -> None:
    from insituml_pipelines.results.tables import evaluated
    from insituml_pipelines.tracking.opening import open_tracker

    named = {"methods": call.section("pipeline")["methods"]}
    methods = validate(Compared, named, "pipeline").methods
    tracker = open_tracker(call.section("tracking"))
    read_tasks(call.root / "data/tasks", call.asked_data)
    for method in methods:
        if not (call.root / "evaluations" / method).exists() and not _is_known(method):
            raise UserError(
                f"pipeline.methods names {method}, but there is no conf/method/{method}.yaml and "
                f"no evaluation of it; leave it out"
            )
    found = evaluated(call.root, methods)
    say(compare(found, call.root, call.output, tracker, os.cpu_count() or 1))
    tracker.close()
    say("\nplot: tables are in results/, figures in figures/")
    if missing := [method for method in methods if method not in found]:
        say(
            f"plot: not evaluated, and left out: {', '.join(missing)}; `dvc repro` makes them, or "
            f"`insituml train method={missing[0]}` and `insituml evaluate "
            f"method={missing[0]}`"
        )


def command() -> None:
    """Run from the command line."""
    run_stage(
        main, SECTIONS, "Compare the evaluated methods of pipeline.methods: results/ and figures/."
    )


if __name__ == "__main__":
    command()
