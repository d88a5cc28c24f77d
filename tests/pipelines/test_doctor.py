"""``insituml doctor`` says what is missing for what, and fails where commands could not run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
from packaging.requirements import Requirement

from insituml_pipelines import doctor
from insituml_pipelines.checking import formats, machine, packages
from insituml_pipelines.checking.finding import Finding, State
from insituml_pipelines.common import log

WANTED = [
    "numpy>=1.0",
    "torch>=999",
    'nowhere-to-be-found>=1; extra == "pipeline"',
    'insituml[flow]; extra == "pipeline"',
    'zuko>=1.6; extra == "flow"',
    'fbpic-that-is-not>=1; extra == "fbpic"',
    'mkdocs>=1; extra == "docs"',
]


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_packages_are_those_of_the_metadata(monkeypatch) -> None:
    monkeypatch.setattr(packages, "requires", lambda name: WANTED)
    found = by_name(packages.look_at_packages())
    states = {name: finding.state for name, finding in found.items()}
    assert states == {
        "numpy": State.GOOD,
        "torch": State.MISSING,
        "nowhere-to-be-found": State.MISSING,
        "[fbpic]": State.OPTIONAL,
        "[compressors]": State.GOOD,
        "[flow]": State.GOOD,
        "[test]": State.GOOD,
    }
    assert found["numpy"].found == version("numpy")
    assert found["torch"].found == f"torch is {version('torch')}, not >=999"
    assert found["nowhere-to-be-found"].remedy == "needed; pip install 'insituml[pipeline]'"
    assert "pip install 'insituml[fbpic]'" in found["[fbpic]"].remedy


def test_extras_do_not_count_as_the_librarys_own() -> None:
    own = packages._of([Requirement(line) for line in WANTED], "")
    assert [wanted.name for wanted in own] == ["numpy", "torch"]


@pytest.mark.parametrize("oldest, state", [(">=3.11", State.GOOD), (">=4.2", State.MISSING)])
def test_python(oldest, state, monkeypatch) -> None:
    monkeypatch.setattr(packages, "metadata", lambda name: {"Requires-Python": oldest})
    (found,) = packages.look_at_python()
    assert found.state is state


def test_full_disks_and_small_shared_memory(tmp_path, monkeypatch) -> None:
    usage = type("Usage", (), {"free": 60e6})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: usage)
    found = by_name(
        finding
        for look in (machine.look_at_disk(tmp_path), machine.look_at_memory())
        for finding in look
    )
    assert found["disk"].found == f"60 MB free in {tmp_path}"
    assert "make room" in found["disk"].remedy
    assert found["shared memory"].state is State.OPTIONAL
    assert "--shm-size" in found["shared memory"].remedy


def test_no_shared_memory_at_all(monkeypatch) -> None:
    def refuse(**options: Any) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr(machine, "SharedMemory", refuse)
    (found,) = machine.look_at_memory()
    assert (found.state, found.found) == (State.MISSING, "not permitted")


def test_the_stream_is_really_tried() -> None:
    found = by_name(formats.look_at_formats())
    assert found["HDF5"].state is State.GOOD
    if "sst" not in found["ADIOS2"].found:
        pytest.skip("ADIOS2 without SST")
    assert found["SST"].found == "2 iterations went from one process to another"


def test_a_stream_through_which_nothing_comes(monkeypatch) -> None:
    class Silent:
        def hear(self, timeout: float) -> None:
            return None

    assert "nothing came through within 30 s" in formats._outcome(Silent())  # type: ignore[arg-type]


def called(monkeypatch: pytest.MonkeyPatch, findings: list[Finding], *arguments: str) -> int:
    monkeypatch.setenv(log.QUIET, "")
    monkeypatch.setattr(doctor, "examine", lambda folder: iter(findings))
    monkeypatch.setattr(sys, "argv", ["insituml doctor", *arguments])
    try:
        doctor.command()
    except SystemExit as ended:
        return int(str(ended.code))
    return 0


GOOD = Finding("a", "numpy", State.GOOD, "2.0")
LACKS = Finding("a", "fbpic", State.OPTIONAL, "is not installed", "for data=fbpic: pip ...")
NEEDS = Finding("b", "torch", State.MISSING, "is not installed", "needed; pip ...")


def test_what_is_not_needed_by_all_is_no_failure(monkeypatch, capsys) -> None:
    assert called(monkeypatch, [GOOD, LACKS]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "",
        "a",
        "  ok  numpy             2.0",
        "  --  fbpic             is not installed",
    ]
    assert lines[4].strip() == "for data=fbpic: pip ..."


def test_what_is_needed_is(monkeypatch, capsys) -> None:
    assert called(monkeypatch, [GOOD, NEEDS]) == 1
    captured = capsys.readouterr()
    assert "  !!  torch " in captured.out
    assert captured.err == "error: torch: is not installed; needed; pip ...\n"


def test_arguments_are_refused(monkeypatch, capsys) -> None:
    assert called(monkeypatch, [], "now") == 2
    assert capsys.readouterr().err == "error: doctor takes no arguments, but got 'now'\n"
