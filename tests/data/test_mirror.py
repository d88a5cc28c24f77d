"""What a mirror makes of a field, against finite differences; that training gets true images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from insituml.data.mirror import Mirrors
from insituml.data.normalisation import Normalisation
from insituml.data.task import Task
from insituml.methods import ExperienceReplay
from insituml.models import MLP
from insituml.training import train

E, B = ("Ex", "Ey", "Ez"), ("Bx", "By", "Bz")
LABELS = ("x", "y", "z")
SHAPE = (6, 5, 8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def field(seed: int, components: int = 3, samples: int = 1) -> Tensor:
    return torch.randn(samples, components, *SHAPE, generator=seeded(seed), dtype=torch.float64)


def slope(values: Tensor, axis: int) -> Tensor:
    """Return central differences on a periodic grid, of ``(n, *grid)``."""
    return (values.roll(-1, 1 + axis) - values.roll(1, 1 + axis)) / 2


def divergence(v: Tensor) -> Tensor:
    return sum((slope(v[:, k], k) for k in range(3)), torch.zeros(1))[:, None]


def curl(v: Tensor) -> Tensor:
    parts = [
        slope(v[:, (k + 2) % 3], (k + 1) % 3) - slope(v[:, (k + 1) % 3], (k + 2) % 3)
        for k in range(3)
    ]
    return torch.stack(parts, 1)


def image(values: Tensor, components: tuple[str, ...], axis: str, **options: Any) -> Tensor:
    (plane,) = Mirrors([axis], LABELS, components).planes
    return plane.reflect(values, **options)


@pytest.mark.parametrize("axis", LABELS)
def test_maxwells_equations_hold_in_the_mirror(axis: str) -> None:
    electric, magnetic = field(1), field(2)
    mirrored = image(electric, E, axis), image(magnetic, B, axis)
    torch.testing.assert_close(curl(mirrored[0]), image(curl(electric), B, axis))
    torch.testing.assert_close(curl(mirrored[1]), image(curl(magnetic), E, axis))
    torch.testing.assert_close(divergence(mirrored[0]), image(divergence(electric), ("rho",), axis))
    assert not torch.allclose(curl(mirrored[0]), image(curl(electric), E, axis))


def test_the_components_of_each_kind() -> None:
    components = (*E, *B, "Jz", "rho", "Ax", "phi", "Er", "Bt", "Bz")
    kinds = {"A": "polar", "phi": "scalar"}
    signs = {
        axis: Mirrors([axis], LABELS, components, kinds).planes[0].signs for axis in ("x", "z")
    }
    assert signs["x"] == (-1, 1, 1, 1, -1, -1, 1, 1, -1, 1, 1, -1, -1)
    assert signs["z"] == (1, 1, -1, -1, -1, 1, -1, 1, 1, 1, 1, -1, 1)


SCALE = Normalisation(np.array([0.7, -3.0, 0.1]), np.array([2.0, 0.5, 3.0]))


@pytest.mark.parametrize("axis", LABELS)
def test_mirroring_commutes_with_normalising_and_twice_is_the_identity(axis: str) -> None:
    values = field(1, samples=4).float()
    scaled = torch.from_numpy(SCALE.apply(values.numpy()))
    expected = torch.from_numpy(SCALE.apply(image(values, E, axis).numpy()))
    found = image(scaled, E, axis, normalisation=SCALE)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(image(scaled, E, axis), expected, atol=1e-2)
    torch.testing.assert_close(image(found, E, axis, normalisation=SCALE), scaled)
    assert torch.equal(image(image(values, E, axis), E, axis), values)


def test_each_sample_is_mirrored_by_chance_in_each_plane() -> None:
    values, mirrors = field(1).float(), Mirrors(["x", "z"], LABELS, E)
    labels = torch.arange(400)
    batch, again = (
        mirrors.randomly((values.repeat(400, 1, 1, 1, 1), labels), SCALE, generator=seeded(5))
        for _ in range(2)
    )
    assert torch.equal(batch[0], again[0])
    assert torch.equal(batch[1], labels)
    across_x, across_z = (plane.reflect(values, SCALE) for plane in mirrors.planes)
    both = mirrors.planes[1].reflect(across_x, SCALE)
    same = [(batch[0] == one).flatten(1).all(1) for one in (values, across_x, across_z, both)]
    counts = torch.stack(same).sum(1)
    assert counts.sum() == 400  # one of the four, each
    assert int(counts.min()) > 70  # 100 − 3.5 standard deviations
    assert int(counts.max()) < 130


@pytest.mark.parametrize(
    "axes, labels, components, said",
    [
        (["t"], LABELS, E, "no mirror plane normal to 't'; the field has the axes x, y, z"),
        (["r"], ("r", "z"), ("Er", "Ez"), "of which z can be mirrored"),
        (
            ["x"],
            LABELS,
            ("Ax",),
            "say by mirror_kinds whether Ax is a scalar, or A a polar or axial vector",
        ),
        (["x"], LABELS, ("n",), "whether n is a scalar"),
    ],
)
def test_what_cannot_be_mirrored_is_named(
    axes: list[str], labels: tuple[str, ...], components: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Mirrors(axes, labels, components)


def test_training_gets_images_and_the_memory_the_samples() -> None:
    shape = (3, 2, 2, 2)
    x = torch.randn(12, *shape, generator=seeded(1))
    mirrors, seen = Mirrors(["x"], LABELS, E), []

    class Spy(ExperienceReplay):
        def join(self, learner: Any, batch: Any) -> Any:
            seen.append(batch[0])
            return super().join(learner, batch)

    learner, method = MLP(shape, (4,), 2, generator=seeded(2)), Spy(12, 4, generator=seeded(3))
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
    options = {"epochs": 4, "batch_size": 4, "generator": seeded(4)}

    def augment(batch: Any, generator: torch.Generator) -> Any:
        return mirrors.randomly(batch, SCALE, generator=generator)

    list(train(learner, method, [Task(0, "", (x,), ())], optimizer, augment=augment, **options))
    shown, (plane,) = torch.cat(seen), mirrors.planes
    known = torch.cat([x, plane.reflect(x, SCALE)]).flatten(1)
    found = torch.cdist(shown.flatten(1), known, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = found.min(1)
    assert nearest.values.max() < 1e-5
    assert 12 < len(nearest.indices.unique()) <= 24
    stored = method.memory.all()[0]
    assert torch.equal(stored.sort(0).values, x.sort(0).values)
