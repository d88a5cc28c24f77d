"""The kinds of data that there are, by the name that ``data.kind`` gives them."""

from __future__ import annotations

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Data
from insituml_pipelines.data.field import Field
from insituml_pipelines.data.images import Images
from insituml_pipelines.data.kind import Kind
from insituml_pipelines.data.points import Points

KINDS: dict[str, Kind] = {"field": Field(), "points": Points(), "images": Images()}


def kind_of(data: Data) -> Kind:
    """Return the kind of some data.

    Raises
    ------
    UserError
        If there is no such kind.
    """
    if data.kind not in KINDS:
        raise UserError(f"data.kind is {data.kind!r}; expected one of {', '.join(KINDS)}")
    return KINDS[data.kind]
