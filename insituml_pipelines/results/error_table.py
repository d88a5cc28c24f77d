"""The errors that methods end with, side by side, as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from insituml.data import Manifest
from insituml.physical_metrics import MAIN
from insituml.plots import method_label
from insituml.plots.style import compact
from insituml.plots.units import in_brackets, scaled_unit
from insituml_pipelines.results.labels import metric_label, metric_unit

OVERALL = ("psnr", "ssim", "rmse", "max_error", "mse", "nll")
"""Columns after the relative L2 errors, where methods have them."""
CONVENTIONS = (
    "At the end, averaged over tasks and seeds. Relative L2: ‖x − x̂‖ / ‖x‖ over all of a task's "
    "held-out samples. PSNR and SSIM are relative to the range (largest less smallest value) of "
    "each component in these samples; SSIM goes over windows of 7 points along each axis of a "
    "sample. The normalised MSE is what learners see."
)


def errors_markdown(rows: Sequence[Mapping[str, Any]], manifest: Manifest) -> str:
    """Return one row a method: relative L2, overall and of each component, then other errors.

    Parameters
    ----------
    rows
        The leaderboard, as :func:`insituml_pipelines.results.tables.leaderboard` makes it.
    manifest
        Of the stream.
    """
    names = [name for name in rows[0] if name == MAIN or name.startswith(f"{MAIN}.")]
    names = [name for name in names if not name.endswith("_std")]
    names += [name for name in OVERALL if any(_known(row.get(name)) for row in rows)]
    columns = [_column([row.get(name) for row in rows], name, manifest) for name in names]
    heads = ["method", *(head for head, _ in columns)]
    methods = [method_label(str(row["method"])) for row in rows]
    cells = [methods, *(written for _, written in columns)]
    lines = ["| " + " | ".join(line) + " |" for line in [heads, *zip(*cells, strict=True)]]
    lines.insert(1, "|:---|" + "---:|" * len(columns))
    return "\n".join([*lines, "", CONVENTIONS]) + "\n"


def _column(values: Sequence[Any], name: str, manifest: Manifest) -> tuple[str, list[str]]:
    """Return the head of one error, and its values in the unit that fits the largest."""
    numbers = [float("nan") if value is None else float(value) for value in values]
    unit = metric_unit(name, manifest)
    largest = max((n for n in numbers if np.isfinite(n)), default=0.0)
    factor, shown = scaled_unit(unit, largest) if unit not in ("", "dB") else (1.0, unit)
    label = name.partition(".")[2] or metric_label(name)
    return in_brackets(label, shown), [compact(number / factor) for number in numbers]


def _known(value: Any) -> bool:
    return value is not None and not np.isnan(value)
