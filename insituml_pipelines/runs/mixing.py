"""Mixing of neighbouring iterations, from section ``training`` to what mixes the batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.runs.mirroring import check_one_normalisation

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.mixing import IterationMixing
    from insituml.data.step import Grid


def mixing_of(
    settings: Node, grid: Grid | None, chunk: Sequence[int] | None
) -> IterationMixing | None:
    """Return what mixes the samples of a stream; None where nothing does.

    Raises
    ------
    UserError
        If it is not of a field, whose chunks are found again at each iteration.
    """
    from insituml.data.mixing import IterationMixing

    reach = settings.get("mix_iterations")
    if not reach:
        return None
    if grid is None or chunk is None:
        raise UserError(
            f"training.mix_iterations is {reach}, but points and images have no same place at "
            "another iteration; leave it at 0"
        )
    return IterationMixing(reach, math.prod(grid.shape) // math.prod(chunk))


def mixing_in_files(settings: Node, manifest: Manifest) -> IterationMixing | None:
    """Return what mixes the samples of a stream in files; None where nothing does.

    Raises
    ------
    UserError
        As :func:`mixing_of`, or if tasks are normalised each in its own way: what learns several
        at once mixes across their borders.
    """
    mix = mixing_of(settings, manifest.grid, manifest.chunk)
    if mix is not None:
        check_one_normalisation(manifest, "training.mix_iterations")
    return mix
