"""What a page says of a folder of results, and what it refuses."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from insituml_pipelines import report
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.reporting.blocks import Cell, Page, Section
from insituml_pipelines.reporting.markdown_table import number_of, table_of
from insituml_pipelines.reporting.one_folder import page_of
from insituml_pipelines.reporting.render import render
from insituml_pipelines.reporting.results_folder import ResultsFolder
from insituml_pipelines.reporting.seed_strip import MARGIN, WIDTH, seed_strips
from insituml_pipelines.reporting.verdict import lead
from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.tracking.base import Tracker


@pytest.mark.parametrize(
    "text, value",
    [
        ("0.0202 ± 0.0001", 0.0202),
        ("-1.27e-3", -0.00127),
        ("+1.05e-3", 0.00105),
        ("-2.34e-3 to -2.06e-4", -0.00234),
        ("1.5 MiB", 1.5 * 1024**2),
        ("0 B", 0.0),
        ("8.4 k", 8400.0),
        ("1.234e+04", 12340.0),
        ("1.65 T", 1.65e12),
        ("< 0.001", 0.001),
        ("∞", math.inf),
        ("-∞", -math.inf),
        ("–", None),
        ("on a par", None),
        ("3 apples", None),
        ("1.2.3", None),
    ],
)
def test_numbers_of_cells(text, value) -> None:
    assert number_of(text) == value


def test_a_markdown_table_keeps_what_stands_out_and_its_caption() -> None:
    table = table_of(
        "| m | e | v |\n|:--|--:|--:|\n| a | **0.2** | – |\n| b | – | best |\n\nSaid.\n", "T"
    )
    assert table is not None
    assert [[(c.text, c.value, c.strong) for c in row] for row in table.rows] == [
        [("a", None, False), ("0.2", 0.2, True), ("–", None, False)],
        [("b", None, False), ("–", None, False), ("best", None, False)],
    ]
    assert [table.is_numeric(c) for c in range(3)] == [False, True, False]
    assert table.caption == "Said."
    assert table_of("Only one method.", "T") is None


def test_infinite_values_are_written_as_javascript_reads_them() -> None:
    """A method that diverged is sorted last; elsewhere numbers are as exact as they were."""
    values = [0.1, math.inf, -math.inf, 1e-300, math.nan, None]
    keys = [Cell("x", value).sort_key for value in values]
    assert keys == ["0.1", "Infinity", "-Infinity", "1e-300", "NaN", ""]
    table = table_of("| m | e |\n|:--|--:|\n| a | ∞ |\n| b | 0.5 |\n", "T")
    assert table is not None
    text = render(Page("x", [], [], [Section("t", "T", [table])]))
    assert re.findall('data-sort="(.*?)"', text) == ["Infinity", "0.5"]


def test_seeds_lie_on_one_scale_from_the_lowest_to_the_highest_error() -> None:
    strips = seed_strips({"a": [1.0, 2.0], "b": [3.0, math.nan]})
    assert f'cx="{MARGIN:.1f}"' in strips["a"]
    assert f'cx="{WIDTH / 2:.1f}"' in strips["a"]
    assert f'cx="{WIDTH - MARGIN:.1f}"' in strips["b"]
    assert 'aria-label="1, 2"' in strips["a"]
    # Over more than a factor of eight by powers: 1, 10, 100 are as far apart.
    strips = seed_strips({"a": [1.0, 10.0, 100.0]})
    assert f'cx="{WIDTH / 2:.1f}"' in strips["a"]
    assert seed_strips({"a": [math.nan]}) == {}


def test_the_page_says_who_won_and_how_sure_that_is(results) -> None:
    page = page_of(ResultsFolder(results))
    first, sure = page.lead
    assert first.startswith("Three methods learned one task after the other, with two seeds each.")
    assert "EWC ends with the lowest average error of those that compete, 0.0250 ± 0.0050" in first
    assert (
        "58 % below naive and 150 % above joint converged (the bound)" in first
    )  # 0.025, 0.06, 0.01
    assert sure == "Seeds cannot tell it from joint converged. Naive is significantly worse."
    assert [tile.value for tile in page.tiles] == ["0.0250", "0.0600", "0.0100", "50 %", "0.500"]


@pytest.mark.parametrize(
    "verdict, said",
    [
        ("worse", "Naive, which does nothing, is significantly better."),
        ("on a par", "Seeds cannot tell it from naive, which does nothing."),
    ],
)
def test_where_doing_nothing_is_best_it_is_said(verdict, said) -> None:
    """Of those that compete; what the others' verdicts say is not of that one."""
    rows = [
        {"method": method, "is_bound": "False", "final_average_error": error, "verdict": found}
        for method, error, found in (
            ("naive", "0.01", "best"),
            ("ewc", "0.02", verdict),
            ("agem", "0.05", "on a par"),
        )
    ]
    known: Any = SimpleNamespace(rows=rows, manifest=None, summaries={})
    first, sure = lead(known)
    assert "EWC ends with the lowest average error of those that compete, 0.0200" in first
    assert "above naive" in first
    assert sure == said


def test_every_figure_stands_once_and_only_what_differs_is_listed(results) -> None:
    text = render(page_of(ResultsFolder(results)))
    assert text.count("data:image/png") == 6
    assert "Reconstructions, EWC, Ex" in text
    assert text.count("Samples of mine") == 1  # among the other figures
    rows = {
        row[0].text: [cell.text for cell in row[1:]]
        for row in _table(results, "configuration").rows
    }
    assert rows == {  # in the order of the leaderboard
        "method._target_": ["methods.joint_converged", "methods.ewc", "methods.naive"],
        "method.strength": ["–", "10.0", "–"],
    }
    assert "dddddddddddd" in text
    assert "cccccccccccc" in text
    assert "results of &lt;mine&gt; &amp; others" in text
    assert "<mine>" not in text


