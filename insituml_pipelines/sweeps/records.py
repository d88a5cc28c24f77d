"""What jobs of a sweep leave for whoever called for it: they may run in other processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from insituml_pipelines.sweeps.plan import Sweep

FOLDER, OVERRIDES = ".jobs", "overrides.yaml"


@dataclass(frozen=True)
class JobRecord:
    """One job.

    Parameters
    ----------
    number
        Of the job, in order.
    overrides
        What it was asked, but for what its files know nothing of.
    varied
        Values by key.
    place
        Its folder.
    value
        What the sweep compares; None where it failed, or there is nothing to compare.
    code, message
        Exit code and reason, where it failed.
    """

    number: int
    overrides: list[str]
    varied: dict[str, str]
    place: str
    value: float | None = None
    code: int = 0
    message: str = ""


def leave(sweep: Sweep, record: JobRecord) -> None:
    """Write the record of a job, and its overrides into its folder, if it made one."""
    from insituml.atomic_file import write_atomically, write_json

    folder = sweep.folder / FOLDER / sweep.started
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{record.number:06}.json", asdict(record))
    place = Path(record.place)
    if place.is_dir():
        # A list of strings as JSON is one as YAML, too.
        text = json.dumps(record.overrides, indent=2) + "\n"
        write_atomically(place / OVERRIDES, text.encode())


def collect(sweep: Sweep) -> list[JobRecord]:
    """Return the records of all jobs of this call, and remove them."""
    from insituml_pipelines.common.output import remove

    folder = sweep.folder / FOLDER / sweep.started
    found = [JobRecord(**json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
    if folder.is_dir():
        remove(folder)
        with suppress(OSError):  # those of another call that runs now
            folder.parent.rmdir()
    return found


def best_of(records: Sequence[JobRecord]) -> JobRecord | None:
    """Return the job with the least value; None where none has one."""
    compared = [record for record in records if record.value is not None]
    return min(compared, key=lambda record: record.value or 0.0, default=None)
