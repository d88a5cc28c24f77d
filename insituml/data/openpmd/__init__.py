"""openPMD series in files: any mesh as a source of fields, and any source as a series."""

from insituml.data.openpmd.series import OpenPMDSeries, series_files
from insituml.data.openpmd.writer import write_series

__all__ = ["OpenPMDSeries", "series_files", "write_series"]
