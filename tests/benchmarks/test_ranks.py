"""Ranks over experiments: which folders and methods are ranked, and how."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ranks
from benchmarks.quality import Quality

SMALL = ["model.hidden_sizes=[4]", "training.epochs=1", "training.batch_size=64"]
METHODS = ("naive", "lwf", "experience_replay")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, quality_here: None) -> Path:
    """Three methods and a bound, as the quality benchmark leaves them."""
    quality = Quality("toy8", tmp_path_factory.mktemp("quality") / "toy8", [0], SMALL)
    quality.prepare()
    for method in (*METHODS, "joint"):
        quality.train(method, {})
    return quality.folder


def test_methods_that_all_folders_have_are_ranked_by_their_errors(folder: Path) -> None:
    errors = ranks.errors_by_experiment([folder, folder])
    assert set(errors) == set(METHODS)  # joint is a bound
    for method, values in errors.items():
        summary = json.loads((folder / f"evaluations/{method}/summary.json").read_text())
        np.testing.assert_allclose(values, [summary["mean"]["final_average_error"]] * 2)


def test_the_command_writes_ranks_and_their_figure(
    folder: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    figure, rows = tmp_path / "ranks.png", tmp_path / "rows.json"
    arguments = [str(folder), str(folder), "--figure", str(figure), "--json", str(rows)]
    monkeypatch.setattr(sys, "argv", ["ranks", *arguments])
    ranks.main()
    assert figure.read_bytes().startswith(b"\x89PNG")
    errors = ranks.errors_by_experiment([folder, folder])
    ordered = sorted(errors, key=lambda method: errors[method][0])
    assert [row["name"] for row in json.loads(rows.read_text())] == [
        f"{method}, mean rank" for method in ordered
    ]
    assert "mean rank" in capsys.readouterr().out


@pytest.mark.parametrize("count, message", [(1, "1 folders share"), (0, "no evaluations")])
def test_too_little_to_rank_is_said(folder: Path, tmp_path: Path, count: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ranks.errors_by_experiment([folder] if count else [tmp_path, folder])
