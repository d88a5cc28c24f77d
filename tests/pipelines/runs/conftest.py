"""What tests of runs share."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def fields(tools: Any, tmp_path: Any) -> Any:
    """Return a function that makes a stream of fields."""

    def make(**split: Any) -> Any:
        tools.write_fields(tmp_path / "fields")
        return tools.make_stream(tools.field_data(tmp_path / "fields", **split), tmp_path)

    return make
