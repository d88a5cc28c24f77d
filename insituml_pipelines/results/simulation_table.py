"""The table of the errors on each simulation of an ensemble, methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from insituml.plots import method_label
from insituml.plots.style import compact
from insituml_pipelines.results.simulation_rows import FILE, MAIN

LABELS = {MAIN: "relative L2", "mse": "MSE", "nll": "NLL"}
"""What is shown, by name."""


def gathered(root: Path, methods: Sequence[str]) -> pd.DataFrame:
    """Return the tables of all methods that have one, below each other; it may be empty."""
    files = [root / "evaluations" / method / FILE for method in methods]
    tables = [pd.read_csv(file) for file in files if file.is_file()]
    return pd.concat(tables) if tables else pd.DataFrame({"metric": []})


def simulations_markdown(table: pd.DataFrame) -> str:
    """Return one row a simulation, and a column for each method and error: means over seeds."""
    shown = table[table["metric"].isin(LABELS)]
    if shown.empty:  # a learner with errors of its own alone
        shown = table
    means = shown.pivot_table(
        index="simulation", columns=["method", "metric"], values="value", sort=False
    )
    heads = [
        f"{method_label(method)}, {LABELS.get(metric, metric)}" for method, metric in means.columns
    ]
    lines = [f"| simulation | {' | '.join(heads)} |", "|:---|" + "---:|" * len(heads)]
    for name, values in zip(means.index, means.to_numpy(), strict=True):
        lines.append(f"| {name} | {' | '.join(map(compact, values))} |")
    note = (
        "On what each simulation held out, at the end, mean over seeds. Relative L2 is "
        "‖x − x̂‖ / ‖x‖ in physical units, MSE that of normalised samples."
    )
    return "\n".join([*lines, "", note]) + "\n"
