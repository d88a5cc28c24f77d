"""The time-dependent eight-Gaussian data: everything public, in one place.

Points come from :func:`generate_toy8` or :func:`generate_fake_toy`. :func:`td_gen` moves them
through given times; a time-dependent data set moves them whenever its ``step`` is called.
"""

from insituml.toy_data.clusters import generate_fake_toy, generate_toy8, points_on_circle
from insituml.toy_data.colours import label2color_toyN
from insituml.toy_data.datasets import (
    TimeDependentIterDataset,
    TimeDependentTensorDataset,
    tdds_arrays,
    tdds_gen,
)
from insituml.toy_data.motion import arrays_from_itr, td_arrays, td_gen

__all__ = [
    "TimeDependentIterDataset",
    "TimeDependentTensorDataset",
    "arrays_from_itr",
    "generate_fake_toy",
    "generate_toy8",
    "label2color_toyN",
    "points_on_circle",
    "td_arrays",
    "td_gen",
    "tdds_arrays",
    "tdds_gen",
]
