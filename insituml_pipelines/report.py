"""One page of HTML about results: who won, how sure that is, figures, configuration, provenance."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.ending import failing_in_one_line
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import say

if TYPE_CHECKING:
    from insituml_pipelines.reporting.blocks import Page

SECTIONS = ("tracking",)
FILE, COMPARISON = "report.html", "comparison.html"
HELP = """\
Write one HTML page that holds everything: tables, figures, configuration, provenance.

    insituml report                      of this folder, into report.html; logged to MLflow
    insituml report FOLDER               of another folder, into FOLDER/report.html
    insituml report A B                  how two folders differ, into comparison.html

    -o FILE, --output FILE               write it there

A folder is one in which `insituml plot` has compared methods (it holds results/), a stream's
(transit/), or a sweep's (multirun/...), this by itself alone.\
"""


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Parameters
    ----------
    folders
        None: the working folder.
    output
        Where the page goes; None: into the folder.
    others
        Options and overrides that the configuration gets.
    """

    folders: list[Path]
    output: Path | None
    others: list[str]


def asked(arguments: Sequence[str]) -> Asked:
    """Tell folders from overrides, which have a ``=`` and are no folder.

    Raises
    ------
    UserError
        If ``--output`` names no file.
    """
    folders: list[Path] = []
    others: list[str] = []
    output: Path | None = None
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name in ("-o", "--output"):
            value = value if equals else next(waiting, "")
            if not value:
                raise UserError(f"{name} names no file; give one, such as {name} {FILE}")
            output = Path(value)
        elif argument.startswith("-") or ("=" in argument and not Path(argument).exists()):
            others.append(argument)
        else:
            folders.append(Path(argument))
    return Asked(folders, output, others)


def write_report(folders: Sequence[Path], output: Path) -> Path:
    """Write the page about one folder of results or one sweep, or about how two folders differ.

    Parameters
    ----------
    folders
        One or two.
    output
        A file, which is replaced when the new one is whole.

    Raises
    ------
    UserError
        If a folder holds no results, or they are damaged.
    """
    from insituml.atomic_file import write_atomically
    from insituml_pipelines.reporting.render import render

    if output.is_dir():
        raise UserError(f"--output is {output}, a folder; give the name of a file in it")
    return write_atomically(output, render(_page_of(folders)).encode())


def _page_of(folders: Sequence[Path]) -> Page:
    from insituml_pipelines.reporting import one_folder, sweep_folder, two_folders
    from insituml_pipelines.reporting.results_folder import ResultsFolder

    match folders:
        case [folder] if sweep_folder.is_sweep(folder):
            return sweep_folder.page_of(folder)
        case [folder]:
            return one_folder.page_of(ResultsFolder(folder))
        case [first, second] if first.resolve() != second.resolve():
            return two_folders.page_of((ResultsFolder(first), ResultsFolder(second)))
        case [first, _]:
            raise UserError(f"{first} was given twice; give two folders, or one")
    raise UserError(f"{len(folders)} folders were given; give one, or two to compare")


def _say(file: Path) -> None:
    say(f"report: {file} ({file.stat().st_size / 1e6:.1f} MB); open it in a browser")


def main(call: Invocation) -> None:
    """Write the page about the working folder, and record it."""
    from insituml_pipelines.reporting.results_folder import ResultsFolder
    from insituml_pipelines.reporting.sweep_folder import is_sweep
    from insituml_pipelines.tracking.opening import open_tracker

    if is_sweep(call.root):  # its table is recorded with its parent run; it compares no methods
        _say(write_report([call.root], call.output / FILE))
        return
    tracker = open_tracker(call.section("tracking"))
    file = write_report([call.root], call.output / FILE)
    with TemporaryDirectory() as place:
        folder = Path(place) / "report"  # trackers take folders
        folder.mkdir()
        shutil.copy2(file, folder)
        for summary in list(ResultsFolder(call.root).summaries.values())[:1]:
            tracker.compared(summary.identity, {}, folder)
        tracker.close()
    _say(file)


def command() -> None:
    """Run from the command line."""
    with failing_in_one_line():
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(HELP)
            return
        wish = asked(sys.argv[1:])
        if wish.folders or wish.output:
            if wish.others:
                raise UserError(
                    f"{wish.others[0]} is for the page about the working folder alone, without "
                    "FOLDER and --output; --help shows what can be given"
                )
            folders = wish.folders or [Path()]
            usual = folders[0] / FILE if len(folders) == 1 else Path(COMPARISON)
            _say(write_report(folders, wish.output or usual))
            return
    run_stage(main, SECTIONS, HELP)


if __name__ == "__main__":
    command()
