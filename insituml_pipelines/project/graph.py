"""From the repository's ``dvc.yaml`` to that of a project, in which insituml is installed.

There the files of insituml are nothing that DVC could watch. In their place stand digests of them
in ``data/versions.json``, of the very files that a stage depends on in the repository: a newer
version makes those stages run again whose code it changed, and no others. Classes of the user's own
are watched in the same way.
"""

from __future__ import annotations

import re

HEADING = """\
# versions ─► generate ─► split ─► train (each method) ─► evaluate (each method) ─► plot
#         └─► stream: the same from a running producer, in transit
# What runs is chosen in conf/pipeline.yaml. Each stage depends on the values it reads, and by
# data/versions.json on what is installed and on your own classes: `code` are digests of the files
# of insituml that a stage runs, `own` of the files that a `_target_` in conf/ names.
"""
CODE = re.compile(r"      - (insituml(?:_pipelines)?/\S+)$")
STAGE = re.compile(r"  (\w+):$")
GROUPS = re.compile(r"(?<![\w.])(experiment|data|model|optimizer|method)=(\$\{[\w.]+\})")


def code_of_stages(text: str) -> dict[str, list[str]]:
    """Return the files and folders of insituml that each stage of a ``dvc.yaml`` depends on."""
    found: dict[str, list[str]] = {}
    stage = ""
    for line in text.splitlines():
        if match := STAGE.match(line):
            stage = match[1]
        elif match := CODE.match(line):
            found.setdefault(stage, []).append(match[1])
    return found


def graph_of_project(text: str) -> str:
    """Return the ``dvc.yaml`` of a project.

    Parameters
    ----------
    text
        The repository's.
    """
    body = text[text.index("vars:") :]
    blocks = re.split(r"(?m)^(?=  \w+:$)", body)
    return HEADING + "".join(map(_without_code, blocks))


def _without_code(block: str) -> str:
    """Return a stage with digests in place of dependencies on the code of insituml."""
    lines = block.splitlines(keepends=True)
    if not any(CODE.match(line) for line in lines):
        return block
    stage = lines[0].strip(" :\n")
    kept = [line for line in lines if not CODE.match(line)]
    keys = [f"code.{stage}", *_own_of(block)]
    place = kept.index("      - data/versions.json:\n") + 1
    while kept[place].startswith("          - "):
        place += 1
    return "".join([*kept[:place], *(f"          - {key}\n" for key in keys), *kept[place:]])


def _own_of(block: str) -> list[str]:
    """Return the keys of the user's own classes that a stage may be told to use."""
    command = block.partition("deps:")[0]
    keys = [
        f"own.{group}.{choice}"
        for group, choice in GROUPS.findall(command)
        if group != "data" or "- conf/data/" in block  # the others get data that are made
    ]
    # The stage that learns from a stream names no single method.
    return [*keys, "own.method"] if "transit_methods" in command else keys
