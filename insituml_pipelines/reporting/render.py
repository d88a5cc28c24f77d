"""From a page's content to its HTML."""

from __future__ import annotations

import time
from pathlib import Path

from insituml_pipelines.reporting.blocks import Page

TEMPLATES = Path(__file__).with_name("templates")


def render(page: Page) -> str:
    """Return one HTML document that asks for no other file."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = page.written or time.strftime("%Y-%m-%d %H:%M")
    return environment.get_template("report.html.j2").render(page=page, written=written)
