"""A folder of results as the pipeline leaves it, made up in a moment."""

from __future__ import annotations

import csv
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from insituml import metrics
from insituml.plots import differences_markdown, leaderboard_markdown
from insituml_pipelines.results.summary import Summary
from insituml_pipelines.runs.identity import Identity

NAMES = [metric.name for metric in metrics.METRICS if metric.of_run]
FIGURES = (
    "leaderboard",
    "loss_matrices",
    "loss_matrix_ewc",
    "reconstructions_ewc_Ex",
    "reconstructions_ewc_Ey",
    "samples_of_mine",
)
ERRORS = {"ewc": [0.02, 0.03], "naive": [0.05, 0.07], "joint_converged": [0.01, 0.01]}


def png(width: int = 40, height: int = 20) -> bytes:
    """Return a white picture."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff" * width) * height)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def board_rows(errors: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return the leaderboard's rows, lowest error first."""
    rows = []
    for method, values in errors.items():
        mean = sum(values) / len(values)
        columns = {column: 0.5 for metric in metrics.METRICS for column in metric.columns}
        columns |= {"memory_bytes": 2048.0, "flops": 3e9, "samples_seen": 1e4}
        columns |= {"final_average_error": mean, "final_average_error_std": abs(values[0] - mean)}
        bound = method == "joint_converged"
        verdict = "best" if method == "ewc" else "on a par" if bound else "worse"
        facts = {"method": method, "is_bound": bound, "seeds": len(values), "verdict": verdict}
        rows.append(facts | columns)
    return sorted(rows, key=lambda row: row["final_average_error"])


def summary_of(method: str, values: Sequence[float], strength: float) -> Summary:
    """Return a summary with these errors of seeds."""
    seeds: dict[str, dict[str, float | None]] = {
        str(k): {**dict.fromkeys(NAMES, 0.5), "final_average_error": value}
        for k, value in enumerate(values)
    }
    identity = Identity(
        method_name=method,
        seed=len(values) - 1,
        model={"_target_": "insituml.models.MLP", "hidden_sizes": [4]},
        method={"_target_": f"insituml.methods.{method}"}
        | ({"strength": strength} if method == "ewc" else {}),
        optimizer={"_target_": "torch.optim.Adam", "lr": 0.01},
        training={"epochs": 3, "device": "cpu", "threads": 1},
        data="d" * 64,
        code="c" * 64,
        versions={"torch": "2.9", "python": "3.11.7"},
    )
    return Summary(
        method=method,
        metric="relative_l2",
        generative=False,
        sequential=True,
        keeps_all_data=False,
        is_bound=method == "joint_converged",
        task_steps=[5, 10],
        identity=identity,
        mean=seeds["0"],
        seeds=seeds,
        files={},
    )


def write_results(root: Path, strength: float = 10.0, worse: float = 1.0) -> Path:
    """Write ``results/``, ``evaluations/``, ``figures/`` and ``timings/`` below ``root``.

    ``worse`` is a factor on the errors of EWC, ``strength`` its strength.
    """
    errors = {m: [worse * e if m == "ewc" else e for e in v] for m, v in ERRORS.items()}
    rows = board_rows(errors)
    (root / "results").mkdir(parents=True)
    with (root / "results/leaderboard.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (root / "results/leaderboard.md").write_text(leaderboard_markdown(rows))
    compared = {"method": "naive", "reference": "ewc", "difference": 0.035, "verdict": "worse"}
    compared |= {"low": 0.02, "high": 0.05, "p": 0.0004, "p_holm": 0.0008}
    text = differences_markdown([compared], caption="Paired over seeds.")
    (root / "results/differences.md").write_text(text)
    errors_text = (
        "| method | Ex | PSNR [dB] |\n|:---|---:|---:|\n| EWC | 0.02 | 40.1 |\n\nAt the end.\n"
    )
    (root / "results/errors.md").write_text(errors_text)
    for method, values in errors.items():
        folder = root / "evaluations" / method
        folder.mkdir(parents=True)
        summary_of(method, values, strength).write(folder)
    (root / "figures").mkdir()
    for name in FIGURES:
        (root / f"figures/{name}.png").write_bytes(png())
    (root / "timings").mkdir()
    noted = {"seconds": 12.0, "steps": 100, "seconds_per_step": 0.12, "side_by_side": 2}
    (root / "timings/ewc.json").write_text(json.dumps({"0": noted, "1": noted}))
    return root


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Path]:
    """Return :func:`write_results`."""
    return write_results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods with two seeds; read only."""
    return write_results(tmp_path_factory.mktemp("report") / "results of <mine> & others")
