"""In-transit sources: learn from a simulation while it runs.

A source yields events: steps, gaps, rejected steps, and one ending.
"""

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
from insituml.stream.source import Description, FieldStream, Source

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
    "Source",
    "Stalled",
]
