"""The kinds of data that there are, by the name that ``data.kind`` gives them."""

from __future__ import annotations

from pipelines.common.errors import UserError
from pipelines.common.schema import Data
from pipelines.data.field import Field
from pipelines.data.images import Images
from pipelines.data.kind import Kind
from pipelines.data.points import Points

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
