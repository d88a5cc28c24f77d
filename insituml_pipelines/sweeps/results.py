"""What came of a sweep: a table and a figure, in its folder and with its parent run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from insituml_pipelines.common.composition import composed
from insituml_pipelines.common.log import say
from insituml_pipelines.sweeps.plan import Sweep
from insituml_pipelines.sweeps.records import JobRecord, best_of, first_with_value, with_earlier
from insituml_pipelines.sweeps.sameness import digest_of_job

TABLE, MARKDOWN, FIGURE = "sweep.csv", "sweep.md", "sweep.png"
LABEL = "final average error"


def conclude(sweep: Sweep, records: Sequence[JobRecord], sections: Sequence[str]) -> None:
    """Write ``sweep.csv``, ``sweep.md`` and ``sweep.png``, print the table, and record all.

    Parameters
    ----------
    sweep, records
        Which jobs ran in this call, or were found done. Those of earlier calls are added.
    sections
        Of the configuration, that the stage reads.
    """
    from insituml.atomic_file import write_atomically
    from insituml_pipelines.tracking.base import SweepJob
    from insituml_pipelines.tracking.opening import open_tracker

    if (compared := first_with_value(records)) is None:
        return
    records = with_earlier(
        sweep, records, lambda record: digest_of_job(sweep, record.overrides, sections)
    )
    text = markdown(sweep, records)
    write_atomically(sweep.folder / TABLE, csv(sweep, records).encode())
    write_atomically(sweep.folder / MARKDOWN, text.encode())
    draw(sweep, records, sweep.folder / FIGURE)
    say(f"\n{text}\nsweep: {TABLE}, {MARKDOWN} and {FIGURE} are in {_shown(sweep.folder)}")
    # As that job itself had it: an experiment, or a file of one's own, may say where to record.
    section = composed([*sweep.search_path, *compared.overrides]).tracking
    from omegaconf import OmegaConf

    node = OmegaConf.to_container(section, resolve=True)
    assert isinstance(node, dict)
    tracker = open_tracker({str(key): value for key, value in node.items()})
    files = [sweep.folder / name for name in (TABLE, MARKDOWN, FIGURE)]
    tracker.swept(SweepJob(sweep.name, sweep.title, {}), files)
    tracker.close()


def csv(sweep: Sweep, records: Sequence[JobRecord]) -> str:
    """Return the table with full numbers."""
    import pandas as pd

    rows = [
        {
            "job": Path(record.place).name,
            **{key: record.varied.get(key) for key in sweep.first},
            "value": record.value,
            "status": record.message or "finished",
        }
        for record in records
    ]
    return pd.DataFrame(rows).to_csv(index=False)


def markdown(sweep: Sweep, records: Sequence[JobRecord]) -> str:
    """Return the table to be read, the best job first, those that failed last."""
    best = best_of(records)
    order = sorted(records, key=lambda r: (r.value is None, r.value or 0.0, r.number))
    head = [*sweep.first, LABEL]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for record in order:
        cells = [record.varied.get(key, "–") for key in sweep.first]
        value = _failed(record) if record.value is None else f"{record.value:.4g}"
        lines.append(f"| {' | '.join([*cells, f'**{value}**' if record is best else value])} |")
    return "\n".join(lines) + "\n"


def _failed(record: JobRecord) -> str:
    return "pruned" if record.pruned else "failed"


def draw(sweep: Sweep, records: Sequence[JobRecord], file: Path) -> None:
    """Draw the error by each varied key."""
    from insituml import plots

    compared = [record for record in records if record.value is not None]
    columns = {key: [record.varied.get(key) for record in compared] for key in sweep.first}
    values = [record.value or 0.0 for record in compared]
    figure = plots.sweep_slices(columns, values, label=LABEL)
    plots.save(figure, file)


def _shown(folder: Path) -> Path:
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder
