"""Read an openPMD series while its writer runs, over a network stream (ADIOS2's engine SST).

The standard: https://github.com/openPMD/openPMD-standard (version 1.1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import openpmd_api as io

from insituml.data.blocks import Block
from insituml.data.openpmd.mesh_reader import MeshReader
from insituml.data.step import units_of
from insituml.stream.events import (
    Event,
    Finished,
    NoProducerError,
    ProducerDied,
    Rejected,
    in_one_line,
)
from insituml.stream.source import Description
from insituml.stream.sst_contact import await_contact, check_stream_path
from insituml.stream.sst_series import (
    announced_iterations,
    announced_parameters,
    engine_config,
)

MOST_ODD = 20
"""Iterations at the start that may lack what is asked for, until it counts as not there."""


class SSTSource:
    """Records of an openPMD series that a running simulation streams over the network.

    The writer may be :func:`insituml.stream.write_sst` or any code with openPMD output, such as
    PIConGPU or WarpX; iterations may be groups or steps of the same variables, meshes whatever
    :class:`insituml.data.openpmd.series.OpenPMDSeries` reads. Writer and reader find each other by
    a small contact file at ``path``, which the writer makes.

    **Run it in a child process**, ``RingSource(partial(SSTSource, path))``: while it waits for a
    producer that is stopped, nothing from within Python can interrupt it, Ctrl-C included; only
    the ring's ``stall_timeout`` and ``open_timeout`` do, by killing the child.

    **For trusted networks only**: reader and writer listen on all network interfaces, even where
    ``NetworkInterface`` is ``lo``, as here, and ask nobody who they are.

    What a consumer sees:

    - The producer closes its stream: :class:`Finished`, after all its steps.
    - It exits without closing, or is killed: :class:`ProducerDied` at once, after the steps that
      had been delivered; those still queued at the producer are lost.
    - It is stopped: nothing, until the ring says :class:`Stalled`.
    - There is none, or the contact file is left over from one that is gone:
      :class:`NoProducerError` after ``open_timeout``; until then another one may come. Where the
      contact file's port now belongs to a program that keeps silent, or the producer is stopped,
      the ring's ``open_timeout`` says it.
    - An iteration lacks the record or a component, is of another shape or kind, or cannot be read:
      :class:`Rejected`; the stream goes on. The same of the first ones, 20 at most.

    What a producer sees of a consumer that leaves or is killed: its steps are dropped, whatever its
    policy, even one it was blocked in. A consumer that comes again gets the steps written from
    then on; :func:`with_gaps` names those in between.

    Parameters
    ----------
    path
        The contact file, ending in ``.sst``.
    record, component, cartesian_points, complex
        As :class:`insituml.data.openpmd.series.OpenPMDSeries` takes them.
    axis_labels
        Such as ``("z", "y", "x")``, in the order in which the writer lists them: ADIOS2 loses the
        labels under its default ``MarshalMethod``, ``bp5``. None: the writer's, which must use
        ``bp``, as :func:`insituml.stream.write_sst` does; otherwise this is an error.
    in_blocks
        Whether blocks will be asked for: the writer then sends what is read, and not every
        iteration whole and in advance to each reader. It must wait for as many readers as there
        are (``RendezvousReaderCount``, ``insituml produce produce.readers=N``): who connects later
        misses the first iterations.
    open_timeout
        Seconds to wait for a producer to be there. How long it may then take until its first step
        only the ring's ``open_timeout`` bounds, which should be longer than this one.

    Raises
    ------
    ValueError
        If the path is no stream's, ``cartesian_points`` is below 2, or the timeout not positive.
    """

    divisible = True

    def __init__(
        self,
        path: str | Path,
        *,
        record: str | Sequence[str] = "E",
        component: str | None = None,
        cartesian_points: int | None = None,
        complex: str | None = None,
        axis_labels: Sequence[str] | None = None,
        in_blocks: bool = False,
        open_timeout: float = 60.0,
    ) -> None:
        self.path = Path(path)
        check_stream_path(self.path)
        if cartesian_points is not None and cartesian_points < 2:
            raise ValueError(f"cartesian_points is {cartesian_points}; expected two or more")
        if not open_timeout > 0:
            raise ValueError(f"open_timeout is {open_timeout}; it must be more than 0 seconds")
        self.reading: dict[str, Any] = {
            "record": record,
            "component": component,
            "cartesian_points": cartesian_points,
        }
        if complex is not None:
            self.reading["complex"] = complex
        self.axis_labels = axis_labels
        self.in_blocks = in_blocks
        self.open_timeout = open_timeout
        self._stream: _OpenStream | None = None

    def describe(self) -> Description:
        """Connect, and wait for the first step; :meth:`events` begins with it.

        Raises
        ------
        NoProducerError
            If there is no producer within the open timeout, or it left before its first step.
        KeyError, ValueError
            If none of the first steps has such a record or component, or one that can be read.
        """
        if self._stream is None:
            self._stream = self._open()
        return self._stream.description

    def events(self, after: int | None = None, block: Block | None = None) -> Iterator[Event]:
        """Yield what arrives, then one ending; called again, it connects anew.

        Parameters
        ----------
        after
            Leave out steps up to and with this iteration.
        block
            Read these points of each alone, where the stream is ``divisible``; None: all.
        """
        stream, self._stream = self._stream or self._open(), None
        yield from stream.events(after, block)

    def _open(self) -> _OpenStream:
        deadline = time.monotonic() + self.open_timeout
        stale = None
        while True:
            contact = await_contact(self.path, stale, deadline)
            if contact is None:
                left_over = f"{self.path} is left over from one that is gone, and " if stale else ""
                raise NoProducerError(
                    f"{left_over}no producer opened {self.path} within {self.open_timeout} s: is "
                    f"it running, and in this folder ({Path.cwd()})?"
                )
            try:
                return _OpenStream(self)
            except _GoneError:
                stale = contact


class _GoneError(Exception):
    """Who wrote the contact file does not answer any more."""


class _OpenStream:
    """A connection, at the first step that it delivers."""

    def __init__(self, source: SSTSource) -> None:
        self._path = source.path
        # The contact file is there: a second is for who has it but does not answer at once.
        sending = {"SpeculativePreloadMode": "OFF"} if source.in_blocks else {}
        config = engine_config(OpenTimeoutSecs="1", **sending)
        self._series = io.Series(str(source.path), io.Access.read_linear, config)
        self._odd: list[Rejected] = []
        try:
            self._first = self._wait_for_first()
            self._reader = self._wait_for_reader(source)
            self.description = Description(
                components=self._reader.components,
                unit=self._reader.unit,
                grid=self._reader.grid,
                iterations=announced_iterations(self._series),
                units=units_of(self._reader),
                parameters=announced_parameters(self._series, source.path),
                divisible=self._reader.divisible,
            )
        except BaseException:
            self._series.close()
            raise

    def events(self, after: int | None, block: Block | None) -> Iterator[Event]:
        yield from (odd for odd in self._odd if after is None or odd.iteration > after)
        doubtful: Rejected | None = None
        try:
            for iteration in chain([self._first], self._rest()):
                if doubtful is not None:  # the stream goes on: it was this iteration's own fault
                    yield doubtful
                    doubtful = None
                if after is not None and iteration.iteration_index <= after:
                    iteration.close()
                    continue
                event, certain = self._read(iteration, block)
                if certain or not isinstance(event, Rejected):
                    yield event
                else:
                    doubtful = event
        except Exception as error:  # whatever ADIOS2 may raise
            yield ProducerDied(
                f"the producer of {self._path} left without closing its stream: "
                f"{in_one_line(error)}"
            )
        else:
            if doubtful is not None:
                yield doubtful
            yield Finished()
        finally:
            self._series.close()

    def _read(self, iteration: Any, block: Block | None) -> tuple[Event, bool]:
        """Return what an iteration is, and whether a fault is certainly its own.

        What ADIOS2 raises may as well be the end of the producer.
        """
        number = iteration.iteration_index
        try:
            return self._reader.read(self._series, iteration, number, block=block), True
        except Exception as error:
            with suppress(RuntimeError):  # it may be closed, or its producer gone
                iteration.close()
            return Rejected(number, in_one_line(error)), not isinstance(error, RuntimeError)

    def _rest(self) -> Iterator[Any]:
        # openPMD's iterator is no Python iterator: it has a next, but no iter.
        while True:
            try:
                iteration = next(self._iterations)
            except StopIteration:
                return
            yield iteration

    def _wait_for_reader(self, source: SSTSource) -> MeshReader:
        """Go to the first iteration that has what is asked for; those before are odd."""
        deadline = time.monotonic() + source.open_timeout
        problem: Exception | None = None
        while True:
            number = self._first.iteration_index
            try:
                return MeshReader(
                    self._first,
                    number,
                    where=str(source.path),
                    axis_labels=source.axis_labels,
                    **source.reading,
                )
            except (KeyError, ValueError, IndexError, TypeError) as error:
                problem = problem or error
                self._odd.append(Rejected(number, in_one_line(error)))
            if len(self._odd) >= MOST_ODD or time.monotonic() > deadline:
                raise problem
            self._first.close()
            try:
                self._first = next(self._iterations)
            except (StopIteration, RuntimeError):
                raise problem from None

    def _wait_for_first(self) -> Any:
        try:
            self._iterations = iter(self._series.read_iterations())
            return next(self._iterations)
        except StopIteration:
            raise NoProducerError(f"the producer of {self._path} ended without a step") from None
        except RuntimeError as error:
            if "SstReader" in str(error):  # ADIOS2 has no type for it: nobody answered
                raise _GoneError from error
            raise NoProducerError(
                f"the producer of {self._path} left before its first step: {in_one_line(error)}"
            ) from error
