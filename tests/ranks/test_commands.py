"""The commands on several ranks: together, killed, and gone on with on fewer or more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from insituml.checkpoint_file import read_checkpoint_file
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.ranks import check_stage
from insituml_pipelines.runs.planning import check_device
from insituml_pipelines.train import SECTIONS, main
from tests.pipelines.conftest import invoke, make_stream, points_data, write_fields
from tests.ranks.group import launched
from tests.ranks.streaming import stream, train

ROOT = Path(__file__).parents[2]
TRAIN = ["experiment=toy8", "tracking=none", "model.hidden_sizes=[6]", "training.seeds=[0]"]
TRAIN += ["training.epochs=200", "method=experience_replay", "training.workers=0"]
STREAM = ["data=efield_npy", "data.path=fields", "data.split.tasks=2", "data.split.chunk=[1,4,2]"]
STREAM += ["tracking=none", "model=mlp", "model.hidden_sizes=[6]", "model.latent_size=2"]
STREAM += ["training.batch_size=3", "training.seeds=[0]", "training.memory_size=8"]
STREAM += ["transit.batches_per_iteration=2", "transit.task_samples=7", "data.split.holdout=0.3"]
STREAM += ["transit.methods=[experience_replay,ewc,agem,joint]", "training.mix_iterations=1"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def torchrun(count: int, folder: Path, said: Path) -> subprocess.Popen:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    with said.open("w") as file:
        return subprocess.Popen(
            [*launcher, f"--nproc-per-node={count}", "-m", "insituml_pipelines.train", *TRAIN],
            cwd=folder,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def rank_of(pid: int) -> str | None:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((v[5:].decode() for v in variables if v.startswith(b"RANK=")), None)


def weights(folder: Path, method: str, task: int) -> dict[str, torch.Tensor]:
    (file,) = folder.glob(f"**/runs/{method}/seed_0/task_{task}.pt")
    return read_checkpoint_file(file).model["weights"]


def assert_alike(first: Path, second: Path, method: str, task: int) -> None:
    found, expected = weights(first, method, task), weights(second, method, task)
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-5, atol=1e-5 * float(value.abs().max())
        )


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_rank_is_killed_and_the_run_goes_on_on_one_and_on_three(tmp_path, monkeypatch) -> None:
    make_stream(points_data(), tmp_path / "stream")
    folders = [tmp_path / name for name in ("whole", "two", "one", "three")]
    for folder in folders:
        (folder / "data").mkdir(parents=True)
        (folder / "data/tasks").symlink_to(tmp_path / "stream/data/tasks")
    whole, two, one, three = folders
    process = torchrun(2, two, tmp_path / "said")
    try:
        while not list(two.glob(".partial/*/seed_0/task_0.pt")):
            assert process.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.01)
        (victim,) = [child for child in children(process.pid) if rank_of(child) == "1"]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        assert process.wait(timeout=60) != 0
        assert time.monotonic() - killed < 30
    finally:
        process.kill()
        process.wait()
    lines = [n for n in (tmp_path / "said").read_text().splitlines() if n.startswith("error: ")]
    assert len(lines) == 1
    assert f"rank 1 of 2 (process {victim}) is gone" in lines[0]
    for folder in (one, three):
        shutil.copytree(two / ".partial", folder / ".partial")
    assert not list(one.glob(".partial/*/seed_0/task_2.pt"))
    for folder in (whole, one):
        monkeypatch.chdir(folder)
        main(invoke(folder, SECTIONS, *TRAIN))
    launched(3, three, train, *TRAIN)
    assert "resumes after" in (three / "said").read_text()
    for folder in (one, three):
        assert_alike(folder, whole, "experience_replay", 2)


def as_ranks(count: int, folder: Path, *arguments: str) -> list[subprocess.Popen]:
    """Start a module so many times, as if by a launcher."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    started = []
    for rank in range(count):
        group = {"RANK": str(rank), "WORLD_SIZE": str(count)}
        group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        variables = {**environment(), **(group if count > 1 else {})}
        with (folder / f"said by {rank}").open("w") as said:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    cwd=folder,
                    env=variables,
                    stdout=said,
                    stderr=said,
                )
            )
    return started


def test_ranks_that_hold_a_part_each_train_what_one_does(tmp_path) -> None:
    make_stream(points_data(), tmp_path / "stream")
    short = [*TRAIN, "training.epochs=5"]
    for count, place, more in ((1, "whole", []), (2, "parts", ["training.sharded=true"])):
        (tmp_path / place / "data").mkdir(parents=True)
        (tmp_path / place / "data/tasks").symlink_to(tmp_path / "stream/data/tasks")
        launched(count, tmp_path / place, train, *short, *more)
    for task in range(3):
        assert_alike(tmp_path / "parts", tmp_path / "whole", "experience_replay", task)
    assert "without effect" not in (tmp_path / "parts/said").read_text()


def learn_from_a_stream(folder: Path, count: int) -> list[int]:
    """Let so many processes learn; return how many bytes each has read."""
    write_fields(folder / "fields", 9)
    launched(count, folder, stream, *STREAM)
    return json.loads((folder / "transit/timings/waiting.json").read_text())["bytes_read"]


def test_a_stream_teaches_two_ranks_what_it_teaches_one(tmp_path) -> None:
    """Each reads its own blocks, and nothing else."""
    (whole,) = learn_from_a_stream(tmp_path / "one", 1)
    assert learn_from_a_stream(tmp_path / "blocks", 2) == [whole // 2, whole // 2]
    for method in ("experience_replay", "ewc", "agem", "joint"):
        assert_alike(tmp_path / "blocks", tmp_path / "one", method, 1)


@pytest.mark.parametrize(
    "stage, sweeps, words", [("evaluate", False, "evaluate runs"), ("train", True, "a sweep runs")]
)
def test_what_takes_one_process_says_so_once(stage, sweeps, words, monkeypatch) -> None:
    check_stage(stage, sweeps=sweeps)  # one process
    group: Sequence[tuple[str, str]] = [("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1")]
    for name, value in group:
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "0")
    check_stage("train", sweeps=False)
    check_stage("evaluate", sweeps=False)  # in a pod that has such variables
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(UserError, match=f"{words} in one process, and torchrun has started 2"):
        check_stage(stage, sweeps=sweeps)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        check_stage(stage, sweeps=sweeps)


@pytest.mark.parametrize(
    "arguments, code, words",
    [(["--help"], 0, "Train one method"), (["method=nonexistent"], 2, "error: ")],
)
def test_others_end_where_the_first_has_no_use_for_them(tmp_path, arguments, code, words) -> None:
    first, second = as_ranks(2, tmp_path, "insituml_pipelines.train", *arguments)
    try:
        assert (first.wait(timeout=100), second.wait(timeout=100)) == (code, 0)
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    assert words in (tmp_path / "said by 0").read_text()
    assert (tmp_path / "said by 1").read_text() == ""


def test_ranks_of_one_machine_have_a_gpu_each(monkeypatch) -> None:
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    check_device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"2 ranks on this machine, which has 1 GPU\(s\)"):
        check_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="cuda:1, one GPU for 2 ranks"):
        check_device("cuda:1")
