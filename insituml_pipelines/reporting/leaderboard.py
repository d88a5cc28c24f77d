"""The leaderboard as a table that can be sorted, with the errors of each seed."""

from __future__ import annotations

import math
from dataclasses import replace

from insituml.plots import method_label
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.reporting.blocks import Cell, Table
from insituml_pipelines.reporting.markdown_table import table_of
from insituml_pipelines.reporting.results_folder import ResultsFolder
from insituml_pipelines.reporting.seed_strip import seed_strips

ERROR = "final_average_error"


def board_table(results: ResultsFolder, name: str) -> Table:
    """Return ``results/leaderboard.md`` with a column that shows the errors of all seeds.

    Raises
    ------
    UserError
        If there is no such table.
    """
    table = table_of(results.text("leaderboard.md"), name)
    if table is None:
        raise UserError(
            f"{results.root / 'results/leaderboard.md'} is missing or holds no table; run "
            "`insituml plot` again"
        )
    errors = {
        method_label(method): [
            math.nan if numbers[ERROR] is None else float(numbers[ERROR] or 0.0)
            for numbers in summary.seeds.values()
        ]
        for method, summary in results.summaries.items()
    }
    strips = seed_strips(errors) if any(len(values) > 1 for values in errors.values()) else {}
    if not strips:
        return table
    heads = [*table.heads[:2], "each seed", *table.heads[2:]]
    rows = [
        [*row[:2], Cell(strips.get(str(row[0].text), "–"), row[1].value), *row[2:]]
        for row in table.rows
    ]
    note = "Each seed: the final average error of every seed, all methods on one scale; line: mean."
    return replace(table, heads=heads, rows=rows, caption=f"{table.caption} {note}")
