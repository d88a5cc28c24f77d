"""What the Tab key offers: commands, groups, their choices and the keys of conf/, without Hydra."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from insituml_pipelines.common.project_folder import nearest_configuration

SCRIPTS = {
    "bash": r"""
_insituml() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\n'
    local word=${line##*[[:space:]]}
    COMPREPLY=($("${COMP_WORDS[0]}" --complete "$line" 2>/dev/null))
    if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then # bash replaces what follows the last =
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
    fi
    if [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=.] ]]; then compopt -o nospace; fi
}
complete -o default -F _insituml insituml
""",
    "zsh": r"""
_insituml() {
    local -a found open
    found=(${(f)"$(${words[1]} --complete "$LBUFFER" 2>/dev/null)"})
    open=(${(M)found:#*[=.]})
    found=(${found:#*[=.]})
    (( $#open + $#found )) || { _files; return }
    compadd -S '' -- $open
    compadd -- $found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _insituml insituml
""",
}
"""Of each shell; ``insituml --completion bash`` prints one."""
FLAGS = ("--help", "--cfg=job", "--multirun", "--quiet")
OWN_FLAGS = {"repro": ("--debug", "--dry", "--force", "--help", "--quiet"), "ui": ("--port",)}
PACKAGE = Path(__file__).parent


def candidates(line: str, commands: dict[str, str]) -> list[str]:
    """Return the words that the last one of a line may become.

    Parameters
    ----------
    line
        Up to the cursor.
    commands
        The module of each command.
    """
    words = line.split()[1:]
    word = "" if line[-1:].isspace() or not words else words.pop()
    name = next((before for before in words if not before.startswith("-")), None)
    found: Iterator[str] | list[str]
    if name is None:
        found = [*commands, "--help", "--version", "--quiet", "--completion"]
    elif name not in commands:
        found = []
    elif word.startswith("-"):
        found = list(OWN_FLAGS.get(name, FLAGS))
    elif name == "repro":
        found = _stages(Path("dvc.yaml"))
    elif _takes_configuration(commands[name]):
        found = _overrides(nearest_configuration(), word, words)
    else:
        found = []
    return sorted(each for each in set(found) if each.startswith(word))


def _takes_configuration(module: str) -> bool:
    """Whether a command takes overrides; to import it would take a second."""
    file = PACKAGE / f"{module.rpartition('.')[2]}.py"
    return "run_stage(" in file.read_text(encoding="utf-8")


def _stages(file: Path) -> Iterator[str]:
    """Yield the names of the stages of a ``dvc.yaml``: keys two blanks in, below ``stages``."""
    inside = False
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        if line and not line[0].isspace():
            inside = line.startswith("stages:")
        elif inside and line[:2] == "  " and line[2:3].isalpha():
            yield line.strip().rstrip(":")


def _overrides(conf: Path, word: str, words: list[str]) -> Iterator[str]:
    groups = sorted(folder.name for folder in conf.iterdir() if _has_choices(folder))
    key, equals, _ = word.partition("=")
    if equals:
        if key in groups:
            yield from (f"{key}={file.stem}" for file in (conf / key).glob("*.yaml"))
        return
    section, dot, _ = key.partition(".")
    if not dot:
        yield from (f"{group}=" for group in groups)
        yield from (f"{group}." for group in groups if group != "experiment")
        yield "part="
    elif section in groups:
        yield from _keys(conf, section, _chosen(conf, section, words))


def _has_choices(folder: Path) -> bool:
    return folder.is_dir() and folder.name != "hydra"


def _keys(conf: Path, group: str, name: str) -> Iterator[str]:
    """Yield the keys of a file and of those in its group that it goes on from."""
    from insituml_pipelines.common.option_comments import read_options

    file = conf / group / f"{name}.yaml"
    if not file.is_file():
        return
    for option in read_options(file).options:
        if option.value:
            yield f"{group}.{option.key}="
    for base in _defaults(file).get("", ()):
        yield from _keys(conf, group, base)


def _chosen(conf: Path, group: str, words: list[str]) -> str:
    """Return the file of a group that a command line chooses, or an experiment, or conf/ itself."""
    given = dict(word.partition("=")[::2] for word in words)
    if group in given:
        return given[group]
    usual = _defaults(conf / "config.yaml")
    experiment = given.get("experiment", (usual.get("experiment") or ("",))[0])
    theirs = _defaults(conf / "experiment" / f"{experiment}.yaml")
    found = theirs.get(group) or usual.get(group) or ("",)
    return found[0]


def _defaults(file: Path) -> dict[str, tuple[str, ...]]:
    """Return what the defaults list of a file chooses, by group; names alone under ``""``."""
    import yaml

    if not file.is_file():
        return {}
    listed = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("defaults") or ()
    chosen: dict[str, tuple[str, ...]] = {}
    for entry in listed:
        if isinstance(entry, dict):
            for group, name in entry.items():
                chosen[group.removeprefix("override ").lstrip("/")] = (str(name),)
        elif entry != "_self_" and "/" not in entry and "@" not in entry:
            chosen[""] = (*chosen.get("", ()), entry)
    return chosen
