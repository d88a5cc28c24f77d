"""Fields that are their own mirror image: what is known of them need not be learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class MirrorSymmetry(nn.Module):
    """Mirror planes through the middle of each sample, in which it is its own image.

    Parameters
    ----------
    planes
        By grid axis normal to a plane, from 0: the sign, 1 or -1, of each component. Such as those
        of :class:`~insituml.data.mirror.Plane`.
    shape
        ``(components, *grid)`` of a sample.

    Raises
    ------
    ValueError
        If there is no such axis, or no sign for each component.
    """

    signs: Tensor

    def __init__(self, planes: Mapping[int, Sequence[int]], shape: Sequence[int]) -> None:
        super().__init__()
        self.axes = [int(axis) for axis in planes]
        components, axes = shape[0], len(shape) - 1
        for axis, of in zip(self.axes, planes.values(), strict=True):
            if not 0 <= axis < axes or len(of) != components or not set(of) <= {1, -1}:
                raise ValueError(
                    f"symmetry is {{{axis}: {list(of)}}}; expected a grid axis from 0 to "
                    f"{axes - 1}, and 1 or -1 for each of {components} components"
                )
        signs = torch.tensor([list(of) for of in planes.values()], dtype=torch.float32)
        signs = signs.reshape(len(planes), components, *[1] * axes)
        # Known from the arguments, so no part of a checkpoint's weights; but it follows the device.
        self.register_buffer("signs", signs, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Return the part of samples ``(n, components, *grid)`` that has the symmetry."""
        for axis, signs in zip(self.axes, self.signs, strict=True):
            values = (values + values.flip(2 + axis) * signs.to(values.dtype)) / 2
        return values
