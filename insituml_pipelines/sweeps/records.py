"""What jobs of a sweep leave for whoever called for it: they may run in other processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from insituml_pipelines.common import log
from insituml_pipelines.sweeps.plan import Sweep

FOLDER, OVERRIDES, RECORD = ".jobs", "overrides.yaml", "job.json"
DATA = frozenset({"data", "experiment", "transit"})
"""Sections that say which data there are."""


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
    sweep
        Name of the sweep.
    trained_by
        Data and code that its value stands for; empty where it was not evaluated.
    pruned
        Whether a search ended it early, for the reason in ``message``.
    configured
        Digest of its configuration, see :func:`insituml_pipelines.sweeps.sameness.digest_of_job`.
    """

    number: int
    overrides: list[str]
    varied: dict[str, str]
    place: str
    value: float | None = None
    code: int = 0
    message: str = ""
    sweep: str = ""
    trained_by: tuple[str, ...] = ()
    pruned: bool = False
    configured: str = ""


def leave(sweep: Sweep, record: JobRecord) -> None:
    """Write the record of a job; into its folder, if it made one, too, and its overrides."""
    from insituml.atomic_file import write_atomically, write_json

    place = Path(record.place)
    record = count(sweep, record)
    if record.code:  # what an earlier call left there is no result of this configuration now
        (place / RECORD).unlink(missing_ok=True)
    elif place.is_dir():
        write_json(place / RECORD, asdict(record))
    if place.is_dir():
        # A list of strings as JSON is one as YAML, too.
        text = json.dumps(record.overrides, indent=2) + "\n"
        write_atomically(place / OVERRIDES, text.encode())


def count(sweep: Sweep, record: JobRecord) -> JobRecord:
    """Let a job be one of this call, whatever lies in its folder; return its whole record."""
    from insituml.atomic_file import write_json

    trained_by = () if record.code else _trained_by(Path(record.place))
    record = replace(record, sweep=sweep.name, trained_by=trained_by)
    file = _file_of(sweep, record.number)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, asdict(record))
    return record


def collect(sweep: Sweep) -> list[JobRecord]:
    """Return the records of all jobs of this call, and remove them."""
    from insituml_pipelines.common.output import remove

    folder = sweep.folder / FOLDER / sweep.started
    found = [_read(file) for file in sorted(folder.glob("*.json"))]
    if folder.is_dir():
        remove(folder)
        with suppress(OSError):  # those of another call that runs now
            folder.parent.rmdir()
    return found


def record_numbered(sweep: Sweep, number: int) -> JobRecord | None:
    """Return the record of a job of this call; None: it left none."""
    file = _file_of(sweep, number)
    return _read(file) if file.is_file() else None


def with_earlier(
    sweep: Sweep, records: Sequence[JobRecord], configured: Callable[[JobRecord], str]
) -> list[JobRecord]:
    """Return the jobs of this call, each once, and those that earlier calls left.

    Jobs of other data, code or configuration are not to be compared with these: they are left out,
    with a note.

    Parameters
    ----------
    sweep, records
        Of this call.
    configured
        Returns the digest of the configuration that a job would have today.
    """
    jobs = {record.place: record for record in records}
    # Where other data are what is varied, only code has to be the same.
    skipped = 1 if DATA & {key.partition(".")[0] for key in sweep.first} else 0
    trained_by = {r.trained_by[skipped:] for r in records if r.value is not None}
    others = []
    for file in sorted(sweep.folder.rglob(RECORD)):
        place = str(file.parent)
        if place in jobs:
            continue
        try:
            record = replace(_read(file), place=place)
        except (ValueError, TypeError):
            log.note(f"{file} is damaged: that job is not in the table")
            continue
        if record.sweep != sweep.name:  # with hydra.sweep.dir= several may share a folder
            continue
        if record.trained_by[skipped:] in trained_by and record.configured == configured(record):
            jobs[place] = record
        else:
            others.append(file.parent.name)
    if others:
        log.note(
            f"{', '.join(others)} of earlier calls have other data, code or configuration: they "
            "are not in the table; sweep over their values again to have them in it"
        )
    return list(jobs.values())


def _file_of(sweep: Sweep, number: int) -> Path:
    return sweep.folder / FOLDER / sweep.started / f"{number:06}.json"


def _read(file: Path) -> JobRecord:
    content = json.loads(file.read_text())
    return JobRecord(**{**content, "trained_by": tuple(content["trained_by"])})


def _trained_by(place: Path) -> tuple[str, ...]:
    """Return data and code of the latest evaluation in the folder of a job."""
    found = sorted(place.rglob("summary.json"), key=lambda file: file.stat().st_mtime_ns)
    if not found:
        return ()
    identity = json.loads(found[-1].read_text())["identity"]
    return (identity["data"], identity["code"])


def best_of(records: Sequence[JobRecord]) -> JobRecord | None:
    """Return the job with the least value; None where none has one."""
    compared = [record for record in records if record.value is not None]
    return min(compared, key=lambda record: record.value or 0.0, default=None)


def first_with_value(records: Sequence[JobRecord]) -> JobRecord | None:
    """Return the first job that came to a value; None where none did."""
    return next((record for record in records if record.value is not None), None)
