"""HDF5 files of numbers that openPMD-api does not take: of other byte order, or half precision.

HDF5 itself converts them: a small file beside, with virtual data sets of types that are taken,
stands for the user's own, which is left alone.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

NUMBERS = "iufc"
"""Kinds of NumPy's types that may be converted."""


def has_foreign_types(file: Path) -> bool:
    """Return whether any iteration of an HDF5 file holds numbers of foreign types."""
    found: list[str] = []

    def look(name: str, item: object) -> bool | None:
        if isinstance(item, h5py.Dataset) and native(item.dtype) != item.dtype:
            found.append(name)
        return bool(found) or None  # anything but None ends the search

    try:
        with h5py.File(file) as opened:
            iterations = opened.get("data")
            if isinstance(iterations, h5py.Group):
                iterations.visititems(look)
    except (OSError, KeyError, RuntimeError):  # damaged: openPMD-api says how
        return False
    return bool(found)


def native(dtype: np.dtype) -> np.dtype:
    """Return the type as which numbers are read."""
    if dtype.kind not in NUMBERS:
        return dtype
    if dtype.kind == "f" and dtype.itemsize < 4:  # half precision, in either byte order
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


def converted_view(file: Path, workplace: Path) -> Path:
    """Return a file that shows another one's data sets in native types.

    Parameters
    ----------
    file
        The HDF5 file.
    workplace
        An existing folder to make it in.
    """
    view = workplace / file.name
    with h5py.File(file) as stored, h5py.File(view, "w") as shown:
        _show(stored, shown, str(file))
    return view


def _show(stored: h5py.Group, shown: h5py.Group, file: str) -> None:
    _copy_attributes(stored, shown)
    for name, item in stored.items():
        if isinstance(item, h5py.Group):
            _show(item, shown.create_group(name), file)
        elif native(item.dtype) == item.dtype:
            shown[name] = h5py.ExternalLink(file, item.name)
        else:
            layout = h5py.VirtualLayout(item.shape, native(item.dtype))
            layout[...] = h5py.VirtualSource(file, item.name, item.shape, item.dtype)
            _copy_attributes(item, shown.create_virtual_dataset(name, layout))


def _copy_attributes(stored: h5py.HLObject, shown: h5py.HLObject) -> None:
    for name, value in stored.attrs.items():
        shown.attrs.create(name, value, dtype=stored.attrs.get_id(name).dtype)
