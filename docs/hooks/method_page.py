"""The reference of the methods: what each does, its equation, its source, its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from config_page import table
from docstrings import Docstring, find

from insituml_pipelines.common.option_comments import read_options

HEAD = """# Methods, one by one

Made from the classes of `insituml/methods/` and the files of `conf/method/`. `method=NAME` chooses
one. What they have in common, what they keep, and which one forgets least:
[Methods](../methods.md).

L is the learner's loss, B the batch of the present task, θ the weights, f the learner's output, g
the gradient of the loss on the batch and ĝ that on stored samples.
"""
FACTS = {
    "is_baseline": "a baseline",
    "is_bound": "a bound, not a competitor",
    "keeps_all_data": "keeps all data",
}


def method_page(root: Path) -> str:
    """Return the page as Markdown."""
    added = yaml.safe_load((Path(__file__).parent / "equations.yaml").read_text(encoding="utf-8"))
    parts = [HEAD]
    for file in sorted((root / "conf/method").glob("*.yaml")):
        node = yaml.safe_load(file.read_text(encoding="utf-8"))
        parts.append(_method(root, file, node, added.get(file.stem, {})))
    return "\n".join(parts)


def _method(root: Path, file: Path, node: dict[str, Any], added: dict[str, str]) -> str:
    found, read = find(root, node["_target_"]), read_options(file)
    docstring = Docstring(found)
    lines = [f"## `{file.stem}` {{ #{file.stem} }}", docstring.prose]
    if "equation" in added:
        lines.append(f"    {added['equation']}")
    if facts := [text for name, text in FACTS.items() if _is_true(found, name)]:
        lines.append(f"In comparisons: {', '.join(facts)}.")
    if read.description:
        lines.append(read.description)
    if said := docstring.section("References") or added.get("reference", ""):
        lines.append(f"*Reference:* {said}")
    lines.append(f"Class `{node['_target_']}`.")
    lines.append(table(root, "method", read))
    return "\n\n".join(line for line in lines if line) + "\n"


def _is_true(found: Any, name: str) -> bool:
    owners = [found, *found.mro()]
    values = [str(o.members[name].value) for o in owners if name in o.members]
    return bool(values) and values[0] == "True"
