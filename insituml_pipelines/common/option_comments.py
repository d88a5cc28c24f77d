"""What the files of ``conf/`` say of their options: each with its value and its comment.

One reader for whoever shows options to people (``--help``, the documentation), so that a comment is
written once, beside the value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

FOR_HYDRA = ("# @package", "# yaml-")
"""Comments that speak to programs."""


@dataclass(frozen=True)
class Option:
    """One option of a configuration file.

    Parameters
    ----------
    key
        Dotted name below the file's group: ``split.tasks``.
    value
        As it stands in the file, on one line; empty where options of its own lie below.
    comment
        What the file says of it; empty where it says nothing.
    """

    key: str
    value: str
    comment: str


@dataclass(frozen=True)
class OptionsFile:
    """A configuration file: what it says of itself, and its options in their order."""

    description: str
    options: tuple[Option, ...]


def read_options(path: Path) -> OptionsFile:
    """Read the options of a YAML file with their comments.

    A comment stands behind a value and may go on in comment lines right below, or it stands in
    lines above the key. The comment at the head of the file describes the file.

    Parameters
    ----------
    path
        A file of ``conf/``; its ``defaults`` list is left out.
    """
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    read = _Reader(text, lines, taken=-1)
    description = read.block_below(-1)
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    options = read.options(tree) if isinstance(tree, yaml.MappingNode) else ()
    return OptionsFile(description, tuple(options))


@dataclass
class _Reader:
    text: str
    lines: list[str]
    taken: int
    """The last line whose comment has been read: what is above it is another option's."""

    def options(self, tree: yaml.MappingNode, prefix: str = "") -> Iterator[Option]:
        for key, value in tree.value:
            name = f"{prefix}{key.value}"
            above = self.block_above(key.start_mark.line)
            if isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"):
                yield Option(name, self.source(value), _joined(above, self.comment_of_block(value)))
                continue
            if isinstance(value, yaml.ScalarNode) or value.flow_style:
                end = value.end_mark.line
                behind = self.comment_of(end, value.end_mark.column)
                yield Option(name, self.source(value), _joined(above, behind))
                continue
            behind = self.comment_of(key.end_mark.line, key.end_mark.column)
            if isinstance(value, yaml.MappingNode):
                yield Option(name, "", _joined(above, behind))
                yield from self.options(value, f"{name}.")
            elif name != "defaults":
                yield Option(name, self.source(value), _joined(above, behind))

    def source(self, node: yaml.Node) -> str:
        """Return a value as it stands in the file; what stands in a block, in brackets."""
        if isinstance(node, yaml.SequenceNode) and not node.flow_style:
            return f"[{', '.join(map(self.source, node.value))}]"
        if isinstance(node, yaml.MappingNode) and not node.flow_style:
            pairs = (f"{self.source(key)}: {self.source(value)}" for key, value in node.value)
            return f"{{{', '.join(pairs)}}}"
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            return " ".join(node.value.split())
        return " ".join(self.text[node.start_mark.index : node.end_mark.index].split())

    def comment_of(self, line: int, column: int) -> str:
        """Return the comment behind a value, with the lines in which it goes on."""
        self.taken = line
        behind = self.lines[line][column:].partition("#")[2].strip()
        return f"{behind} {self.block_below(line)}".rstrip() if behind else ""

    def comment_of_block(self, value: yaml.ScalarNode) -> str:
        """Return the comment behind the ``>`` or ``|`` of a text, whose own lines have none."""
        start, end = value.start_mark, value.end_mark
        self.taken = end.line if end.column else end.line - 1  # it ends where the next line begins
        return self.lines[start.line][start.column :].partition("#")[2].strip()

    def block_below(self, line: int) -> str:
        """Return the comment lines right below a line."""
        found: list[str] = []
        for text in self.lines[line + 1 :]:
            if not text.lstrip().startswith("#"):
                break
            self.taken += 1
            if not text.startswith(FOR_HYDRA):
                found.append(text.strip().lstrip("#").strip())
        return " ".join(found)

    def block_above(self, line: int) -> str:
        """Return the comment lines right above a line that no other option has taken."""
        first = line
        while first - 1 > self.taken and self.lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return self.block_below(first - 1) if first < line else ""


def _joined(*comments: str) -> str:
    return "; ".join(comment for comment in comments if comment)
