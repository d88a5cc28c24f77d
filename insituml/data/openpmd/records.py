"""Find a record among the meshes of an iteration, however its writer arranged it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import openpmd_api as io

AXES = ("x", "y", "z", "r", "t")
"""Names of a vector's components."""


class NotInIterationError(KeyError):
    """An iteration has no such record or component; others of its series may have it."""


@dataclass(frozen=True)
class Record:
    """A field and its components.

    Parameters
    ----------
    name
        Such as ``"E"``.
    meshes
        The mesh of each component, by axis; ``""`` for a scalar's only one.
    keys
        What the component is called in its mesh, by axis.
    """

    name: str
    meshes: dict[str, Any]
    keys: dict[str, str]

    @property
    def mesh(self) -> Any:
        """The mesh that says where the points are."""
        return next(iter(self.meshes.values()))

    @property
    def is_scalar(self) -> bool:
        return list(self.meshes) == [""]

    def component(self, axis: str) -> Any:
        """Return openPMD's record component."""
        return self.meshes[axis][self.keys[axis]]


def find_record(meshes: Any, name: str, where: str) -> Record:
    """Return a record: a vector mesh, a scalar mesh, or scalar meshes named by record and axis.

    One component of a vector is found by its own name, such as ``"Ex"``.

    Parameters
    ----------
    meshes
        Of an opened iteration.
    name
        Of the record.
    where
        The iteration, named in errors.

    Raises
    ------
    NotInIterationError
        If there is none.
    """
    scalar = io.Mesh_Record_Component.SCALAR
    if name in meshes:
        mesh = meshes[name]
        axes = {"": scalar} if mesh.scalar else {axis: axis for axis in mesh}
        if not axes:
            raise NotInIterationError(f"record {name!r} in {where} has no components")
        return Record(name, dict.fromkeys(axes, mesh), axes)
    alone = [axis for axis in AXES if name + axis in meshes and meshes[name + axis].scalar]
    if alone:
        parts = {axis: meshes[name + axis] for axis in alone}
        return Record(name, parts, dict.fromkeys(alone, scalar))
    vector, axis = name[:-1], name[-1:]
    if vector in meshes and not meshes[vector].scalar and axis in meshes[vector]:
        return Record(vector, {axis: meshes[vector]}, {axis: axis})
    raise NotInIterationError(
        f"no record {name!r} in {where}; available: {', '.join(meshes) or 'none'}"
    )
