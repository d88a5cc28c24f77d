"""Field sources, image sets, tasks and normalisation.

The name below is loaded when it is first used: the other modules here do not need torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insituml.data.images.sub_dataset import SubDataset

__all__ = ["SubDataset"]


def __getattr__(name: str) -> Any:
    if name != "SubDataset":
        raise AttributeError(f"module 'insituml.data' has no attribute {name!r}")
    from insituml.data.images.sub_dataset import SubDataset

    return SubDataset
