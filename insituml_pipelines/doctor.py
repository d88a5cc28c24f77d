"""Say what this machine has of what insituml needs, and what is missing for what."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path

from insituml_pipelines.checking.finding import Finding, State
from insituml_pipelines.common import log
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL

DESCRIPTION = """Say what this machine has of what insituml needs, and what is missing for what.

usage: insituml doctor [-q]

Looks at packages and their versions, processors, device, shared memory, disk, and what openPMD
series can be read; a stream is sent from one process to another, which takes a few seconds. Exit
code 0: all that is needed is there; 1: something is missing that commands need (with -q, only that
is printed).

  ok  is as it should be
  --  missing for something that not everybody needs
  !!  missing, and needed
"""
WIDTH = 18
"""Of the column of names."""


def examine(folder: Path) -> Iterator[Finding]:
    """Yield everything that is looked at, group by group."""
    from insituml_pipelines.checking import formats, machine, packages

    yield from packages.look_at_python()
    yield from packages.look_at_packages()
    yield from _git()
    yield from machine.look_at_processors()
    yield from machine.look_at_memory()
    yield from machine.look_at_disk(folder)
    yield from formats.look_at_formats()


def _git() -> Iterator[Finding]:
    found = shutil.which("git")
    remedy = "" if found else "for baselines and `dvc exp`: install git"
    state = State.GOOD if found else State.OPTIONAL
    yield Finding("packages", "git", state, found or "is not on PATH", remedy)


def in_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield what is printed of them, as soon as each was found."""
    for group, members in groupby(findings, lambda finding: finding.group):
        yield f"\n{group}"
        for finding in members:
            yield f"  {finding.state.value}  {finding.name:<{WIDTH}}{finding.found}"
            if finding.remedy:
                yield f"      {'':<{WIDTH}}{finding.remedy}"


def report(findings: Iterable[Finding], say: Callable[[str], None] = log.say) -> list[Finding]:
    """Print all findings while they come; return those that are missing and needed."""
    missing = []

    def watched() -> Iterator[Finding]:
        for finding in findings:
            if finding.state is State.MISSING:
                missing.append(finding)
            yield finding

    for line in in_lines(watched()):
        say(line)
    return missing


def command() -> None:
    """Run from the command line."""
    from insituml_pipelines.common.terminal import accept_any_terminal

    accept_any_terminal()
    given = log.without_quiet(sys.argv[1:])
    if {"-h", "--help"} & set(given):
        print(DESCRIPTION, end="")
        return
    if given:
        log.error(f"doctor takes no arguments, but got {given[0]!r}")
        raise SystemExit(UserError.code)
    missing = report(examine(Path.cwd()))
    if not missing:
        log.say("\nall that is needed is there")
        return
    for finding in missing:
        log.error(f"{finding.name}: {finding.found}; {finding.remedy}")
    raise SystemExit(EXTERNAL)


if __name__ == "__main__":
    command()
