"""What a page is made of; ``templates/report.html.j2`` says how each of them looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Parameters
    ----------
    text
        As it is shown; :class:`~markupsafe.Markup` is not escaped.
    value
        What the column is sorted by; None: its text.
    strong
        Whether it stands out.
    """

    text: str | Markup
    value: float | None = None
    strong: bool = False

    @property
    def sort_key(self) -> str:
        """The value as JavaScript reads it; empty for a text."""
        if self.value is None:
            return ""
        return repr(float(self.value)).replace("inf", "Infinity").replace("nan", "NaN")


@dataclass(frozen=True)
class Table:
    """Columns of text or numbers, which the reader may sort.

    Parameters
    ----------
    name
        What it is a table of.
    heads
        One a column.
    rows
        As many cells each.
    caption
        Said below it.
    """

    kind: ClassVar[str] = "table"
    name: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def is_numeric(self, column: int) -> bool:
        """Return whether a column holds numbers, but for dashes."""
        return any(row[column].value is not None for row in self.rows)


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str | Markup


@dataclass(frozen=True)
class Picture:
    """An image inside the page.

    Parameters
    ----------
    source
        A ``data:`` address.
    alt
        What it shows, for who cannot see it.
    width, height
        In pixels.
    caption
        Said below it.
    """

    kind: ClassVar[str] = "picture"
    source: str
    alt: str
    width: int
    height: int
    caption: str = ""


@dataclass(frozen=True)
class Pair:
    """The same figure of two folders, side by side; None where one has it not."""

    kind: ClassVar[str] = "pair"
    left: Picture | None
    right: Picture | None


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Details:
    """What the reader may unfold."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: Sequence[Any]
    open: bool = False


@dataclass(frozen=True)
class Tile:
    """A number that is to be seen first, what it is, and a remark."""

    value: str
    label: str
    remark: str = ""


@dataclass(frozen=True)
class Section:
    """A chapter of the page; ``key`` is its anchor."""

    key: str
    title: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Parameters
    ----------
    title
        Of the window, and the heading.
    lead
        What was compared and who won.
    tiles
        Numbers below it.
    sections
        Those without a block are left out.
    written
        When, by what.
    """

    title: str
    lead: Sequence[str | Markup]
    tiles: Sequence[Tile] = ()
    sections: Sequence[Section] = field(default_factory=list)
    written: str = ""
