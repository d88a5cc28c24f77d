"""The memory–error curves: sizes that are those of the methods, rows and a figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import memory_curves
from benchmarks.memory_curves import Curves, Measured, jobs_of
from benchmarks.memory_points import CURVES, THRESHOLDS, Stream
from benchmarks.report import Row
from insituml.data.task import Task
from insituml.memory import CompressedReservoir, ReservoirMemory
from insituml.methods import DERPlusPlus, ExperienceReplay, Method, SketchedReplay
from insituml.models import AutoEncoder2D
from insituml.training import train

SHAPE = (2, 12, 10)
STREAM = Stream(samples=40, sample_bytes=4 * 240 + 8, numbers=240, latent=3, components=2)
SHARES = memory_curves.SHARES
CLASSES = {
    "experience_replay": ExperienceReplay,
    "der_plus_plus": DERPlusPlus,
    "sketched_replay": SketchedReplay,
}


def make_tasks() -> list[Task]:
    generator, tasks = torch.Generator().manual_seed(0), []
    for k in range(2):
        x = torch.randn(20, *SHAPE, generator=generator)
        tasks.append(Task(k, str(k), (x, torch.arange(20)), (x[:2], torch.arange(2))))
    return tasks


def built(method: str, overrides: tuple[str, ...]) -> Method:
    """Return what the overrides make, without the configuration."""
    options = dict(text.removeprefix("method.").split("=") for text in overrides)
    capacity = int(options["memory.capacity_bytes"])
    dtype = options.get("memory.dtype")
    rest: dict[str, str | int] = {"store": "latent"} if "store" in options else {}
    if "sketch_size" in options:
        rest["sketch_size"] = int(options["sketch_size"])
    assert options["memory_size"] == "null"
    return CLASSES[method](
        None,
        4,
        memory=lambda size, generator: ReservoirMemory(
            size, capacity_bytes=capacity, dtype=dtype, generator=generator
        ),
        generator=torch.Generator().manual_seed(0),
        **rest,
    )


OTHERS = {"gpm", "compressed_replay"}
"""Curves whose points are no numbers of samples."""


@pytest.mark.parametrize("name", [name for name in CURVES if name not in OTHERS])
def test_a_point_keeps_what_it_is_asked_to_keep_and_no_row_for_nothing(name: str) -> None:
    curve = CURVES[name]
    points = curve.points(STREAM, SHARES)
    smallest = curve.smallest(STREAM)
    assert smallest is not None
    enough = [share for share in SHARES if share * STREAM.bytes >= smallest]
    assert points[0].name == f"{min(enough):g}"
    sizes = []
    for point in points:
        method = built(curve.method, (*curve.overrides, *point.overrides))
        learner = AutoEncoder2D(SHAPE, (3,), 3)
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
        options = {"epochs": 1, "batch_size": 10, "generator": torch.Generator()}
        list(train(learner, method, make_tasks(), optimizer, **options))
        size = method.memory_bytes()
        capacity = next(int(o.split("=")[1]) for o in point.overrides if "bytes" in o)
        assert size == capacity <= float(point.name) * STREAM.bytes
        assert len(method.memory) == method.memory.capacity <= STREAM.samples  # all rows in use
        assert size % len(method.memory) == 0
        sizes.append(size)
    assert sizes == sorted(set(sizes))
    if name == "replay_latents":  # all are stored at some share, which is the last point
        assert sizes[-1] == STREAM.samples * (4 * 3 + 8)
    else:
        assert sizes[-1] > 0.2 * STREAM.bytes


def test_compressed_samples_have_all_the_bytes_of_a_share_and_need_no_more() -> None:
    pytest.importorskip("zfpy")
    points = CURVES["compressed_replay"].points(STREAM, SHARES)
    smallest = CURVES["compressed_replay"].smallest(STREAM)
    assert smallest == 4 * 240 + 8 + (1 + 2) * 4 + 24
    enough = [f"{share:g}" for share in SHARES if share * STREAM.bytes >= smallest]
    assert [point.name for point in points] == enough
    kept = []
    for point in points:
        options = dict(text.split("=") for text in point.overrides)
        capacity = int(options["method.memory.capacity_bytes"])
        assert capacity == int(float(point.name) * STREAM.bytes)
        memory = CompressedReservoir(capacity_bytes=capacity)
        for task in make_tasks():
            memory.add(task.train, task.index)
        assert memory.bytes <= capacity
        kept.append(len(memory))
    assert kept[0] >= 1  # not one is too large
    assert kept == sorted(set(kept))


def test_sketches_grow_once_every_sample_has_one() -> None:
    points = CURVES["sketched_replay"].points(Stream(100, 4000, 1000, 8, 1), SHARES)
    kept = [dict(o.split("=") for o in point.overrides) for point in points]
    sizes = [int(options["method.sketch_size"]) for options in kept]
    rows = [
        int(options["method.memory.capacity_bytes"]) // (4 * (8 + size) + 12)
        for options, size in zip(kept, sizes, strict=True)
    ]
    assert sizes == [10, 10, 10, 19, 89, 289]
    assert rows == [4, 14, 47, 100, 100, 100]


def test_levels_are_those_that_there_are() -> None:
    assert memory_curves.known_levels(("naive", "no_such_method", "joint")) == ["naive", "joint"]


class Faked(Curves):
    """Answers for the pipeline."""

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def stream(self) -> Stream:
        return STREAM

    def measure(self, method, kind, name, overrides) -> Measured:
        size = 10.0 if kind == "level" else 0.01 * STREAM.bytes * len(name)
        levels = {"joint_converged": 0.1, "incremental_pca": 0.05}
        error = levels.get(method, 1.0) if kind == "level" else 0.3 / len(name)
        return Measured("relative_l2", [error, error], [size, size])

    def drift(self, method, kind, name) -> float:
        return 0.25


def test_rows_figure_and_goals(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(memory_curves, "Curves", Faked)
    monkeypatch.setattr(
        memory_curves, "known_levels", lambda: ["naive", "joint_converged", "incremental_pca"]
    )
    file = tmp_path / "rows.json"
    arguments = ["--folder", str(tmp_path), "--curves", "gpm,sketched_replay", "--seeds", "2"]
    code = memory_curves.main([*arguments, "--json", str(file), "training.epochs=2"])
    assert (tmp_path / "memory_curves.png").exists()
    rows = [Row(**row) for row in json.loads(file.read_text())]
    names = [row.name for row in rows]
    assert "lwfa: relative_l2 of naive" in names
    assert sum("of gpm with" in name for name in names) == len(THRESHOLDS)
    assert "lwfa: drift of past latents, sketched_replay at 30.0%" in names
    reached, missed = rows[-2:]
    assert reached.name == "lwfa: best with at most 5% / joint_converged"
    # Names of five letters have 5 % of the stream, and an error of 0.06.
    assert (reached.value, reached.ok) == (pytest.approx(0.6), True)
    assert (missed.value, missed.ok) == (pytest.approx(1.2), False)
    assert code == 1
    assert "figure: " in capsys.readouterr().out


def test_an_unknown_curve_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        memory_curves.main(["--curves", "gpm,mir"])
    assert "no curve mir; known: experience_replay" in capsys.readouterr().err


def test_one_job_a_point_levels_first() -> None:
    jobs = jobs_of(STREAM, (0.1, 0.3), ["gpm", "replay_float16"], ["naive"])
    assert [(job.kind, job.name) for job in jobs[:2]] == [("level", "naive"), ("gpm", "0.5")]
    assert len(jobs) == 1 + len(THRESHOLDS) + 2
    assert jobs[-1].overrides[0] == "method.memory.dtype=float16"
    assert len({(job.kind, job.name) for job in jobs}) == len(jobs)
