"""What each of several ranks reads of which data, as the configuration says."""

from __future__ import annotations

from pathlib import Path

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Transit
from insituml_pipelines.transit.source import reads_blocks
from tests.pipelines.conftest import field_data

NPY, OPENPMD, LWFA = (
    f"insituml.data.{name}"
    for name in ("npy_folder.NpyFolder", "openpmd.OpenPMDSeries", "lwfa.LwfaField")
)


@pytest.mark.parametrize(
    "target, path, asked, expected",
    [
        (NPY, "fields", None, True),
        (NPY, "fields", False, False),
        (OPENPMD, "fields.bp", None, True),
        (OPENPMD, "fields.sst", None, False),  # its producer would have to wait for all
        (OPENPMD, "fields.sst", True, True),
        (LWFA, None, None, False),
    ],
)
def test_blocks_are_read_of_files_and_where_they_are_asked_for(
    target, path, asked, expected, tmp_path: Path
) -> None:
    source = {"_target_": target}
    data = field_data(tmp_path).model_copy(update={"source": source, "path": path})
    transit = Transit.model_construct(read_blocks=asked, open_timeout=1.0)
    assert reads_blocks(data, transit) == expected


def test_blocks_of_what_is_computed_are_refused(tmp_path: Path) -> None:
    data = field_data(tmp_path).model_copy(update={"source": {"_target_": LWFA}, "path": None})
    transit = Transit.model_construct(read_blocks=True, open_timeout=1.0)
    with pytest.raises(UserError, match="LwfaField does not read blocks; only files"):
        reads_blocks(data, transit)
