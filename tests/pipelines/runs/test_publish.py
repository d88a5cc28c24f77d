"""Finished runs get their place: all checkpoints, and where training goes on in the last."""

from __future__ import annotations

import json
from pathlib import Path

from insituml.checkpoint_file import read_checkpoint_file
from insituml_pipelines.runs.publish import publish
from insituml_pipelines.runs.worker import train_run


def test_state_of_training_is_kept_in_the_last_checkpoint_alone(make_run, tmp_path: Path) -> None:
    runs = [make_run("agem", seed, folder=tmp_path / f"partial/{seed}") for seed in (0, 3)]
    for run in runs:
        train_run(run, lambda run, record: None)
    before = [run.checkpoint(0).read_bytes() for run in runs]
    (tmp_path / "runs/agem/seed_9").mkdir(parents=True)  # of an earlier call
    publish(runs, tmp_path, {"extra.json": {"a": 1}})
    found = {path.name for path in (tmp_path / "runs/agem").iterdir()}
    assert found == {"seed_0", "seed_3", "extra.json"}
    for run in runs:
        folder = tmp_path / f"runs/agem/seed_{run.recipe.seed}"
        files = ["initial.pt", "task_0.pt", "task_1.pt", "task_2.pt"]
        assert sorted(p.name for p in folder.iterdir()) == files
        for file in files:
            ours, theirs = (read_checkpoint_file(f / file) for f in (folder, run.folder))
            for name, weight in theirs.model["weights"].items():
                assert weight.equal(ours.model["weights"][name])
            assert ours.metadata == theirs.metadata
            assert (ours.training is not None) == (file == "task_2.pt")
            assert theirs.training is not None
    assert [run.checkpoint(0).read_bytes() for run in runs] == before  # left alone
    timings = json.loads((tmp_path / "timings/agem.json").read_text())
    assert timings.keys() == {"0", "3"}
    assert all(t["seconds_per_step"] > 0 for t in timings.values())
