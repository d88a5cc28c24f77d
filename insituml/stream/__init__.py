"""In-transit sources: learn from a simulation while it runs.

A source yields events: steps, gaps, rejected steps, and one ending.
"""

from insituml.stream.checked import checked, with_gaps
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
from insituml.stream.ring import RingSource
from insituml.stream.source import Description, FieldStream, SampleLayout, SampleStream, Source
from insituml.stream.sst import SSTSource
from insituml.stream.sst_writer import write_sst

__all__ = [
    "Description",
    "Ending",
    "Event",
    "FieldStream",
    "Finished",
    "Gap",
    "NoProducerError",
    "ProducerDied",
    "Rejected",
    "RingSource",
    "SSTSource",
    "SampleLayout",
    "SampleStream",
    "Source",
    "Stalled",
    "checked",
    "with_gaps",
    "write_sst",
]
