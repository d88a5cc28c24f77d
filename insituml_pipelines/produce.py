"""Run the source of a field and stream it to whoever trains on it, in another terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common import log
from insituml_pipelines.common.cli import Invocation, fail, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import data_of
from insituml_pipelines.common.locking import held
from insituml_pipelines.common.schema import Data, Produce, validate
from insituml_pipelines.common.stopping import code_of
from insituml_pipelines.data.sources import build_source

if TYPE_CHECKING:
    from insituml.stream import Description, Event

SECTIONS = ("data", "produce")
CONTACT = b"#ADIOS2-SST"
"""How the contact file of a stream begins."""
LISTEN_SECONDS = 0.5
"""How long the parent listens to its child before it looks at the clock."""


def produce(data: Data, options: Produce) -> int:
    """Stream the field once, from its first iteration to its last.

    A child process runs the source and the stream: nothing can interrupt ADIOS2 while it waits for
    a reader, Ctrl-C included, but a child can be killed.

    Parameters
    ----------
    data, options
        Sections ``data`` and ``produce`` of the configuration.

    Returns
    -------
    int
        Number of iterations written.
    """
    from insituml.stream.child import Child
    from insituml.stream.sst_contact import check_stream_path
    from insituml.stream.sst_writer import writer_config

    if data.kind != "field":
        raise UserError(
            f"data={data.name} are {data.kind}, but openPMD streams carry fields; choose "
            "data=lwfa, fbpic, openpmd or efield_npy (`insituml stream` itself streams all kinds)"
        )
    path = Path(options.output)
    try:
        check_stream_path(path)
        writer_config(options.queue_limit, options.policy, options.wait_for_reader, options.readers)
    except ValueError as error:
        raise UserError(f"produce: {error}") from error
    if not path.parent.is_dir():
        raise UserError(f"produce.output is {path}, but there is no folder {path.parent}")
    _check_free(path)
    source = build_source(data)
    with held(path.with_name(f".{path.name}.lock"), str(path)):
        child = Child(_stream, source, data, options)
        try:
            written = _follow(child, options, total=len(source))
            child.end(grace=LISTEN_SECONDS)
            return written
        finally:
            child.end(force=True)
            path.unlink(missing_ok=True)  # readers would look for one that is gone


def _check_free(path: Path) -> None:
    """Refuse to replace, and delete at the end, what is no contact file of an earlier stream."""
    if not os.path.lexists(path):
        return
    kind = "a file of something else"
    if path.is_dir():
        kind = "a folder"
    elif path.is_file():
        with path.open("rb") as file:
            if file.read(len(CONTACT)) in (CONTACT, b""):
                return
    raise UserError(
        f"produce.output is {path}, which is {kind}; move it away, or give another name"
    )


def _follow(child: Any, options: Produce, total: int) -> int:
    """Show what the child tells, until it is done."""
    written = 0
    waits_since: float | None = None
    with log.bar(total=total, desc="produce", unit="iteration") as moving:
        while True:
            try:
                message = child.hear(LISTEN_SECONDS)
            except EOFError:
                raise UserError(f"the process of the stream {child.how_it_ended()}") from None
            match message:
                case None if options.open_timeout is not None and waits_since is not None:
                    if time.monotonic() - waits_since > options.open_timeout:
                        raise UserError(
                            f"nobody read {options.output} within {options.open_timeout} s; start "
                            "its reader, or give produce.open_timeout more"
                        )
                case ("opened",):
                    if options.wait_for_reader:
                        waits_since = time.monotonic()
                        log.say(f"produce: waiting for a reader of {options.output}")
                case ("written",):
                    waits_since = None
                    written += 1
                    moving.update()
                case ("left out", reason):
                    log.say(f"produce: left out {reason}")
                case ("failed", reason):
                    raise UserError(reason)
                case ("done",):
                    return written


class _Heeded:
    """A field's stream, whose odd iterations end it or are named, as ``on_bad_iteration`` says."""

    def __init__(self, source: Any, data: Data, tells: Connection) -> None:
        from insituml.stream import FieldStream

        self._stream = FieldStream(source)
        self._data = data
        self._tells = tells

    def describe(self) -> Description:
        source = self._data.source
        numbers = {k: float(v) for k, v in source.items() if type(v) in (int, float)}
        described = self._stream.describe()
        return replace(described, parameters={**numbers, **described.parameters})

    def events(self, after: int | None = None) -> Iterator[Event]:
        from insituml.stream import Rejected
        from insituml.stream.child import say

        for event in self._stream.events(after):
            if isinstance(event, Rejected):
                words = f"iteration {event.iteration}: {event.reason}"
                if self._data.split.on_bad_iteration == "fail":
                    raise UserError(
                        f"data={self._data.name}: {words}; data.split.on_bad_iteration=skip leaves "
                        "such iterations out"
                    )
                say(self._tells, ("left out", words))
            yield event


def _stream(told: Connection, tells: Connection, source: Any, data: Data, options: Produce) -> None:
    """Run in the child process."""
    from insituml.stream import write_sst
    from insituml.stream.child import say

    def after_iteration(iteration: int) -> None:
        say(tells, ("written",))
        time.sleep(options.delay)

    try:
        say(tells, ("opened",))
        write_sst(
            options.output,
            _Heeded(source, data, tells),
            queue_limit=options.queue_limit,
            policy=options.policy,
            wait_for_reader=options.wait_for_reader,
            readers=options.readers,
            progress=after_iteration,
        )
        say(tells, ("done",))
    except Exception as error:  # whatever a simulation or a reader may raise
        say(tells, ("failed", str(error)))
        os._exit(1)  # closing the stream would tell readers that it is complete


def main(call: Invocation) -> None:
    data = data_of(call)
    options = validate(Produce, call.section("produce"), "produce")
    try:
        written = produce(data, options)
    except KeyboardInterrupt as stop:
        fail(f"stopped; readers of {options.output} see that the producer died", code_of(stop))
    log.say(f"produce: {written} iterations of {data.name} were written to {options.output}")


def command() -> None:
    """Run from the command line."""
    run_stage(main, SECTIONS, "Stream the field of data=... to a reader in another process.")


if __name__ == "__main__":
    command()
