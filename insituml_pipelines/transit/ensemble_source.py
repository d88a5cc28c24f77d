"""From section ``data.ensemble`` to the simulations of a stream."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Data, Ensemble, Transit
from insituml_pipelines.data.sources import check_source
from insituml_pipelines.transit.source import open_ring

if TYPE_CHECKING:
    from insituml.data.ensemble import Simulation
    from insituml.stream import EnsembleStream


def open_ensemble(data: Data, transit: Transit) -> EnsembleStream:
    """Return the stream of all simulations; those that are started here run as yet none.

    Raises
    ------
    UserError
        If the section contradicts itself, or a source cannot be built as configured.
    """
    from insituml.stream import EnsembleStream, Found, Started

    ensemble = asked_ensemble(data)
    fixed = ensemble.order == "fixed"
    recruits: Any
    if ensemble.streams is not None:
        if "path" not in data.source:
            raise UserError(
                f"data.ensemble.streams finds streams or series, but data={data.name} reads none; "
                "use data=openpmd, or data.ensemble.vary to start simulations here"
            )
        check_source(data.source)
        recruits = Found(
            ensemble.streams,
            lambda path: open_ring(_at(data, path), transit),
            most_of(ensemble),
        )
    else:
        members = started_here(data)
        for _, its in members:
            check_source(its.source)
        rings = [partial(open_ring, its, transit) for _, its in members]
        recruits = Started([simulation for simulation, _ in members], rings, ensemble.restarts)
    return EnsembleStream(
        recruits,
        most=most_of(ensemble),
        slots=transit.slots,
        required=conditions_of(ensemble),
        in_turn=fixed,
        open_timeout=transit.open_timeout,
        join_timeout=ensemble.join_timeout,
    )


def asked_ensemble(data: Data) -> Ensemble:
    """Return the section, checked as a whole.

    Raises
    ------
    UserError
        If it asks for both ways or none, or for lists of different lengths.
    """
    ensemble = data.ensemble
    assert ensemble is not None
    if data.kind != "field":
        raise UserError(
            f"data={data.name} are {data.kind}, but an ensemble is of simulations of fields; leave "
            "data.ensemble out"
        )
    here = ensemble.producers is not None or bool(ensemble.vary)
    if here == (ensemble.streams is not None):
        raise UserError(
            "data.ensemble needs either producers or vary, to start simulations here, or streams, "
            "a pattern of those that others write"
        )
    if not here:
        if ensemble.simulations is None:
            raise UserError("data.ensemble.simulations is missing: how many may there be at most?")
        return ensemble
    lengths = {name: len(values) for name, values in (ensemble.vary or {}).items()}
    for name, length in lengths.items():
        if length != most_of(ensemble):
            raise UserError(
                f"data.ensemble.vary.{name} has {length} values for {most_of(ensemble)} producers; "
                "give one for each"
            )
        if name not in data.source:
            raise UserError(
                f"data.ensemble.vary names {name}, which data.source has not; it has "
                f"{', '.join(key for key in data.source if not key.startswith('_'))}"
            )
    return ensemble


def most_of(ensemble: Ensemble) -> int:
    """Return how many simulations there may be."""
    if ensemble.streams is not None:
        assert ensemble.simulations is not None
        return ensemble.simulations
    if ensemble.producers is not None:
        return ensemble.producers
    return len(next(iter((ensemble.vary or {}).values())))


def conditions_of(ensemble: Ensemble) -> list[str]:
    """Return the parameters by which simulations differ."""
    if ensemble.parameters is not None:
        return list(ensemble.parameters)
    return list(ensemble.vary or {})


def started_here(data: Data) -> list[tuple[Simulation, Data]]:
    """Return each simulation that is started here, and the data it makes."""
    from insituml.data.ensemble import Simulation

    ensemble = asked_ensemble(data)
    members = []
    for k in range(most_of(ensemble)):
        own = {name: values[k] for name, values in (ensemble.vary or {}).items()}
        named = {name: data.source.get(name) for name in conditions_of(ensemble)} | own
        parameters = {n: float(v) for n, v in named.items() if isinstance(v, int | float)}
        its = data.model_copy(update={"source": {**data.source, **own}, "ensemble": None})
        members.append((Simulation(f"simulation_{k}", parameters), its))
    return members


def _at(data: Data, path: str) -> Data:
    """Return the data that one path leads to."""
    own = {**data.source, "path": str(Path(path))}
    return data.model_copy(update={"path": path, "source": own, "ensemble": None})
