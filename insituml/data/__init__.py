"""Where data come from, what they mean, and how they become tasks.

The names below are loaded when they are first used: most of them need no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from insituml.data.images.sub_dataset import SubDataset
    from insituml.data.lwfa import LwfaField
    from insituml.data.manifest import Manifest, TaskInfo
    from insituml.data.normalisation import Normalisation, RunningMoments
    from insituml.data.npy_folder import NpyFolder
    from insituml.data.openpmd import OpenPMDSeries, write_series
    from insituml.data.samples import Samples
    from insituml.data.step import FieldSource, Grid, Step
    from insituml.data.task import Batch, Task
    from insituml.data.task_files import TaskFiles
    from insituml.data.windows import TaskWindows, Window

__all__ = [
    "Batch",
    "FieldSource",
    "Grid",
    "LwfaField",
    "Manifest",
    "Normalisation",
    "NpyFolder",
    "OpenPMDSeries",
    "RunningMoments",
    "Samples",
    "Step",
    "SubDataset",
    "Task",
    "TaskFiles",
    "TaskInfo",
    "TaskWindows",
    "Window",
    "write_series",
]

_MODULES = {
    "Batch": "task",
    "FieldSource": "step",
    "Grid": "step",
    "LwfaField": "lwfa",
    "Manifest": "manifest",
    "Normalisation": "normalisation",
    "NpyFolder": "npy_folder",
    "OpenPMDSeries": "openpmd",
    "RunningMoments": "normalisation",
    "Samples": "samples",
    "Step": "step",
    "SubDataset": "images.sub_dataset",
    "Task": "task",
    "TaskFiles": "task_files",
    "TaskInfo": "manifest",
    "TaskWindows": "windows",
    "Window": "windows",
    "write_series": "openpmd",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'insituml.data' has no attribute {name!r}")
    return getattr(importlib.import_module(f"insituml.data.{_MODULES[name]}"), name)
