"""Stage 5: gather the evaluations of all methods into tables and figures."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.common.cli import Invocation, run_stage
from pipelines.common.schema import Tracking, validate
from pipelines.common.task_files import read_stream, write_json

if TYPE_CHECKING:
    from pipelines.tracking.mlflow import Tracker

SECTIONS = ("pipeline", "tracking")


def compare(
    methods: Sequence[str], root: Path, output: Path, tracker: Tracker, workers: int = 0
) -> str:
    """Write ``results/`` and ``figures/`` from the evaluations of all methods.

    Parameters
    ----------
    methods
        Methods to compare.
    root
        Holds ``evaluations/``, ``timings/`` and ``data/tasks``.
    output
        Gets ``results/metrics.json``, ``results/loss_matrix.csv``, ``results/leaderboard.csv``,
        ``results/leaderboard.md`` and ``figures/*.png``.
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

    from insituml.atomic_file import write_atomically
    from insituml.plots import leaderboard_markdown
    from pipelines.results import tables as leaderboard
    from pipelines.results.figures import draw_figures

    summaries = leaderboard.read_summaries(root, methods)
    timings = {m: json.loads((root / "timings" / f"{m}.json").read_text()) for m in methods}
    board = leaderboard.leaderboard(summaries, timings)
    rows: list[dict[str, Any]] = board.to_dict("records")
    markdown = leaderboard_markdown(rows)
    tables = [pd.read_csv(root / "evaluations" / m / "loss_matrix.csv") for m in methods]

    results, figures = output / "results", output / "figures"
    for folder in (results, figures):
        if folder.exists():
            shutil.rmtree(folder)
    write_json(results / "metrics.json", leaderboard.nested_metrics(board))
    write_atomically(results / "loss_matrix.csv", pd.concat(tables).to_csv(index=False).encode())
    write_atomically(results / "leaderboard.csv", board.to_csv(index=False).encode())
    write_atomically(results / "leaderboard.md", (markdown + "\n").encode())
    draw_figures(summaries, rows, read_stream(root / "data/tasks"), root, figures, workers)

    identity = summaries[methods[0]]["identity"]
    numbers = {f"final_average_error.{r['method']}": r["final_average_error"] for r in rows}
    numbers |= {f"forgetting.{r['method']}": r["forgetting"] for r in rows}
    for folder in (results, figures):
        tracker.compared(identity, numbers, folder)
    return markdown


def main(call: Invocation) -> None:
    from pipelines.tracking.mlflow import open_tracker

    methods = call.section("pipeline")["methods"]
    tracker = open_tracker(validate(Tracking, call.section("tracking"), "tracking"), call.root)
    print(compare(methods, call.root, call.output, tracker, os.cpu_count() or 1))
    tracker.close()
    print("\nplot: tables are in results/, figures in figures/")


if __name__ == "__main__":
    run_stage(main, SECTIONS, "Compare all methods of pipeline.methods: results/ and figures/.")
