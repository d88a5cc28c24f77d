"""The job scripts run what they say, with a stand-in for ``srun`` that runs it here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "examples/slurm"
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="job scripts are for bash")

# Notes its own options, and runs the rest as Slurm would: in each task.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do
  echo "srun $1" >> calls
  [[ $1 == --ntasks=* ]] && tasks=${1#--ntasks=}
  shift
done
for ((k = 0; k < ${tasks:-1}; k++)); do
  SLURM_PROCID=$k "$@" &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit ${code:-0}
"""
NOTES = """#!/bin/bash
echo "NAME $* [$OMP_NUM_THREADS]" >> calls
echo "srun gave $SRUN_CPUS_PER_TASK" >> calls
"""
SCONTROL = """#!/bin/bash
echo node7
echo node8
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a script with stand-ins; returns its exit code and the calls that it made."""

    def put(name: str, content: str) -> None:
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)

    for name in ("insituml", "torchrun"):
        put(name, NOTES.replace("NAME", name))
    put("srun", SRUN)
    put("scontrol", SCONTROL)

    def run(script: str, *arguments: str, insituml: str = "", **environment: str):
        if insituml:
            put("insituml", insituml)
        done = subprocess.run(
            [BASH, str(SCRIPTS / script), *arguments],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "40123"} | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not done.stderr, done.stderr
        calls = (tmp_path / "calls").read_text().splitlines()
        return done.returncode, [call for call in calls if not call.startswith("srun")], calls

    return run


def test_one_command_gets_all_that_stands_behind_the_script(run) -> None:
    code, calls, _ = run("run.sbatch", "train", "method=ewc", "data.split.chunk=[12,32,12]")
    assert code == 0
    assert calls == ["insituml train method=ewc data.split.chunk=[12,32,12] [1]"]


def test_each_node_starts_a_torchrun_that_meets_the_others_on_the_first(run) -> None:
    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[7-8]"}
    code, calls, every = run("train.sbatch", "method=ewc", **slurm, SLURM_GPUS_ON_NODE="4")
    assert code == 0
    assert (
        calls
        == [
            "torchrun --nnodes=2 --nproc-per-node=4 --rdzv-backend=c10d --rdzv-id=40123 "
            "--rdzv-endpoint=node7:20123 -m insituml_pipelines.train method=ewc [1]"
        ]
        * 2
    )
    assert "srun --kill-on-bad-exit=1" in every
    _, calls, _ = run("train.sbatch", **slurm, RANKS_PER_NODE="3")
    assert "--nproc-per-node=3 " in calls[-1]


def test_simulation_and_trainer_share_an_allocation_and_a_stream(run) -> None:
    code, calls, every = run("in_transit.sbatch", "method=ewc", SIMULATION="insituml produce a=1")
    assert code == 0
    assert sorted(calls) == [
        "insituml produce a=1 produce.output=stream.sst [1]",
        "insituml stream data=openpmd data.path=stream.sst method=ewc [1]",
    ]
    assert every.count("srun --overlap") == 2


@pytest.mark.parametrize("script, steps", [("run", 1), ("train", 2), ("in_transit", 2)])
def test_steps_have_the_cores_of_the_job(script, steps, run) -> None:
    slurm = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[7-8]"}
    _, _, every = run(f"{script}.sbatch", **slurm, SLURM_CPUS_PER_TASK="8")
    assert every.count("srun gave 8") == steps
    own = {"SRUN_CPUS_PER_TASK": "3"}
    _, _, every = run(f"{script}.sbatch", **slurm, SLURM_CPUS_PER_TASK="8", **own)
    assert every.count("srun gave 3") == steps


def test_a_job_submitted_again_is_the_same_for_its_trainer(run) -> None:
    # Names of a stream and of files are part of what a run is known by.
    _, first, _ = run("in_transit.sbatch", SLURM_JOB_ID="1")
    _, both, _ = run("in_transit.sbatch", SLURM_JOB_ID="2")
    assert sorted(both) == sorted(2 * first)
    for file in SCRIPTS.glob("*.sbatch"):
        assert "#SBATCH --requeue\n" in file.read_text()


def test_a_simulation_of_other_kind_reads_where_to_write_from_its_environment(run) -> None:
    _, calls, _ = run("in_transit.sbatch", SIMULATION="printenv STREAM", STREAM="mine.sst")
    assert calls == ["insituml stream data=openpmd data.path=mine.sst [1]"]


@pytest.mark.parametrize("failing, code", [("produce", 7), ("stream", 7)])
def test_who_fails_fails_the_job(failing, code, run) -> None:
    script = f'#!/bin/bash\n[[ $1 != {failing} ]] || exit {code}\necho "insituml $1" >> calls\n'
    assert run("in_transit.sbatch", insituml=script)[0] == code
