"""The command ``insituml``: hands over to the module of the subcommand, and loads nothing else."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from insituml_pipelines.common.log import error, without_quiet
from insituml_pipelines.common.stopping import end_at_once

WRONG, EXTERNAL = 2, 1
"""Exit codes of a user's mistake, and of a machine that lacks what is needed."""
OURS = ("", "insituml", "insituml_pipelines")
"""Packages that cannot be missing but by a mistake of ours."""
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "the pipeline": {
        "repro": ("repro", "run what changed of the whole pipeline (dvc repro)"),
        "select": ("select", "choose what repro runs, such as experiment=pic"),
        "versions": ("versions", "note the versions of the libraries that results depend on"),
        "generate": ("generate", "make the data of the stream"),
        "split": ("split", "cut the stream into tasks of normalised samples"),
        "train": ("train", "train one method on all tasks, such as method=ewc"),
        "evaluate": ("evaluate", "evaluate the checkpoints of one method"),
        "plot": ("plot", "compare all methods in tables and figures"),
    },
    "in transit": {
        "stream": ("stream", "learn while a simulation runs"),
        "produce": ("produce", "stream a field to another process, as a simulation would"),
        "watch": ("watch", "watch a running stream"),
    },
    "results": {
        "report": ("report", "make one page of what was compared"),
        "inspect": ("inspect", "show what a checkpoint, a manifest or a file of latents holds"),
        "reconstruct": ("reconstruct", "restore a field by a checkpoint, as an openPMD series"),
        "ui": ("ui", "browse runs in the MLflow UI, on this machine only"),
    },
    "a project of your own": {
        "init": ("init", "set up a project of your own"),
        "new-experiment": ("new_experiment", "write an experiment for data of your own"),
        "doctor": ("doctor", "say what this machine has, and what is missing for what"),
    },
}
"""By heading: a command, its module, which has ``command()``, and its line of help."""


def commands() -> dict[str, str]:
    """Return the module of each command that there is."""
    table = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}
    return {name: full for name, module in table.items() if _exists(full := _full(module))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the console script ``insituml`` calls this.

    Parameters
    ----------
    arguments
        As in ``sys.argv[1:]``, which is the default.

    Returns
    -------
    int
        The exit code, where no command has ended the process with its own.
    """
    end_at_once()
    given = without_quiet(sys.argv[1:] if arguments is None else arguments)
    name, rest = (given[0], given[1:]) if given else ("", [])
    if name in ("-h", "--help", "help", ""):
        print(help_text(), end="")
        return 0 if name else WRONG
    if name == "--version":
        from insituml.version import __version__

        print(f"insituml {__version__}")
        return 0
    if name in ("--completion", "--complete"):
        return _complete(name, rest)
    module = commands().get(name.replace("_", "-"))
    if module is None:
        error(_unknown(name))
        return WRONG
    sys.argv[1:] = rest
    try:
        importlib.import_module(module).command()
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package in OURS:
            raise
        error(f"{package} is not installed; pip install 'insituml[pipeline]'")
        return EXTERNAL
    return 0


def help_text() -> str:
    """Return what ``insituml --help`` prints."""
    there = commands()
    lines = ["usage: insituml COMMAND [KEY=VALUE ...] [OPTION ...]"]
    for heading, group in GROUPS.items():
        lines += ["", heading]
        lines += [f"  {name:<16}{line}" for name, (_, line) in group.items() if name in there]
    lines += [
        "",
        "insituml COMMAND --help says what a command takes; -q lets it print errors alone.",
        'Tab completes after eval "$(insituml --completion bash)", or zsh.',
    ]
    return "\n".join(lines) + "\n"


def _complete(name: str, rest: Sequence[str]) -> int:
    """Print the script that completes in a shell, or what it asks for: words of a line."""
    from insituml_pipelines.completion import SCRIPTS, candidates

    if name == "--complete":
        print("\n".join(candidates(" ".join(rest), commands())))
        return 0
    if len(rest) != 1 or rest[0] not in SCRIPTS:
        error(f"--completion needs one of {', '.join(SCRIPTS)}, but got {' '.join(rest) or 'none'}")
        return WRONG
    print(SCRIPTS[rest[0]].lstrip(), end="")
    return 0


def _unknown(name: str) -> str:
    import difflib

    known = sorted(commands())
    if name.startswith("-"):
        return f"{name} is no option of insituml itself; options of a command come after its name"
    if near := difflib.get_close_matches(name, known, cutoff=0.5):
        return f"insituml has no command {name!r}; did you mean {' or '.join(near)}?"
    return f"insituml has no command {name!r}; there are: {', '.join(known)}"


def _full(module: str) -> str:
    return f"insituml_pipelines.{module}"


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    sys.exit(main())
