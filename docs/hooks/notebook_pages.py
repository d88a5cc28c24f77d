"""Notebooks as pages: text and code, without outputs, which a reader makes by running them."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = "examples/notebooks"


def notebook_pages(root: Path) -> dict[str, str]:
    """Return each notebook as Markdown, by the name of its page."""
    return {
        f"notebooks/{file.stem}.md": as_markdown(file, file.relative_to(root))
        for file in sorted((root / FOLDER).glob("*.ipynb"))
    }


def as_markdown(file: Path, name: Path) -> str:
    """Return the cells of a notebook one after the other."""
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    note = f"*This page is the notebook `{name}`; open it in Jupyter to run it.*"
    return "\n\n".join([parts[0], note, *parts[1:]]) + "\n"
