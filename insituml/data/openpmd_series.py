"""The name under which scripts written for version 0.1 import :mod:`insituml.data.openpmd`."""

from insituml.data.openpmd import OpenPMDSeries, series_files

__all__ = ["OpenPMDSeries", "series_files"]
