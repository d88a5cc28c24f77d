"""Mirror planes as symmetries of a field: what a mirrored simulation would have given.

Maxwell's equations and those of motion hold in a mirror as well, if polar vectors (E, J) change the
sign of their component normal to the plane, and axial ones (B) that of those in the plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from insituml import ranks
from insituml.data.normalisation import Normalisation
from insituml.data.task import Batch, sent

POLAR, AXIAL, SCALAR = "polar", "axial", "scalar"
KINDS: Mapping[str, str] = {"E": POLAR, "J": POLAR, "B": AXIAL, "rho": SCALAR}
"""Of openPMD's records."""
AXES = ("x", "y", "z")
"""Cartesian ones: nothing is mirrored along a radius."""


@dataclass(frozen=True)
class Plane:
    """A mirror plane through the middle of each sample.

    Parameters
    ----------
    axis
        Of the grid, normal to it.
    signs
        What each component is multiplied by.
    """

    axis: int
    signs: tuple[int, ...]

    def reflect(self, values: Tensor, normalisation: Normalisation | None = None) -> Tensor:
        """Return the mirror image of samples.

        Parameters
        ----------
        values
            ``(n, components, ...)``, normalised or not.
        normalisation
            Theirs: the sign changes about the physical zero, which is elsewhere then. None: they
            are in their own unit.
        """
        shape = (-1, *(1,) * (values.dim() - 2))
        signs = sent(torch.tensor(self.signs, dtype=values.dtype), values.device)
        image = values.flip(2 + self.axis) * signs.view(shape)
        if normalisation is None:
            return image
        mean, std = (torch.from_numpy(v).double() for v in (normalisation.mean, normalisation.std))
        moved = (torch.tensor(self.signs) - 1) * mean / std
        return image + sent(moved.to(values.dtype), values.device).view(shape)


class Mirrors:
    """Mirror planes of a field.

    Parameters
    ----------
    axes
        Normal to the planes, such as ``["x", "z"]``.
    axis_labels
        Of the field's grid.
    components
        Such as ``("Ex", "Ey", "Ez")``.
    kinds
        ``"polar"``, ``"axial"`` or ``"scalar"`` by record, beside those of E, J, B and rho.

    Raises
    ------
    ValueError
        If the grid has no such axis, or it cannot be told what becomes of a component.
    """

    def __init__(
        self,
        axes: Sequence[str],
        axis_labels: Sequence[str],
        components: Sequence[str],
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        known = {**KINDS, **(kinds or {})}
        possible = [label for label in axis_labels if label in AXES]
        for axis in axes:
            if axis not in possible:
                raise ValueError(
                    f"there is no mirror plane normal to {axis!r}; the field has the axes "
                    f"{', '.join(axis_labels)}, of which {', '.join(possible) or 'none'} can be "
                    "mirrored"
                )
        self.planes = tuple(
            Plane(
                list(axis_labels).index(axis),
                tuple(_sign(component, axis, known) for component in components),
            )
            for axis in axes
        )

    def randomly(
        self, batch: Batch, normalisation: Normalisation, *, generator: torch.Generator
    ) -> Batch:
        """Return a batch of which each sample is mirrored in each plane, or not, by chance.

        Parameters
        ----------
        batch
            The inputs, then whatever belongs to them; not changed.
        normalisation
            Of all its inputs.
        generator
            Decides, on the CPU.
        """
        inputs = batch[0].clone()
        for plane in self.planes:
            drawn = torch.randint(2, (ranks.total(len(inputs)),), generator=generator)
            rows = sent(drawn[ranks.share()].nonzero().flatten(), inputs.device)
            inputs[rows] = plane.reflect(inputs[rows], normalisation)
        return (inputs, *batch[1:])


def _sign(component: str, normal: str, kinds: Mapping[str, str]) -> int:
    record, axis = component[:-1], component[-1]
    if kinds.get(component) == SCALAR:
        return 1
    kind = kinds.get(record)
    if kind not in (POLAR, AXIAL) or axis not in ("x", "y", "z", "r", "t"):
        raise ValueError(
            f"it is not known what a mirror makes of {component}; say by mirror_kinds whether "
            f"{component} is a {SCALAR}, or {record or component} a {POLAR} or {AXIAL} vector"
        )
    return -1 if (axis == normal) == (kind == POLAR) else 1
