"""Where data come from, what they mean, and how they become tasks.

The names below are loaded when they are first used: most of them need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml.lazy_names import loader

if TYPE_CHECKING:
    from insituml.data.images.sub_dataset import SubDataset
    from insituml.data.lwfa import LwfaField
    from insituml.data.magnetic_islands import MagneticIslands
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
    "MagneticIslands",
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
    "Batch": "insituml.data.task",
    "FieldSource": "insituml.data.step",
    "Grid": "insituml.data.step",
    "LwfaField": "insituml.data.lwfa",
    "MagneticIslands": "insituml.data.magnetic_islands",
    "Manifest": "insituml.data.manifest",
    "Normalisation": "insituml.data.normalisation",
    "NpyFolder": "insituml.data.npy_folder",
    "OpenPMDSeries": "insituml.data.openpmd",
    "RunningMoments": "insituml.data.normalisation",
    "Samples": "insituml.data.samples",
    "Step": "insituml.data.step",
    "SubDataset": "insituml.data.images.sub_dataset",
    "Task": "insituml.data.task",
    "TaskFiles": "insituml.data.task_files",
    "TaskInfo": "insituml.data.manifest",
    "TaskWindows": "insituml.data.windows",
    "Window": "insituml.data.windows",
    "write_series": "insituml.data.openpmd",
}

__getattr__ = loader(__name__, _MODULES)
