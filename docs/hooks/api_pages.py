"""The reference of the library: one page a package, each public name by its docstring."""

from __future__ import annotations

from pathlib import Path

import griffe
from docstrings import Docstring, find
from signatures import signature

PACKAGES = {
    "insituml": "The shortest way: train, checkpoints, fields",
    "insituml.learner": "What every learner is",
    "insituml.data": "Sources, steps, tasks",
    "insituml.models": "Models",
    "insituml.methods": "Methods",
    "insituml.memory": "Memories of past samples",
    "insituml.gradients": "The mathematics on named tensors",
    "insituml.optimisation": "How the optimizer is driven",
    "insituml.training": "The loop over tasks",
    "insituml.evaluation": "The loss matrix",
    "insituml.metrics": "Numbers from a loss matrix",
    "insituml.significance": "Whether methods differ",
    "insituml.stream": "Transport from a producer",
    "insituml.in_transit": "Learning from what arrives",
    "insituml.archive": "Fields from latents and back",
    "insituml.plots": "Figures",
    "insituml.toy_data.generate": "Drifting clusters",
}
LISTS = ("Parameters", "Attributes", "Returns", "Yields", "Raises")
TEXTS = ("Notes", "References")


def api_pages(root: Path) -> dict[str, str]:
    """Return the pages as Markdown, by name."""
    reference = _Reference(root)
    rows = [f"| [`{name}`](python/{name}.md) | {title} |" for name, title in PACKAGES.items()]
    head = "# Python\n\nMade from the docstrings.\n\n| module | what it is for |\n|:---|:---|\n"
    pages = {f"reference/python/{name}.md": reference.page(name) for name in PACKAGES}
    return {"reference/python.md": head + "\n".join(rows) + "\n", **pages}


class _Reference:
    """All public names, and where each has its entry."""

    def __init__(self, root: Path) -> None:
        self.modules = {name: find(root, name) for name in PACKAGES}
        self.entries: dict[str, str] = {}
        """Page and anchor of each documented object, by every path under which it is known."""
        for name, module in self.modules.items():
            for public in _public(module):
                found = _target(module.members[public])
                page = f"{name}.md#{name}.{public}"
                for path in (f"{name}.{public}", found.path):
                    self.entries.setdefault(path, page)
                for method in _methods(found):
                    for path in (f"{name}.{public}.{method.name}", method.path):
                        self.entries.setdefault(path, f"{page}.{method.name}")

    def page(self, name: str) -> str:
        """Return the page of a module."""
        module = self.modules[name]
        parts = [f"# `{name}`", Docstring(module, self.link).prose]
        for public in _public(module):
            found = _target(module.members[public])
            parts += self.entry(found, "##", f"{name}.{public}", public)
            for method in _methods(found):
                title = f"{public}.{method.name}"
                parts += self.entry(method, "###", f"{name}.{title}", title)
        return "\n\n".join(part for part in parts if part) + "\n"

    def entry(self, found: griffe.Object, level: str, anchor: str, title: str) -> list[str]:
        """Return heading, signature and docstring of an object."""
        said = Docstring(found, self.link)
        parts = [f"{level} `{title}` {{ #{anchor} }}", signature(found, title), said.prose]
        for section in LISTS:
            items = said.items(section)
            if section == "Parameters" and not items:
                items = self.inherited(found)
            if items:
                parts += [f"**{section}**", "\n".join(_item(*item) for item in items)]
        return [*parts, *(f"**{t}**\n\n{said.section(t)}" for t in TEXTS if said.section(t))]

    def inherited(self, found: griffe.Object) -> list[tuple[str, str]]:
        """Return the parameters of a class that leaves them to the one above it."""
        above = found.mro() if isinstance(found, griffe.Class) else []
        if "__init__" in found.members:
            return []
        items = (Docstring(owner, self.link).items("Parameters") for owner in above)
        return next(filter(None, items), [])

    def link(self, name: str, owner: griffe.Object) -> str:
        """Return a name as a link to its entry, or as code where it has none."""
        owners = (owner.path, _path(owner.parent), owner.module.path)
        for path in (name, *(f"{scope}.{name}" for scope in owners)):
            if path in self.entries:
                return f"[`{name.rpartition('.')[2]}`]({self.entries[path]})"
        return f"`{name.rpartition('.')[2]}`"


def _item(names: str, text: str) -> str:
    shown = ", ".join(f"`{name.strip()}`" for name in names.split(","))
    if "[" in names:  # a type of several parts
        shown = f"`{names}`"
    body = "\n    ".join(text.splitlines())
    return f"- {shown}: {body}" if text else f"- {shown}"


def _path(owner: griffe.Object | griffe.Alias | None) -> str:
    return "" if owner is None else owner.path


def _target(member: griffe.Object | griffe.Alias) -> griffe.Object:
    return member.final_target if isinstance(member, griffe.Alias) else member


def _public(module: griffe.Object) -> list[str]:
    """Return the names that a module exports and that are of insituml."""
    names = [str(name) for name in module.exports or []] or [
        m.name for m in module.members.values() if not m.is_alias and (m.is_class or m.is_function)
    ]
    return [n for n in names if not n.startswith("_") and _is_ours(module.members.get(n))]


def _is_ours(member: griffe.Object | griffe.Alias | None) -> bool:
    if member is None:
        return False
    if isinstance(member, griffe.Alias) and not member.target_path.startswith("insituml."):
        return False
    found = _target(member)
    return bool(found.docstring) and (found.is_class or found.is_function)


def _methods(found: griffe.Object) -> list[griffe.Object]:
    """Return what a class itself defines for others, with a docstring."""
    if not found.is_class:
        return []
    own = [m for m in found.members.values() if not isinstance(m, griffe.Alias)]
    shown = [m for m in own if m.docstring and not m.name.startswith("_")]
    return [m for m in shown if m.is_function or "property" in m.labels]
