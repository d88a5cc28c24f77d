"""What the pipeline left in a folder, read as far as it is there."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from insituml.data import Manifest, TaskFiles
from insituml.safe_reading import DamagedFileError
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.results.summary import FILE, Summary, read_summary

Row = Mapping[str, str]
BOARD = Path("results/leaderboard.csv")


@dataclass(frozen=True)
class ResultsFolder:
    """Results of one comparison.

    Parameters
    ----------
    root
        Holds ``results/``, and what else of ``figures/``, ``evaluations/``, ``timings/``,
        ``runs/`` and ``data/tasks`` is there.

    Raises
    ------
    UserError
        If there is no such folder, or nothing was compared in it.
    """

    root: Path

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            what = "a file" if self.root.exists() else "not there"
            raise UserError(f"{self.root} is {what}; expected a folder that holds results/")
        if not (self.root / BOARD).is_file():
            raise UserError(
                f"{self.root.resolve()} holds no {BOARD}: nothing was compared there; run "
                "`dvc repro` or `insituml plot` there first, or name another folder"
            )
        if not self.rows:
            raise UserError(f"{self.root / BOARD} names no method; run `insituml plot` again")

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """The leaderboard, best first, numbers as they are written.

        Raises
        ------
        UserError
            If it is damaged.
        """
        file = self.root / BOARD
        try:
            rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{file} is damaged ({error}); run `insituml plot` again") from error
        needed = ("method", "is_bound", "final_average_error")
        for row in rows:
            if missing := [key for key in needed if not isinstance(row.get(key), str)]:
                raise UserError(f"{file} is damaged (no {missing[0]}); run `insituml plot` again")
        return rows

    @property
    def methods(self) -> list[str]:
        """Those compared, best first."""
        return [row["method"] for row in self.rows]

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """What the evaluations say, by method; without those that are gone."""
        found = {}
        for method in self.methods:
            folder = self.root / "evaluations" / Path(method).name
            if (folder / FILE).is_file():
                found[method] = read_summary(folder)
        return found

    @cached_property
    def manifest(self) -> Manifest | None:
        """What the data mean; None where they are gone."""
        try:
            return TaskFiles.open(self.root / "data/tasks").manifest
        except FileNotFoundError:
            return None
        except (DamagedFileError, ValueError) as error:
            raise UserError(f"{error}; run `insituml split` again") from error

    def text(self, name: str) -> str:
        """Return a file below ``results/``; empty where there is none."""
        file = self.root / "results" / name
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def figures(self) -> dict[str, Path]:
        """Return the figures by name, alphabetically."""
        return {file.stem: file for file in sorted((self.root / "figures").glob("*.png"))}

    def timings(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return how long each seed took, by method; no result: damaged ones are left out."""
        found = {}
        for method in self.methods:
            file = self.root / "timings" / f"{Path(method).name}.json"
            try:
                content = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            if isinstance(content, dict) and all(isinstance(v, dict) for v in content.values()):
                found[method] = content
        return found

    def stream_log(self) -> dict[str, Any] | None:
        """Return what the stream brought that was learned from; None: these learned files."""
        for method in self.methods:
            file = self.root / "runs" / Path(method).name / "transit.json"
            if file.is_file():
                try:
                    content = json.loads(file.read_text())
                except ValueError as error:
                    raise UserError(f"{file} is damaged ({error}); run the stream again") from error
                return content if isinstance(content, dict) else None
        return None


def number(row: Row, name: str) -> float:
    """Return a number of a row; NaN where it has none."""
    try:
        return float(row.get(name) or "nan")
    except ValueError:
        return math.nan
