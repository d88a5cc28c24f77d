"""Files by addresses such as ``runs:/…``: packages that are installed say how to fetch them.

A package declares a function for a scheme among its entry points, so that nothing here knows it::

    [project.entry-points."insituml.locations"]
    runs = "insituml_pipelines.tracking.locations:fetch"

It is called with the address and an empty folder, and returns where the file is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory

GROUP = "insituml.locations"
SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/")
"""Of two letters or more: one is a drive of Windows."""


@contextmanager
def local_file(place: Path | str) -> Iterator[Path | str]:
    """Yield the file at a path, as it is, or at an address, for as long as the block lasts.

    Raises
    ------
    ValueError
        If no installed package knows addresses of this scheme.
    FileNotFoundError
        If nothing is there.
    """
    found = SCHEME.match(place) if isinstance(place, str) else None
    if found is None or Path(place).exists():
        yield place
        return
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if found[1] not in known:
        there = f"there are: {', '.join(sorted(known))}" if known else "none is installed"
        raise ValueError(
            f"{place} is an address, and no installed package fetches {found[1]}: ({there}); those "
            "of MLflow come with pip install 'insituml[pipeline]'; else give a file"
        )
    with TemporaryDirectory(prefix="insituml-") as folder:
        yield Path(known[found[1]].load()(str(place), Path(folder)))
