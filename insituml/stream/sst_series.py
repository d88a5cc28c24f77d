"""What writer and reader of an SST stream agree on: its engine, and what the series says itself."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

ITERATIONS = "insitumlIterations"
"""Attribute of a series: the iterations to come, where its writer knows them."""
PARAMETERS = "insitumlParameters"
"""Attribute of a series: what its simulation was run with, a JSON object of numbers."""
INTERFACE = "INSITUML_NETWORK_INTERFACE"
"""Environment variable: the network by which writer and reader on different nodes meet."""


def engine_config(**parameters: str) -> str:
    """Return openPMD-api's configuration for SST over TCP: on this machine, or as is set there."""
    interface = os.environ.get(INTERFACE, "lo")
    common = {"DataTransport": "WAN", "NetworkInterface": interface}
    engine = {"type": "sst", "parameters": {**common, **parameters}}
    return json.dumps({"adios2": {"engine": engine}})


def announced_iterations(series: Any) -> tuple[int, ...] | None:
    """Return the iterations to come; None where the writer does not say."""
    if not series.contains_attribute(ITERATIONS):
        return None
    return tuple(int(n) for n in np.atleast_1d(series.get_attribute(ITERATIONS)))


def announced_parameters(series: Any, path: Path) -> dict[str, float]:
    """Return what the simulation was run with, as far as the writer says so.

    Raises
    ------
    ValueError
        If what it says are no numbers by name.
    """
    if not series.contains_attribute(PARAMETERS):
        return {}
    try:
        said = json.loads(series.get_attribute(PARAMETERS))
        return {str(name): float(value) for name, value in said.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"attribute {PARAMETERS} of {path} is no JSON object of numbers: {error}"
        ) from error
