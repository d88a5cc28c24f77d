"""The process in which openPMD-api reads: it answers requests, one JSON line each.

The libraries behind it print pages, wait for ever or end the process when a file is damaged; here
they cannot reach the user. :mod:`insituml.data.openpmd.reader_process` is the other end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import openpmd_api as io

from insituml.data.blocks import Block
from insituml.data.iteration_range import IterationRange
from insituml.data.openpmd.file_kinds import ENDINGS, check_file
from insituml.data.openpmd.library_words import TEMPLATE, in_one_line, skipped_parts
from insituml.data.openpmd.mesh_reader import MeshReader
from insituml.data.openpmd.native_types import converted_view, has_foreign_types
from insituml.data.openpmd.records import AXES, NotInIterationError
from insituml.data.openpmd.unfinished import closed_copy, is_unfinished

CONFIG = {"defer_iteration_parsing": True, "verify_homogeneous_extents": False}
"""No iteration is parsed before it is asked for; components may differ in shape."""
GRACE = 5
"""Seconds after the parent's patience when a process without parent ends by itself."""


class Server:
    """Opened series and their readers, by the token of who asked for them.

    Parameters
    ----------
    workplace
        A folder for copies of indices, removed by the parent.
    log
        Everything that the libraries print, since the last request.
    """

    def __init__(self, workplace: Path, log: Path) -> None:
        self._workplace = workplace
        self._log = log
        self._series: dict[int, tuple[str, Any]] = {}
        self._readers: dict[int, MeshReader] = {}

    def scan(self, request: dict[str, Any], answers: BinaryIO) -> dict[str, Any]:
        """Look at each iteration of one file; the first good one is what others must be like."""
        series = self._open(request)
        found: list[list[Any]] = []
        numbers = sorted(series.iterations)
        chosen = IterationRange.of(request["select"])
        described = None
        for number in numbers:
            if chosen is not None and number not in chosen:
                continue
            verdict, reason = "good", ""
            before = len(self._noise())
            reader = self._reader(request)
            iteration = series.iterations[number]
            try:
                if reader is None:
                    reader = self._made_reader(request, iteration, number)
                    _refuse_skipped(reader, request, number, self._noise()[before:])
                    self._readers[request["token"]] = reader
                    described = {**_description(reader), "number": number}
                    request["reference"] = {**request, "number": number}
                reader.check(iteration, number, request["shown"])
                iteration.close()
            except NotInIterationError as error:
                verdict, reason = self._absent(request, error, self._noise()[before:])
            except (KeyError, ValueError) as error:
                verdict, reason = "bad", str(error.args[0])
            except Exception as error:  # whatever the libraries raise
                verdict, reason = "damaged", _named(_of(number, request, error), request)
            found.append([number, verdict, reason])
            say(answers, {"progress": number})
            signal.alarm(int(request["seconds"]) + GRACE)
        return {
            "iterations": found,
            "all": numbers,
            "described": described,
            "unfinished": is_unfinished(Path(request["file"])),
        }

    def read(self, request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        """Read one iteration."""
        number = request["number"]
        reader = self._reader(request)
        assert reader is not None
        series = self._open(request)
        try:
            block = request["block"] and Block(*map(tuple, request["block"]))
            iteration = series.iterations[number]
            step = reader.read(series, iteration, number, request["shown"], block)
        except (KeyError, ValueError):
            raise
        except Exception as error:
            raise OSError(_of(number, request, error)) from error
        if TEMPLATE in self._noise():
            raise ValueError(
                f"iteration {number} of {request['shown']} has shapes but no numbers: the file is "
                "a template"
            )
        answer = {"time": step.time, "origin": step.origin, "bytes": step.bytes_read}
        return answer, step.values

    def close(self, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a token."""
        self._readers.pop(request["token"], None)
        _, series = self._series.pop(request["token"], ("", None))
        if series is not None:
            series.close()
        shutil.rmtree(self._workplace / str(request["token"]), ignore_errors=True)
        return {}

    def _open(self, request: dict[str, Any]) -> Any:
        name, series = self._series.get(request["token"], ("", None))
        if series is not None and name == request["file"]:
            return series
        if series is not None:
            del self._series[request["token"]]
            series.close()
        file = Path(request["file"])
        check_file(file)
        place = self._workplace / str(request["token"])
        place.mkdir(exist_ok=True)
        if is_unfinished(file):
            file = closed_copy(file, place)
        elif file.suffix == ".h5" and has_foreign_types(file):
            file = converted_view(file, place)
        try:
            # The name of a BP folder, or of a link to one, need not say that it is.
            backend = {} if file.suffix in ENDINGS else {"backend": "adios2"}
            series = io.Series(str(file), io.Access.read_only, json.dumps(CONFIG | backend))
        except Exception as error:  # whatever the libraries raise
            raise OSError(f"{request['shown']} cannot be read: {_told(error)}") from error
        self._series[request["token"]] = (request["file"], series)
        return series

    def _reader(self, request: dict[str, Any]) -> MeshReader | None:
        """Return the reader of a token, made from the reference where it is not there any more."""
        token, reference = request["token"], request["reference"]
        if token not in self._readers and reference is not None:
            now = {**reference, "token": token, "options": request["options"]}
            series = self._open(now)
            number = reference["number"]
            self._readers[token] = self._made_reader(now, series.iterations[number], number)
            self._open(request)
        return self._readers.get(token)

    def _made_reader(self, request: dict[str, Any], iteration: Any, number: int) -> MeshReader:
        options = request["options"]
        return MeshReader(iteration, number, where=request["shown"], **options)

    def _absent(
        self, request: dict[str, Any], error: NotInIterationError, noise: str
    ) -> tuple[str, str]:
        """Tell a record that is not there from one that openPMD-api would not read."""
        reason = str(error.args[0])
        skipped = skipped_parts(noise)
        if not skipped:
            return "absent", reason
        told = "; ".join(f"{name} ({words})" for name, words in skipped.items())
        return "bad", f"{reason.split('; available: none')[0]}: openPMD-api cannot read {told}"

    def _noise(self) -> str:
        return self._log.read_text(errors="replace")


def say(answers: BinaryIO, message: dict[str, Any], values: np.ndarray | None = None) -> None:
    """Send a message, and the numbers that follow it."""
    if values is not None:
        message = {**message, "shape": values.shape}
    answers.write(json.dumps(message).encode() + b"\n")
    if values is not None:
        answers.write(np.ascontiguousarray(values).data.cast("B"))
    answers.flush()


def main(workplace: str, log: str) -> None:
    """Answer requests until there is nobody to ask any more."""
    for number in (signal.SIGINT, signal.SIGTERM):  # it is the parent that these are for
        signal.signal(number, signal.SIG_IGN)
    with _own_pipes(log) as (requests, answers):
        server = Server(Path(workplace), Path(log))
        say(answers, {"progress": "ready"})
        for line in requests:
            request = json.loads(line)
            os.truncate(log, 0)
            signal.alarm(int(request["seconds"]) + GRACE)
            values = None
            try:
                if request["what"] == "scan":
                    answer = server.scan(request, answers)
                elif request["what"] == "read":
                    answer, values = server.read(request)
                else:
                    answer = server.close(request)
            except (KeyError, ValueError, OSError) as error:
                kind = next(k for k in (KeyError, ValueError, OSError) if isinstance(error, k))
                told = str(error.args[0] if kind is KeyError else error)
                answer = {"error": _named(told, request), "kind": kind.__name__}
            except Exception as error:  # whatever the libraries raise
                words = _named(f"{request.get('shown')} cannot be read: {_told(error)}", request)
                answer = {"error": words, "kind": "OSError"}
            signal.alarm(0)
            say(answers, answer, values)
    shutil.rmtree(workplace, ignore_errors=True)  # the parent may have been killed


@contextmanager
def _own_pipes(log: str) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Keep the pipes to the parent for itself, and let all that is printed go to a file."""
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for file, number in ((nothing, 0), (printed, 1), (printed, 2)):
            os.dup2(file, number)
        yield requests, answers


def _description(reader: MeshReader) -> dict[str, Any]:
    grid = reader.grid
    return {
        "components": reader.components,
        "units": reader.units,
        "grid": [grid.shape, grid.spacing, grid.origin, grid.axis_labels],
        "origins": reader.origins,
        "divisible": reader.divisible,
    }


def _refuse_skipped(reader: MeshReader, request: dict[str, Any], number: int, noise: str) -> None:
    """Raise a ValueError if openPMD-api left out a component of what is read, and went on."""
    if reader.component is not None:
        return
    for part, words in skipped_parts(noise).items():
        for record in reader.records:
            name = part if part.startswith(record) else f"{record}{part}"
            if name[len(record) :] in AXES and name not in reader.components:
                raise ValueError(
                    f"record {record!r} in iteration {number} of {request['shown']}: openPMD-api "
                    f"cannot read its component {name[len(record) :]!r} ({words})"
                )


def _told(error: Exception) -> str:
    words = in_one_line(str(error))
    # pybind's IndexError of a missing attribute is its bare name.
    return words if " " in words else f"it lacks {words} ({type(error).__name__})"


def _named(words: str, request: dict[str, Any]) -> str:
    """Call the file what its user calls it."""
    return words.replace(str(request.get("file")), str(request.get("shown")))


def _of(number: int, request: dict[str, Any], error: Exception) -> str:
    return f"iteration {number} of {request['shown']} cannot be read: {_told(error)}"


if __name__ == "__main__":
    main(*sys.argv[1:])
