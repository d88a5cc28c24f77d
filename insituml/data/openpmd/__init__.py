"""openPMD series in files: any mesh as a source of fields, and any source as a series."""

from insituml.data.openpmd.paths import series_files, stored_files
from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.writer import write_series

__all__ = ["OpenPMDSeries", "series_files", "stored_files", "write_series"]
