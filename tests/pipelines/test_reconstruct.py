"""The restoring command: a series as the checkpoint gives it back, and one line for mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import insituml
from insituml.archive import pack_latents
from insituml.data import NpyFolder, OpenPMDSeries, TaskFiles, write_series
from insituml.data.chunks import assemble
from insituml.models import MLP
from insituml_pipelines import generate, split, stream, train
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Reconstruct, validate
from insituml_pipelines.reconstruct import SECTIONS, main, reconstruct

CHECKPOINT = "reconstruct.checkpoint=mlp_after_task_2.pt"


@pytest.fixture
def fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: Any) -> np.ndarray:
    """Fields in a folder, as NumPy files and as a series, and a checkpoint, all beside here."""
    monkeypatch.chdir(tmp_path)
    volumes = tools.write_fields(Path("fields"))
    tasks = tools.make_stream(tools.field_data(Path("fields")), Path())
    model = MLP(input_shape=tasks.manifest.sample_shape, hidden_sizes=[6], latent_size=2)
    model.save_checkpoint(".", "mlp", 2, manifest=tasks.manifest)
    write_series("e.h5", NpyFolder("fields", spacing=(2e-6, 1e-6, 2e-6)))
    return volumes


def test_the_series_is_what_five_lines_of_the_library_give(
    fields: np.ndarray, tools: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = tools.invoke(tmp_path, SECTIONS, "data=openpmd", "data.path=e.h5", CHECKPOINT)
    main(call)
    learner = insituml.load_checkpoint("mlp_after_task_2.pt")
    expected = [
        insituml.decode_field(learner, insituml.encode_field(learner, volume)) for volume in fields
    ]
    restored = OpenPMDSeries("openpmd_restored.h5")
    np.testing.assert_array_equal([step.values for step in restored], expected)
    original = OpenPMDSeries("e.h5")
    assert (restored.grid, restored.unit) == (original.grid, original.unit)
    assert restored.iteration_numbers == original.iteration_numbers
    assert [step.time for step in restored] == [step.time for step in original]

    norm = np.linalg.norm
    x, y = fields.astype(float), np.array(expected, dtype=float)
    parts = ", ".join(
        f"{name} {norm((x - y)[:, c]) / norm(x[:, c]):.3g}"
        for c, name in enumerate(("Ex", "Ey", "Ez"))
    )
    assert capsys.readouterr().out.splitlines() == [
        "reconstruct: 7 iterations of openpmd are in openpmd_restored.h5",
        f"reconstruct: relative L2 error {norm(x - y) / norm(x):.3g} ({parts})",
        "reconstruct: 8 latent numbers a volume in place of 96: 12 times fewer",
    ]


def test_any_source_of_a_field_will_do_and_another_resolution_is_noted(
    fields: np.ndarray, tools: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["data=efield_npy", "data.path=fields", "data.source.spacing=[1e-6,1e-6,1e-6]"]
    Path("r.bp").mkdir()  # replaced
    main(tools.invoke(tmp_path, SECTIONS, *where, CHECKPOINT, "reconstruct.output=r.bp"))
    note = "note: points lie 1 × 1 × 1 µm apart, those that were learned 2 × 1 × 2 µm"
    assert note in capsys.readouterr().out
    assert len(OpenPMDSeries("r.bp")) == 7


def test_the_scale_of_another_task(fields: np.ndarray, tools: Any) -> None:
    data = tools.field_data(Path("fields"), normalisation="running")
    tasks = tools.make_stream(data, Path())
    model = MLP(input_shape=tasks.manifest.sample_shape, hidden_sizes=[6], latent_size=2)
    path = model.save_checkpoint(".", "mlp", 2, manifest=tasks.manifest)
    values = {"checkpoint": str(path), "output": "r.h5", "device": "cpu"}
    for asked, used in ((None, 2), (0, 0)):
        reconstruct(data, validate(Reconstruct, {**values, "task": asked}, "reconstruct"))
        first = next(iter(OpenPMDSeries("r.h5"))).values
        learner = insituml.load_checkpoint(path)
        latents = insituml.encode_field(learner, fields[0], task=used)
        np.testing.assert_array_equal(first, insituml.decode_field(learner, latents))


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_latents_in_fewer_bits_and_what_they_cost(
    fields: np.ndarray,
    tools: Any,
    tmp_path: Path,
    storage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ["data=openpmd", "data.path=e.h5", CHECKPOINT, f"reconstruct.latents={storage}"]
    main(tools.invoke(tmp_path, SECTIONS, *where))
    learner = insituml.load_checkpoint("mlp_after_task_2.pt")
    kept = [insituml.encode_field(learner, volume, storage=storage) for volume in fields]
    expected = np.array([insituml.decode_field(learner, latents) for latents in kept])
    restored = [step.values for step in OpenPMDSeries("openpmd_restored.h5")]
    np.testing.assert_array_equal(restored, expected)
    mean = np.mean([len(pack_latents([latents])) for latents in kept])
    error = np.linalg.norm(fields - expected.astype(float)) / np.linalg.norm(fields.astype(float))
    said = capsys.readouterr().out
    assert f"relative L2 error {error:.3g} " in said
    assert f"stored as {storage} they take {mean:.4g} bytes a volume in place of 384: " in said


@pytest.mark.parametrize(
    "overrides, problem",
    [
        (["reconstruct.checkpoint=none.pt"], "reconstruct.checkpoint is none.pt, but there is no"),
        (["reconstruct.checkpoint=e.h5"], "reconstruct.checkpoint: e.h5 "),
        (["data.component=Ex"], "data=openpmd: the source has Ex in V/m; the checkpoint was "),
        (["data.path=none.h5"], "data=openpmd: no openPMD file none.h5"),
        (["data=toy8"], "data=toy8 are points; only fields are written"),
        (["reconstruct.output=e.h5"], "reconstruct.output is e.h5, which is the original itself"),
        (["reconstruct.output=r.npy"], "data=openpmd: r.npy must end in .h5"),
        (["reconstruct.output=none/r.h5"], "data=openpmd: no folder none"),
        (["reconstruct.task=3"], "data=openpmd: the checkpoint describes 3 task(s)"),
        (["reconstruct.task=-1"], "reconstruct.task is -1: "),
        (["reconstruct.latents=int4"], "reconstruct.latents is 'int4': "),
        (["reconstruct.device=abacus"], "reconstruct.device is 'abacus', which does not work"),
    ],
)
def test_mistakes_cost_one_line(
    fields: np.ndarray, tools: Any, tmp_path: Path, overrides: list[str], problem: str
) -> None:
    before = Path("e.h5").read_bytes()
    where = ["data=openpmd", "data.path=e.h5"]
    if overrides[0].startswith("data="):
        where = []
    given = [] if overrides[0].startswith("reconstruct.checkpoint") else [CHECKPOINT]
    with pytest.raises(UserError) as caught:
        main(tools.invoke(tmp_path, SECTIONS, *where, *given, *overrides))
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)
    assert Path("e.h5").read_bytes() == before


def test_the_checkpoint_must_be_named(fields: np.ndarray, tools: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^reconstruct.checkpoint has no value; give it one: "):
        main(tools.invoke(tmp_path, SECTIONS, "data=openpmd", "data.path=e.h5"))


def test_an_iteration_with_nan_is_named_and_nothing_is_left(
    fields: np.ndarray, tools: Any, tmp_path: Path
) -> None:
    fields[3, 1, 0, 0, 0] = np.nan
    np.save("fields/data_300.npy", fields[3])
    where = ["data=efield_npy", "data.path=fields", CHECKPOINT, "reconstruct.output=r.h5"]
    with pytest.raises(UserError, match="efield_npy: iteration 300: 1 NaN and 0 infinite among"):
        main(tools.invoke(tmp_path, SECTIONS, *where))
    assert not list(Path().glob("*r.h5"))


def test_an_iteration_with_nan_may_be_left_out(
    fields: np.ndarray, tools: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields[3, 1, 0, 0, 0] = np.nan
    np.save("fields/data_300.npy", fields[3])
    where = ["data=efield_npy", "data.path=fields", CHECKPOINT, "reconstruct.output=r.h5"]
    main(tools.invoke(tmp_path, SECTIONS, *where, "data.split.on_bad_iteration=skip"))
    assert "iteration 300 is left out: 1 NaN" in capsys.readouterr().out
    left = [n for n in NpyFolder("fields").iteration_numbers if n != 300]
    assert OpenPMDSeries("r.h5").iteration_numbers == left


TRAINED = [
    "data=efield_npy",
    "data.path=fields",
    "data.split.tasks=2",
    "data.split.chunk=[1,4,2]",
    "data.split.holdout=0.3",
    "tracking=none",
    "model=mlp",
    "model.hidden_sizes=[6]",
    "model.latent_size=2",
    "training.seeds=[0]",
    "training.workers=0",
    "training.epochs=1",
]


def trained_from_files(tools: Any, root: Path) -> tuple[Path, Path]:
    """Return the last checkpoint and the tasks."""
    overrides = [*TRAINED, "data.split.normalisation=running"]
    for stage in (generate, split, train):
        stage.main(tools.invoke(root, stage.SECTIONS, *overrides))
    return root / "runs/naive/seed_0/task_1.pt", root / "data/tasks"


def trained_in_transit(tools: Any, root: Path) -> tuple[Path, Path]:
    overrides = [*TRAINED, "transit.methods=[naive]"]
    stream.main(tools.invoke(root, stream.SECTIONS, *overrides))
    return root / "transit/runs/naive/seed_0/task_1.pt", root / "transit/data/tasks"


@pytest.mark.parametrize("trained", [trained_from_files, trained_in_transit])
def test_a_checkpoint_of_the_pipeline_says_how_its_samples_were_made(
    trained: Any, fields: np.ndarray, tools: Any, tmp_path: Path, nothing_drawn: None
) -> None:
    path, folder = trained(tools, tmp_path)
    files = TaskFiles.open(folder)
    learner = insituml.load_checkpoint(path)
    iterations = files.array(1, "test_places")[:, 0]
    places = files.array(1, "test_places")[:, 1:]
    samples = torch.from_numpy(np.array(files.array(1, "test_inputs")))
    for number in np.unique(iterations):
        # The samples as they were cut and normalised for the evaluation of this checkpoint.
        mine = samples[iterations == number]
        latents = insituml.encode_field(learner, np.load(f"fields/data_{number}.npy"))
        with torch.no_grad():
            expected = learner.encode(mine)
        assert latents.task == 1
        torch.testing.assert_close(latents.values, expected, rtol=1e-5, atol=1e-6)
        restored = insituml.decode_field(learner, latents)
        with torch.no_grad():
            scale = files.manifest.tasks[1].normalisation
            chunks = scale.invert(learner.decode(expected).numpy())
        volume = assemble(chunks, places[iterations == number], tools.FIELD_SHAPE)
        np.testing.assert_allclose(restored, volume, rtol=1e-4, atol=1e-4)
    call = tools.invoke(
        tmp_path, SECTIONS, "data=openpmd", "data.path=e.h5", f"reconstruct.checkpoint={path}"
    )
    main(call)
    assert len(OpenPMDSeries("openpmd_restored.h5")) == len(fields)
