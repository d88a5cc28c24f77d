"""``insituml inspect`` says what a file holds, and in one line why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import insituml
from insituml.archive import FieldLatents, pack_latents
from insituml.methods import Naive
from insituml.models import MLP
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.inspect import described
from insituml_pipelines.runs.worker import train_run


def values_of(text: str) -> dict[str, str]:
    """Return the rows ``name  value`` of a text, the first of each name."""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition("  ")
        rows.setdefault(name, value.strip())
    return rows


def test_a_checkpoint_of_the_pipeline(make_run) -> None:
    run = make_run("ewc", seed=3)
    train_run(run, lambda *_: None)
    path = run.checkpoint(2)
    learner = insituml.load_checkpoint(path)
    numbers = sum(tensor.numel() for tensor in learner.state_dict().values())
    text = described(path)
    rows = values_of(text)
    assert text.startswith(f"{path}: a checkpoint of format 1, ")
    assert rows["learner"] == f"insituml.models.mlp.MLP, {numbers:,} numbers in its weights"
    assert rows["of"].startswith("ewc, seed 3, after task 2 (")
    assert rows["trained"].startswith(f"{learner.metadata['steps']} steps, ")
    assert f"last loss {learner.metadata['loss_history'][-1]:.4g}" in rows["trained"]
    assert rows["goes on"].startswith("yes")
    assert "  strength: 5.0" in text
    assert "  hidden_sizes: [6]" in text
    assert f"  torch: {torch.__version__}" in text
    assert max(map(len, text.splitlines()[1:])) <= 110


def test_a_checkpoint_that_was_saved_by_hand(tmp_path) -> None:
    generator = torch.Generator()
    learner = MLP([2], hidden_sizes=[3], latent_size=1, generator=generator)
    insituml.save_checkpoint(
        tmp_path / "mine.pt",
        learner,
        method=Naive(generator=generator),
        optimizer=torch.optim.SGD(learner.parameters(), lr=0.1),
        generator=generator,
        metadata={"of": "my own"},
    )
    text = described(tmp_path / "mine.pt")
    assert values_of(text)["goes on"].startswith("yes")
    assert "  latent_size: 1" in text


@pytest.mark.parametrize("name", ["", "stream.json"])
def test_a_manifest(name, points) -> None:
    text = described(points.folder / name)
    rows = values_of(text)
    manifest = points.manifest
    assert rows["name"] == "toy8, points, 3 tasks"
    assert rows["fingerprint"] == manifest.fingerprint[:12]
    for number, task in enumerate(manifest.tasks):
        counts = [str(task.train), str(task.validation), str(task.test)]
        (line,) = [row for row in text.splitlines() if row.startswith(f"{number}  ")]
        assert [cell for cell in line.split("  ") if cell][2:5] != []
        assert all(count in line.split() for count in counts)
    assert "  points: 16" in text


def test_latents(tmp_path) -> None:
    values = torch.arange(24, dtype=torch.float32).reshape(4, 6) / 8
    fields = [FieldLatents(values + k, (8, 4), task=2) for k in range(3)]
    data = pack_latents(fields)
    path = tmp_path / "field.latents"
    path.write_bytes(data)
    rows = values_of(described(path))
    assert rows["fields"] == "3, each of 8 × 4 points"
    assert rows["latents"].startswith("4 × 6 a field (chunks × latent): 24 numbers for 32 points")
    assert rows["stored as"] == f"float32, {8 * len(data) / 72:.3g} bits a number"
    assert rows["values"] == "from 0 to 4.875"
    assert rows["task"].startswith("2")


@pytest.mark.parametrize(
    "content, said",
    [
        (None, r"there is no .*x \(looked in "),
        (b"", "is empty; was its writer interrupted"),
        (b"PK\x03\x04 and no more of it" * 9, "is damaged, or was not written by insituml"),
        (b'{"format": 99}', "has format 99, this version of insituml reads format 1"),
        (b'{"a": 1}', "has no format number"),
        (b"{", "x"),
        (b"something else", "are no latents, or are damaged"),
    ],
)
def test_what_it_cannot_show(content, said, tmp_path) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        described(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(str(path)) == 1


def test_a_folder_of_something_else_names_what_could_be_meant(tmp_path) -> None:
    Path(tmp_path / "seed_0").mkdir()
    (tmp_path / "seed_0/task_1.pt").touch()
    with pytest.raises(UserError, match=r"such as seed_0/task_1\.pt"):
        described(tmp_path)
