"""The kinds of data that there are, by the name that ``data.kind`` gives them."""

from __future__ import annotations

from pipelines.data.field import Field
from pipelines.data.images import Images
from pipelines.data.kind import Kind
from pipelines.data.points import Points

KINDS: dict[str, Kind] = {"field": Field(), "points": Points(), "images": Images()}
