"""The documentation site builds with warnings as errors, and its pages ask no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

pytest.importorskip("mkdocs", reason="needs the extra docs")
ROOT = Path(__file__).parents[2]
LOADING = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}
"""What a browser fetches when it shows a page."""
OF_LINKS = ("canonical", "prev", "next", "alternate")
"""Relations of ``<link>`` that say something and load nothing."""


class Page(HTMLParser):
    """What a page loads, where its links go, and the anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given.get("id", ""), given.get("name", "")}
        if tag == "link" and given.get("rel") in OF_LINKS:
            return
        if (target := given.get(LOADING.get(tag, ""))) is not None:
            self.loads.append(target)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_no_page_asks_the_network(site, pages) -> None:
    for path, page in pages.items():
        for target in page.loads:
            where = urlsplit(target)
            assert not where.netloc, f"{path.name} loads {target}"
            assert where.scheme in ("", "data"), f"{path.name} loads {target}"
    for sheet in site.rglob("*.css"):
        fetched = re.findall(r"(?:url\(|@import)\s*[\"']?(https?:|//)", sheet.read_text())
        assert not fetched, sheet.name


def test_links_and_anchors_lead_somewhere(pages) -> None:
    """MkDocs checks those written by hand; ours to names in docstrings are made later."""
    for path, page in pages.items():
        if path.name == "404.html":
            continue
        for link in page.links:
            where = urlsplit(link)
            if where.scheme or where.netloc or (not where.path and not where.fragment):
                continue
            to = (path.parent / unquote(where.path)).resolve() if where.path else path
            if to.is_dir():
                to /= "index.html"
            assert to.exists(), f"{path.name}: {link}"
            if where.fragment and to in pages:
                assert unquote(where.fragment) in pages[to].anchors, f"{path.name}: {link}"


def test_every_method_and_option_is_in_the_reference(site) -> None:
    methods = (site / "reference/methods.html").read_text()
    options = (site / "reference/configuration.html").read_text()
    for file in (ROOT / "conf").glob("*/*.yaml"):
        if file.parent.name == "hydra":
            continue
        assert f"<code>{file.parent.name}={file.stem}</code>" in options
        if file.parent.name == "method":
            assert f'id="{file.stem}"' in methods
            target = yaml.safe_load(file.read_text())["_target_"]
            assert target in methods
    # A value, a comment that goes on over two lines, the words that it may be.
    assert "straight down; over the whole run" in options
    assert "<code>inverse_sqrt</code>" in options
    # What a docstring says where the file says nothing.
    assert "λ, 0 or more." in options


def test_each_method_has_an_equation(site) -> None:
    page = (site / "reference/methods.html").read_text()
    for name, section in re.findall(r'<h2 id="(\w+)">(.*?)(?=<h2|</article)', page, re.DOTALL):
        code = " ".join(re.findall(r"<code[^>]*>(.*?)</code>", section, re.DOTALL))
        assert re.search(r"[=←·Σ∪⊗]", code), f"{name} has no equation"


def test_names_in_docstrings_are_links(site) -> None:
    page = (site / "reference/python/insituml.methods.html").read_text()
    assert not re.search(r":(class|func|mod|meth|attr):", page)
    assert 'href="insituml.memory.html#insituml.memory.Sketch"' in page