def _table(folder, key):
    (section,) = [s for s in page_of(ResultsFolder(folder)).sections if s.key == key]
    return section.blocks[0]


def test_times_are_those_noted_and_what_a_stream_brought_is_named(made_up, tmp_path) -> None:
    root = made_up(tmp_path / "transit")
    log = {"iterations": 7, "gaps": [[3, 4, "dropped"]], "lost": 2, "rejected": [[6, "NaN"]]}
    (root / "runs/ewc").mkdir(parents=True)
    (root / "runs/ewc/transit.json").write_text(json.dumps({**log, "ending": "it died"}))
    (root / "timings/waiting.json").write_text(json.dumps({"seconds": 8.0, "wait_share": 0.25}))
    sections = {s.key: s for s in page_of(ResultsFolder(root)).sections}
    times = sections["provenance"].blocks[1].rows
    assert [[cell.text for cell in row] for row in times] == [["EWC", "12", "24", "120", "2"]]
    assert dict(sections["stream"].blocks[0].items) == {
        "how it ended": "it died",
        "iterations learned from": "7",
        "lost": "2 in 1 gaps: 3–4 (dropped)",
        "rejected": "1: 6 (NaN)",
        "time": "8 s",
        "share of it spent waiting": "25 %",
    }


def test_results_in_transit_stand_beside_those_from_files(made_up, tmp_path) -> None:
    root = made_up(tmp_path)
    made_up(root / "transit")
    sections = [s.key for s in page_of(ResultsFolder(root)).sections]
    assert "transit" in sections


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda root: (root / "results/leaderboard.csv").unlink(), "nothing was compared there"),
        (lambda root: (root / "results/leaderboard.csv").write_text("a,b\n1,2\n"), "no method"),
        (lambda root: (root / "results/leaderboard.csv").write_text("method\n"), "names no method"),
        (lambda root: (root / "results/leaderboard.csv").write_bytes(b"\xff\xfe"), "damaged"),
        (lambda root: (root / "results/leaderboard.md").unlink(), "leaderboard.md is missing"),
        (lambda root: (root / "figures/leaderboard.png").write_bytes(b"PNG"), "is no whole PNG"),
        (lambda root: (root / "evaluations/ewc/summary.json").write_text("{"), "summary.json"),
    ],
)
def test_damaged_results_are_named(spoil, said, made_up, tmp_path) -> None:
    root = made_up(tmp_path / "a")
    spoil(root)
    with pytest.raises(UserError, match=said):
        report.write_report([root], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "nowhere is not there; expected a folder that holds results/"),
        (["file"], "file is a file; expected a folder that holds results/"),
        (["-o"], "-o names no file"),
        (["--output="], "--output names no file"),
        (["a", "tracking=none"], "tracking=none is for the page about the working folder alone"),
        (["a", "--frobnicate"], "--frobnicate is for the page about the working folder alone"),
        (["a", "-o", "b"], "--output is b, a folder"),
    ],
)
def test_bad_input_is_one_line(arguments, said, made_up, tmp_path, monkeypatch, capsys) -> None:
    made_up(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report", *arguments])
    with pytest.raises(SystemExit) as ended:
        report.command()
    assert ended.value.code == 2
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert said in output
    assert output.count("\n") == 1


def test_the_command_writes_into_the_folder(made_up, tmp_path, monkeypatch, capsys) -> None:
    root = made_up(tmp_path / "a=b")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report", "a=b"])
    report.command()
    assert (root / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "report: a=b/report.html" in capsys.readouterr().out


def test_the_page_of_the_working_folder_is_recorded_with_its_comparison(
    made_up, tools, tmp_path, monkeypatch
) -> None:
    class Heard(Tracker):
        folders: ClassVar[list[list[str]]] = []
        setups: ClassVar[list[str]] = []

        def compared(self, identity: Identity, numbers: dict[str, float], folder: Path) -> None:
            assert (folder / "report.html").read_bytes() == (tmp_path / "report.html").read_bytes()
            self.folders.append([folder.name, *(file.name for file in folder.iterdir())])
            self.setups.append(identity.setup)

    made_up(tmp_path)
    monkeypatch.setattr("insituml_pipelines.tracking.opening.open_tracker", lambda node: Heard())
    report.main(tools.invoke(tmp_path, report.SECTIONS, "experiment=toy8", "data=toy8"))
    assert Heard.folders == [["report", "report.html"]]
    assert Heard.setups == [ResultsFolder(tmp_path).summaries["ewc"].identity.setup]


def test_the_page_of_a_sweep_in_the_working_folder_is_written_alone(
    tools, tmp_path, monkeypatch, capsys
) -> None:
    (tmp_path / "sweep.md").write_text("| lr | e |\n|---|---|\n| 0.1 | **0.5** |\n")
    monkeypatch.setattr("insituml_pipelines.tracking.opening.open_tracker", None)
    report.main(tools.invoke(tmp_path, report.SECTIONS, "experiment=toy8", "data=toy8"))
    assert "lr = 0.1" in (tmp_path / "report.html").read_text()
    assert "report.html" in capsys.readouterr().out
