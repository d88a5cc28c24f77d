"""What tests of runs share."""

from __future__ import annotations

from typing import Any

import pytest

from insituml import load_checkpoint
from insituml.training import EpochRecord
from insituml_pipelines.runs.worker import train_run


@pytest.fixture
def fields(tools: Any, tmp_path: Any) -> Any:
    """Return a function that makes a stream of fields."""

    def make(**split: Any) -> Any:
        tools.write_fields(tmp_path / "fields")
        return tools.make_stream(tools.field_data(tmp_path / "fields", **split), tmp_path)

    return make


@pytest.fixture
def resumed_alike(make_run: Any, tmp_path: Any) -> Any:
    """Return a function that trains with and without options, once whole and once interrupted.

    It sees that the interrupted run ends with the bits of the whole one, and returns the weights
    at the end with the options, and without.
    """

    def train(method: str, training: dict[str, Any], without: dict[str, Any], **more: Any) -> Any:
        whole, killed, plain = (
            make_run(method, folder=tmp_path / name, training=used, **more)
            for name, used in (("whole", training), ("killed", training), ("plain", without))
        )
        for run in (whole, plain):
            train_run(run, lambda run, record: None)

        def die(_: Any, record: Any) -> None:
            if isinstance(record, EpochRecord) and record.task == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_run(killed, die)
        assert killed.finished_tasks() == 1
        train_run(killed, lambda run, record: None)
        last = whole.finished_tasks() - 1
        assert whole.checkpoint(last).read_bytes() == killed.checkpoint(last).read_bytes()
        return [load_checkpoint(run.checkpoint(last)).state_dict() for run in (whole, plain)]

    return train
