"""The reference of the commands: one line each, as `insituml --help` has them."""

from __future__ import annotations

from insituml_pipelines.command_line import GROUPS, commands

HEAD = """# Commands

`insituml COMMAND --help` says what a command takes. In a clone without the entry point,
`python -m insituml_pipelines.NAME` does the same.

"""
TABLE = "| command | what it does |\n|:---|:---|"


def command_page() -> str:
    """Return the page as Markdown."""
    there, parts = commands(), [HEAD]
    for heading, group in GROUPS.items():
        known = {name: line for name, (_, line) in group.items() if name in there}
        if known:
            rows = [f"| `insituml {name}` | {line} |" for name, line in known.items()]
            parts += [f"## {heading[0].upper()}{heading[1:]}", "", TABLE, *rows, ""]
    return "\n".join(parts)
