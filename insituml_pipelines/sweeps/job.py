"""What a job of a sweep is for whoever records it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from insituml_pipelines.sweeps.plan import BY_NAME, Sweep, folder_name

if TYPE_CHECKING:
    from insituml_pipelines.tracking.base import SweepJob


def job_of(sweep: Sweep, overrides: Sequence[str]) -> SweepJob:
    """Return what the runs of a job are named and tagged by."""
    from insituml_pipelines.tracking.base import SweepJob

    values = sweep.varied(overrides)
    varied = {key: v for key, v in values.items() if key not in BY_NAME}
    return SweepJob(sweep.name, sweep.title, varied, folder_name(values))
