"""Fields of any record and of one to three axes go through generate and split as they are."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insituml.data import OpenPMDSeries
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Data
from insituml_pipelines.data.readable import ReadableField


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("own_source")


def own_data(on_bad_iteration: str = "fail", **source: Any) -> Data:
    return Data.model_validate(
        {
            "name": "own",
            "kind": "field",
            "source": {"_target_": "own_source.Own", **source},
            "split": {
                "by": "time",
                "tasks": 2,
                "holdout": 0.3,
                "normalisation": "first_task",
                "on_bad_iteration": on_bad_iteration,
                "seed": 0,
            },
        }
    )


@pytest.mark.parametrize(
    "components, unit, shape",
    [
        (("Bz",), "T", (6,)),
        (("rho",), "C/m^3", (5, 7)),
        (("Jx", "Jy"), "A/m^2", (2, 3, 4)),
        (("density",), "m^-3", (1, 9)),
        (("Ex", "Ey", "Ez"), "V/m", (1,)),
    ],
)
def test_what_is_generated_is_split(tools, tmp_path, importable, components, unit, shape) -> None:
    data = own_data(components=list(components), unit=unit, shape=list(shape))
    files = tools.make_stream(data, tmp_path)
    manifest = files.manifest
    assert (manifest.components, manifest.unit) == (components, unit)
    assert manifest.units == (unit,) * len(components)
    assert manifest.grid.shape == shape
    source = importable.Own(components, unit, shape)
    for k, task in enumerate(manifest.tasks):
        found = task.normalisation.invert(np.array(files.array(k, "test_inputs")))
        expected = np.array([source.values(number) for number in task.held_out])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
        # Each component is normalised by its own spread, however small beside another's.
        spread = np.array(files.array(k, "train_inputs")).std(axis=(0, *range(2, 2 + len(shape))))
        assert (spread > 0.1).all()
    assert json.loads((tmp_path / "data/tasks/stream.json").read_text())["units"] == [unit] * len(
        components
    )


@pytest.mark.parametrize("fault, stage", [("raise", "generate"), ("nan", "split")])
def test_an_odd_iteration_is_named_and_left_out_or_refused(
    tools, tmp_path, capsys, fault, stage
) -> None:
    with pytest.raises(UserError, match=r"iteration 30.*on_bad_iteration=skip leaves such"):
        tools.make_stream(own_data(fault=fault), tmp_path / "fails")
    capsys.readouterr()
    files = tools.make_stream(own_data("skip", fault=fault), tmp_path / "skips")
    said = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(said) == 1
    assert said[0].startswith(f"{stage}: iteration 30 is left out: ")
    assert files.manifest.iterations == (0, 10, 20, 40, 50, 60, 70)


def test_a_field_of_which_nothing_can_be_read(tools, tmp_path, importable) -> None:
    class Broken(importable.Own):
        def steps(self, places: Any) -> Any:
            raise OSError("the disk is gone")

    field = ReadableField(Broken(), own_data("skip"), "generate", finite=False)
    with pytest.raises(UserError, match="no iteration is left that can be read"):
        list(field)
    assert len(field) == 0


def test_what_is_made_keeps_its_unit_in_the_file(tools, tmp_path) -> None:
    tools.make_stream(own_data(), tmp_path)
    series = OpenPMDSeries(tmp_path / "data/raw/series.h5", record="B")
    assert (series.components, series.unit) == (("Bz",), "T")
