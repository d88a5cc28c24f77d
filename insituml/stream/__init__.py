"""In-transit sources: learn from a simulation while it runs.

A source yields events: steps, gaps, rejected steps, and one ending. The names below are loaded when
they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml.lazy_names import loader

if TYPE_CHECKING:
    from insituml.stream.checks import checked, with_gaps
    from insituml.stream.ensemble import EnsembleStream
    from insituml.stream.ensemble_events import Change, Lost
    from insituml.stream.events import (
        Ending,
        Event,
        Finished,
        Gap,
        NoProducerError,
        ProducerDied,
        Rejected,
        Stalled,
    )
    from insituml.stream.recruits import Found, Started
    from insituml.stream.ring import RingSource
    from insituml.stream.source import Description, FieldStream, SampleLayout, SampleStream, Source
    from insituml.stream.sst import SSTSource
    from insituml.stream.sst_writer import write_sst

__all__ = [
    "Change",
    "Description",
    "Ending",
    "EnsembleStream",
    "Event",
    "FieldStream",
    "Finished",
    "Found",
    "Gap",
    "Lost",
    "NoProducerError",
    "ProducerDied",
    "Rejected",
    "RingSource",
    "SSTSource",
    "SampleLayout",
    "SampleStream",
    "Source",
    "Stalled",
    "Started",
    "checked",
    "with_gaps",
    "write_sst",
]

_MODULES = {
    "Change": "insituml.stream.ensemble_events",
    "EnsembleStream": "insituml.stream.ensemble",
    "Found": "insituml.stream.recruits",
    "Lost": "insituml.stream.ensemble_events",
    "Started": "insituml.stream.recruits",
    "Description": "insituml.stream.source",
    "Ending": "insituml.stream.events",
    "Event": "insituml.stream.events",
    "FieldStream": "insituml.stream.source",
    "Finished": "insituml.stream.events",
    "Gap": "insituml.stream.events",
    "NoProducerError": "insituml.stream.events",
    "ProducerDied": "insituml.stream.events",
    "Rejected": "insituml.stream.events",
    "RingSource": "insituml.stream.ring",
    "SSTSource": "insituml.stream.sst",
    "SampleLayout": "insituml.stream.source",
    "SampleStream": "insituml.stream.source",
    "Source": "insituml.stream.source",
    "Stalled": "insituml.stream.events",
    "checked": "insituml.stream.checks",
    "with_gaps": "insituml.stream.checks",
    "write_sst": "insituml.stream.sst_writer",
}

__getattr__ = loader(__name__, _MODULES)
