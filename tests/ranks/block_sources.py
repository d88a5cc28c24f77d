"""Streams for several ranks, made in processes that need no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from insituml.data import NpyFolder, Step
from insituml.data.blocks import Block
from insituml.data.openpmd import OpenPMDSeries
from insituml.stream import Event, FieldStream, Source, SSTSource, write_sst


class Faulty(FieldStream):
    """On the second rank alone, misses iteration 200, and dies before 700."""

    def events(self, after: int | None = None, block: Block | None = None) -> Iterator[Event]:
        second = block is not None and block.start[0] > 0
        for event in super().events(after, block):
            if second and isinstance(event, Step) and event.iteration == 700:
                raise ArithmeticError("out of plasma")
            if not (second and isinstance(event, Step) and event.iteration == 200):
                yield event


def source_of(kind: str, folder: Path) -> Source:
    """Make a stream; called in the process that reads it."""
    match kind:
        case "bp":
            return FieldStream(OpenPMDSeries(folder / "fields.bp"))
        case "sst":
            return SSTSource(folder / "fields.sst", in_blocks=True)
        case "faulty":
            return Faulty(NpyFolder(folder / "with nan"))
    return FieldStream(NpyFolder(folder / "fields"))


def produce(folder: Path) -> None:
    """Stream the fields over the network to two readers."""
    write_sst(folder / "fields.sst", FieldStream(NpyFolder(folder / "fields")), readers=2)
