"""The tags by which runs are found again: results on disk carry no run ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insituml_pipelines.runs.identity import Identity

SETUP, RUN, KEPT = "insituml.setup", "insituml.run", "insituml.kept"
SWEEP, SWEPT_IN, DATA = "insituml.sweep", "insituml.sweep.place", "insituml.data"
PARENT = "mlflow.parentRunId"


def of_sweep(sweep: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of all parents of a sweep; records of earlier versions know no place."""
    place = {SWEPT_IN: sweep["place"]} if sweep.get("place") else {}
    return {SWEEP: sweep["name"], **place}


def of_parent(identity: Identity, sweep: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the tags of the parent of comparable runs, or of a sweep's runs on the same data."""
    if sweep is None:
        return {SETUP: identity.setup}
    return {**of_sweep(sweep), DATA: identity.data}
