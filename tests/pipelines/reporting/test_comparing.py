"""Two folders side by side, and a sweep on one page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.report import write_report
from insituml_pipelines.reporting import sweep_folder, two_folders
from insituml_pipelines.reporting.results_folder import ResultsFolder


@pytest.fixture
def both(made_up, tmp_path) -> tuple[Path, Path]:
    """EWC, with another strength and three times the error."""
    return made_up(tmp_path / "a"), made_up(tmp_path / "b", strength=30.0, worse=3.0)


def sections(page: Any) -> dict[str, list[Any]]:
    return {section.key: list(section.blocks) for section in page.sections}


def texts(table: Any) -> list[list[str]]:
    return [[str(cell.text) for cell in row] for row in table.rows]


def test_differences_of_two_folders_are_shown(both) -> None:
    page = two_folders.page_of((ResultsFolder(both[0]), ResultsFolder(both[1])))
    (metrics,) = sections(page)["metrics"]
    assert list(metrics.heads[:4]) == ["method", "error, a", "error, b", "change of error"]
    rows = {row[0]: row[1:4] for row in texts(metrics)}
    assert rows["EWC"] == ["0.0250", "0.0750", "+0.0500 (+200 %)"]  # of 0.02, 0.03; three times
    assert rows["naive"] == ["0.0600", "0.0600", "0 (+0 %)"]
    strong = {str(row[0].text): row[3].strong for row in metrics.rows}
    assert strong == {"EWC": True, "naive": False, "joint converged": False}
    (keys,) = sections(page)["configuration"]
    assert texts(keys) == [["method.strength", "EWC", "10.0", "30.0"]]
    (pair,) = sections(page)["leaderboard"]
    assert pair.left.source == pair.right.source
    assert page.lead == [
        "3 methods stand in both folders: in a (a) EWC is best, 0.0250 ± 0.0050 (relative L2 "
        "error); in b (b) EWC is best of those that compete, 0.0750 ± 0.0150 (relative L2 error)."
    ]  # naive has 0.0600 in both
    text = write_report(both, both[0].parent / "comparison.html").read_text()
    assert text.count("data:image/png") == 10  # five figures of each; the sixth is no chapter's


def test_what_one_folder_lacks_is_said(both) -> None:
    (both[1] / "figures/leaderboard.png").unlink()
    board = both[1] / "results/leaderboard.csv"
    lines = board.read_text().splitlines()
    board.write_text("\n".join(line for line in lines if not line.startswith("naive")))
    page = two_folders.page_of((ResultsFolder(both[0]), ResultsFolder(both[1])))
    found = sections(page)
    assert found["leaderboard"][0].right is None
    assert found["metrics"][0].caption.endswith("Only in a: naive.")
    board.write_text("\n".join([lines[0], lines[-1].replace("ewc", "mas")]))
    with pytest.raises(UserError, match=r"and b mas: no method stands in both"):
        two_folders.page_of((ResultsFolder(both[0]), ResultsFolder(both[1])))


@pytest.mark.parametrize(
    "folders, said",
    [
        (["a", "a/../a"], "a was given twice; give two folders, or one"),
        (["a", "b", "a"], "3 folders were given; give one, or two to compare"),
        (["a", "c"], "c is not there"),
    ],
)
def test_folders_that_cannot_be_compared(folders, said, both, monkeypatch) -> None:
    monkeypatch.chdir(both[0].parent)
    with pytest.raises(UserError, match=said):
        write_report([Path(folder) for folder in folders], Path("comparison.html"))


def test_folders_are_called_by_what_tells_them_apart(tmp_path) -> None:
    roots = [tmp_path / "x/run/results", tmp_path / "y/run/results"]
    assert two_folders.labels_of(roots) == ["x/run/results", "y/run/results"]
    assert two_folders.labels_of([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]


def test_a_sweep_on_one_page(made_up, tmp_path) -> None:
    sweep = tmp_path / "train-strength-1a2b"
    for strength, worse in ((1.0, 2.0), (10.0, 1.0)):
        job = sweep / f"method.strength={strength:g}"
        made_up(job, strength=strength, worse=worse)
        for method in ("naive", "joint_converged"):
            shutil.rmtree(job / f"evaluations/{method}")
    (sweep / "sweep.md").write_text(
        "| method.strength | final average error |\n|---|---|\n| 10 | **0.025** |\n"
        "| 1 | 0.05 |\n| 100 | failed |\n"
    )
    shutil.copy(job / "figures/leaderboard.png", sweep / "sweep.png")
    page = sweep_folder.page_of(sweep)
    assert page.lead == [
        "3 jobs, 1 of them failed. The best has method.strength = 10: final average error 0.025 "
        "(relative L2 error) on the test part."
    ]
    found = sections(page)
    jobs, figure = found["jobs"]
    assert [row[1].value for row in jobs.rows] == [0.025, 0.05, None]
    assert figure.width == 40
    assert texts(found["configuration"][0]) == [["method.strength", "1.0", "10.0"]]
    assert write_report([sweep], tmp_path / "sweep.html").read_text().count("<section") == 3
