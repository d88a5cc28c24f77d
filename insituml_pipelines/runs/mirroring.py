"""Mirror planes, from section ``training`` to what changes the batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.mirror import Mirrors
    from insituml.data.normalisation import Normalisation
    from insituml.data.step import Grid
    from insituml.optimisation import Augment


def mirrors_of(settings: Node, components: Sequence[str], grid: Grid | None) -> Mirrors | None:
    """Return the mirror planes of a stream; None where none are asked for.

    Raises
    ------
    UserError
        If it has none such, or it cannot be told what becomes of a component.
    """
    from insituml.data.mirror import Mirrors

    axes = settings.get("mirror")
    if not axes:
        return None
    if grid is None:
        raise UserError(
            f"training.mirror is {axes}, but points and images have no mirror planes; "
            "leave it at []"
        )
    try:
        return Mirrors(axes, grid.axis_labels, components, settings.get("mirror_kinds"))
    except ValueError as error:
        raise UserError(f"training.mirror is {axes}: {error}") from error


def augment_of(
    mirrors: Mirrors | None, normalisation: Callable[[], Normalisation]
) -> Augment | None:
    """Return what mirrors batches; ``normalisation()`` is known when the first one comes."""
    if mirrors is None:
        return None
    return lambda batch, generator: mirrors.randomly(batch, normalisation(), generator=generator)


def augment_files(settings: Node, manifest: Manifest) -> Augment | None:
    """Return what mirrors batches of a stream in files; None where nothing does.

    Raises
    ------
    UserError
        As :func:`mirrors_of`, or if tasks are normalised each in its own way: where zero is would
        depend on the sample.
    """
    mirrors = mirrors_of(settings, manifest.components, manifest.grid)
    if mirrors is None:
        return None
    check_one_normalisation(manifest, "training.mirror")
    return augment_of(mirrors, lambda: manifest.tasks[0].normalisation)


def check_one_normalisation(manifest: Manifest, wanted_by: str) -> None:
    """Raise UserError unless all tasks of a stream are normalised alike."""
    first, *others = (task.normalisation for task in manifest.tasks)
    if any((first.mean != o.mean).any() or (first.std != o.std).any() for o in others):
        raise UserError(
            f"{wanted_by} wants one normalisation for all tasks, which these data have not; use "
            "data.split.normalisation=first_task"
        )
