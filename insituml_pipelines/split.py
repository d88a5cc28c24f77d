"""Stage 2: cut the stream into tasks of normalised samples, one folder each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL, ask_for_room, in_one_line
from insituml_pipelines.common.log import bar, say
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.output import new_folder
from insituml_pipelines.common.schema import Data, validate
from insituml_pipelines.common.task_files import identifying

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.task_files import Columns
    from insituml_pipelines.data.kind import StoredStream

SECTIONS = ("data",)


def split(data: Data, raw: Path, folder: Path) -> Manifest:
    """Write one folder a task below ``folder``, and ``stream.json``.

    Memory stays bounded by one iteration.

    Parameters
    ----------
    data
        Section ``data`` of the configuration.
    raw
        What the generate stage wrote.
    folder
        Replaced as a whole.

    Returns
    -------
    Manifest
        Content of ``stream.json``.

    Raises
    ------
    UserError
        If there are no data, or they cannot be split as configured.
    """
    from insituml_pipelines.data.kinds import kind_of
    from insituml_pipelines.data.stored import read_saved

    saved = read_saved(raw)
    try:
        stream = kind_of(data).open(data, raw, saved)
        with new_folder(folder) as made:
            splitting = _Splitting(data, stream, saved.source, made)
            with splitting.bar:
                return splitting.run()
    except OSError as error:
        code = UserError.code if error.errno is None else EXTERNAL
        raise UserError(f"data={data.name}: {in_one_line(error)}", code) from error
    except (ValueError, KeyError) as error:
        # A KeyError shows its message in quotes.
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise UserError(f"data={data.name}: {reason}") from error


class _Splitting:
    """One pass over the tasks; what normalises them is measured on the way."""

    def __init__(self, data: Data, stream: StoredStream, source: Node, folder: Path) -> None:
        from insituml.in_transit import Cutter
        from insituml_pipelines.data.kinds import kind_of

        self.data = data
        self.stream = stream
        self.source = source
        self.folder = folder
        self.description = stream.describe()
        self.windows = kind_of(data).windows(data, self.description)
        self.cutter = Cutter(self.description, data.split.chunk)
        self.times: dict[int, float] = {}
        self.origins: dict[int, tuple[float, ...]] = {}
        self.left_out: set[int] = set()
        self.bar = bar(total=self._to_be_read(), desc="split", unit="iteration")

    def run(self) -> Manifest:
        import numpy as np

        from insituml.data.task_files import (
            digest_of_files,
            task_folder,
            write_manifest,
            write_part,
        )
        from insituml.in_transit.cutter import normalised

        self._ask_for_room()
        statistics_of = self.data.split.normalisation
        if statistics_of == "global":
            for k in range(len(self.windows)):
                self._measure(k)
        infos = []
        for k, window in enumerate(self.windows.windows):
            if statistics_of == "running" or (statistics_of == "first_task" and k == 0):
                self._measure(k)
            if not self.cutter.measured:
                raise UserError(
                    f"data={self.data.name}: of {window.name}, nothing to train on is left; mend "
                    "the iterations named above, or make tasks longer (fewer data.split.tasks)"
                )
            scale = self.cutter.normalisation()
            counts = {}
            for part, numbers in (
                ("train", self.windows.trained(k)),
                ("test", window.held_out),
                ("validation", window.validation),
            ):
                blocks = (normalised(columns, scale) for columns in self._blocks(numbers))
                counts[part] = write_part(self.folder, k, part, blocks)
            for name, array in self.cutter.task_arrays(k).items():
                np.save(task_folder(self.folder, k) / f"{name}.npy", array)
            if not min(counts["train"], counts["test"]):
                raise UserError(
                    f"data={self.data.name}: of {window.name}, {counts['train']} samples to train "
                    f"on and {counts['test']} to hold out are left; a task needs both"
                )
            infos.append(self.cutter.task_info(window, scale, times=self.times, **counts))
            aside = f"{counts['test']} held out"
            if window.validation:  # none may be left, where iterations are bad
                aside = f"{counts['validation']} to validate with + {aside}"
            say(f"split: task {k}, {window.name}: {counts['train']} + {aside}")
        manifest = self.cutter.manifest(
            infos,
            name=self.data.name,
            kind=self.data.kind,
            in_transit=False,
            times=self.times,
            origins=self.origins,
            fingerprint=digest_of_files(sorted(self.folder.rglob("*.npy"))),
            configuration={**self.source, **identifying(self.data)},
        )
        write_manifest(self.folder, manifest)
        return manifest

    def _to_be_read(self) -> int:
        """Return how many iterations are read, those that normalise twice."""
        tasks = range(len(self.windows))
        measured = tasks[:1] if self.data.split.normalisation == "first_task" else tasks
        trained = sum(len(self.windows.trained(k)) for k in measured)
        parts = ((self.windows.trained(k), w) for k, w in enumerate(self.windows.windows))
        return trained + sum(len(t) + len(w.held_out) + len(w.validation) for t, w in parts)

    def _ask_for_room(self) -> None:
        of_iteration = self.cutter.samples_per_iteration * self.cutter.bytes_per_sample
        longest = max(len(self.windows.trained(k)) for k in range(len(self.windows)))
        ask_for_room(
            self.folder,
            len(self.windows.iterations) * of_iteration,
            longest * of_iteration,
            "split: the samples",
        )

    def _measure(self, task: int) -> None:
        for columns in self._blocks(self.windows.trained(task)):
            self.cutter.measure(columns)

    def _blocks(self, numbers: Sequence[int]) -> Iterator[Columns]:
        from insituml.stream import Rejected
        from insituml.stream.checks import checked_step

        for step in self.stream.steps(numbers):
            self.bar.update()
            event = checked_step(step, self.description)
            if not isinstance(event, Rejected):
                self.times[event.iteration] = event.time
                if event.origin is not None:
                    self.origins[event.iteration] = event.origin
                yield self.cutter.cut(event)
            elif self.data.split.on_bad_iteration == "fail":
                raise UserError(
                    f"data={self.data.name}: iteration {event.iteration} cannot be learned from: "
                    f"{event.reason}; data.split.on_bad_iteration=skip leaves such iterations out"
                )
            elif event.iteration not in self.left_out:  # what is measured comes twice
                self.left_out.add(event.iteration)
                say(f"split: iteration {event.iteration} is left out: {event.reason}")


def main(call: Invocation) -> None:
    data = validate(Data, call.section("data"), "data")
    split(data, Path("data/raw"), Path("data/tasks"))
    say(f"split: {data.name} is in data/tasks")


def command() -> None:
    """Run from the command line."""
    run_stage(main, SECTIONS, "Cut the stream into tasks below data/tasks.")


if __name__ == "__main__":
    command()
