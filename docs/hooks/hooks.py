"""What `mkdocs build` asks of us: pages made from the code, and what a page's text needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from api_pages import api_pages
from command_page import command_page
from config_page import config_page
from dates import with_dates
from method_page import method_page
from mkdocs.structure.files import File
from notebook_pages import notebook_pages

ROOT = Path(__file__).parents[2]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made from the code, the configuration and the notebooks."""
    pages = {
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text().replace("](docs/", "]("),
        "reference/methods.md": method_page(ROOT),
        "reference/configuration.md": config_page(ROOT),
        "reference/commands.md": command_page(),
        **api_pages(ROOT),
        **notebook_pages(ROOT),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Say of tables of measurements when they were written; lead links out of docs/ to the site."""
    name = page.file.src_uri
    contributing = f"]({'../' * name.count('/')}contributing.md"
    here = re.sub(r"\]\((?:\.\./)+CONTRIBUTING\.md", contributing, markdown)
    return with_dates(here, ROOT / "docs" / name)
