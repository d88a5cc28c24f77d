"""The packages that insituml names in its metadata: installed, and new enough?"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

from insituml_pipelines.checking.finding import Finding, State

NAME = "insituml"
NEEDED = ("", "pipeline")
"""Extras without which commands do not run; the first is the library's own packages."""
PURPOSES = {
    "fbpic": "data=fbpic, a particle-in-cell code as a source of data",
    "compressors": "benchmarks against the compressors SZ3 and ZFP",
    "flow": "model=conditional_flow",
    "test": "the tests",
}
"""What an extra is for; developers' others are not looked at."""


def look_at_python() -> Iterator[Finding]:
    """Whether this Python is new enough."""
    oldest = str(metadata(NAME)["Requires-Python"] or "")
    found = platform.python_version()
    least = tuple(map(int, re.findall(r"\d+", oldest)))
    good = sys.version_info[: len(least)] >= least
    remedy = "" if good else f"insituml needs Python {oldest}; make its environment with that"
    state = State.GOOD if good else State.MISSING
    yield Finding("packages", "Python", state, f"{found} in {sys.prefix}", remedy)


def look_at_packages() -> Iterator[Finding]:
    """Each package that is needed, and in a line each the extras that are not."""
    named = [Requirement(line) for line in requires(NAME) or ()]
    seen = set()
    for extra in NEEDED:
        for wanted in _of(named, extra):
            if wanted.name != NAME and wanted.name not in seen:
                seen.add(wanted.name)
                yield _needed(wanted, extra)
    for extra, purpose in PURPOSES.items():
        wrong = [w for r in _of(named, extra) if r.name != NAME and (w := _wrong(r))]
        if wrong:
            remedy = f"for {purpose}: pip install '{NAME}[{extra}]'"
            yield Finding("packages", f"[{extra}]", State.OPTIONAL, ", ".join(wrong), remedy)
        else:
            names = [f"{r.name} {version(r.name)}" for r in _of(named, extra) if r.name != NAME]
            yield Finding("packages", f"[{extra}]", State.GOOD, ", ".join(names) or "installed")


def _of(named: Iterable[Requirement], extra: str) -> list[Requirement]:
    """Return what an extra asks for beyond the library itself."""
    found = []
    for wanted in named:
        own = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if own == (extra == "") and (own or wanted.marker.evaluate({"extra": extra})):  # type: ignore[union-attr]
            found.append(wanted)
    return found


def _needed(wanted: Requirement, extra: str) -> Finding:
    if wrong := _wrong(wanted):
        install = f"{NAME}[{extra}]" if extra else NAME
        remedy = f"needed; pip install '{install}'"
        return Finding("packages", wanted.name, State.MISSING, wrong, remedy)
    return Finding("packages", wanted.name, State.GOOD, version(wanted.name))


def _wrong(wanted: Requirement) -> str:
    """Say what is wrong with a package; empty where nothing is."""
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not installed"
    if wanted.specifier.contains(found, prereleases=True):
        return ""
    return f"{wanted.name} is {found}, not {wanted.specifier}"
