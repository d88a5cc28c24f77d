"""Docstrings as they stand in the code, read without importing it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import griffe

HEADING = re.compile(r"^(\w+)\n-{3,}\n", re.MULTILINE)
ITEM = re.compile(r"^[\w*., ]+( ?: .*)?$")
"""The line of a parameter: names, perhaps a type. A sentence ends otherwise."""
ROLE = re.compile(r":(?:class|func|mod|meth|attr|data):`(~?)([\w.]+)`")


@cache
def package(root: Path) -> griffe.Object:
    """Return insituml, as static analysis sees it."""
    loaded = griffe.load("insituml", search_paths=[str(root)])
    return loaded.final_target if isinstance(loaded, griffe.Alias) else loaded


def find(root: Path, target: str) -> griffe.Object:
    """Return what a dotted name such as ``insituml.methods.EWC`` stands for."""
    found = package(root)
    for part in target.split(".")[1:]:
        member = found.members[part]
        found = member.final_target if isinstance(member, griffe.Alias) else member
    return found


class Docstring:
    """A NumPy-style docstring, as Markdown.

    Parameters
    ----------
    found
        What it is of; without one, all parts are empty.
    name
        What a name in it, such as ``insituml.methods.EWC``, becomes; None: code.
    """

    def __init__(
        self, found: griffe.Object, name: Callable[[str, griffe.Object], str] | None = None
    ) -> None:
        text = found.docstring.value if found.docstring else ""
        self._found, self._name = found, name
        head, *rest = HEADING.split(text)
        self._sections = dict(zip(rest[::2], rest[1::2], strict=True))
        paragraphs = [head, *(p for s in ("Parameters",) for p in self._split(s)[1])]
        self.prose = self._markdown("\n\n".join(p.strip("\n") for p in paragraphs))

    def items(self, section: str) -> list[tuple[str, str]]:
        """Return the names and texts of a section such as ``Parameters``."""
        return [(names, self._markdown(text)) for names, text in self._split(section)[0]]

    def parameters(self) -> dict[str, str]:
        """Return what is said of each parameter, on one line."""
        return {
            name.strip(): " ".join(text.split())
            for names, text in self.items("Parameters")
            for name in names.partition(" :")[0].split(",")
        }

    def section(self, title: str) -> str:
        """Return a section of text, such as ``References``; empty where there is none."""
        return self._markdown(self._sections.get(title, "").strip("\n"))

    def _split(self, section: str) -> tuple[list[tuple[str, str]], list[str]]:
        """Return the items of a section, and the paragraphs below it that belong to none."""
        items: list[tuple[str, list[str]]] = []
        loose: list[str] = []
        for paragraph in re.split(r"\n\n+", self._sections.get(section, "").strip("\n")):
            lines = paragraph.splitlines()
            if lines and items and lines[0].startswith(" "):
                items[-1][1].extend(["", *lines])
            elif lines and (not ITEM.match(lines[0]) or (len(lines) == 1 and " " in lines[0])):
                loose.append(paragraph)
            else:
                for line in lines:
                    if line.startswith(" ") and items:
                        items[-1][1].append(line.removeprefix("    "))
                    else:
                        items.append((line.strip(), []))
        return [(names, "\n".join(text)) for names, text in items], loose

    def _markdown(self, text: str) -> str:
        """Return text with names as code or links, and literal blocks as Markdown has them."""

        def named(match: re.Match[str]) -> str:
            short, full = match[1], match[2]
            if self._name is not None:
                return self._name(full, self._found)
            return f"`{full.rpartition('.')[2] if short else full}`"

        return re.sub(r" ?::$", ":", ROLE.sub(named, text), flags=re.MULTILINE)
