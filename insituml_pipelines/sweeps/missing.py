"""Jobs that left no record: their process was killed, ran out of time, or never started."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser

from insituml_pipelines.common.composition import key_of
from insituml_pipelines.common.failures import EXTERNAL
from insituml_pipelines.sweeps.plan import SWEEPER, Sweep
from insituml_pipelines.sweeps.records import JobRecord

REASON = "did not end: its process was killed, ran out of time, or had not ended when another broke"


def missing_jobs(
    sweep: Sweep, overrides: Sequence[str], records: Sequence[JobRecord]
) -> list[JobRecord]:
    """Return the jobs of a sweep that are not among the records, as failed.

    Parameters
    ----------
    sweep, overrides
        As the command was given; of a sweeper that searches nobody knows which jobs were to come.
    records
        Of the jobs that ended.
    """
    if any(key_of(override) == SWEEPER for override in overrides):
        return []
    own = [o for o in overrides if key_of(o).partition("/")[0].partition(".")[0] != "hydra"]
    parsed = OverridesParser.create().parse_overrides(own)
    values = [
        [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [given]
        for given, override in zip(own, parsed, strict=True)
    ]
    there = {record.number for record in records}
    found = []
    for number, job in enumerate(map(list, product(*values))):
        untaken = sweep.untaken(job)
        if number in there or sweep.is_left_out(untaken):
            continue
        kept = [override for override in job if override not in untaken]
        place = str(sweep.place(kept))
        varied = sweep.varied(kept)
        found.append(JobRecord(number, kept, varied, place, code=EXTERNAL, message=REASON))
    return found
