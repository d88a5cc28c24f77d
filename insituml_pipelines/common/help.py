"""What ``--help`` of a stage says, made of conf/ itself: options, comments, values, choices."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from insituml_pipelines.common.composition import CONF, composed, first_job
from insituml_pipelines.common.option_comments import read_options

WIDTH = 100
KEYS, VALUES = 36, 18
"""Widths of the columns; the comment has the rest."""
FLAGS = {
    "--cfg job": "print the configuration that this command line makes, and end; with --resolve, "
    "what refers to other values is filled in",
    "-m, --multirun": "run once for each combination of values with commas, such as seeds=[0],[1]; "
    "each job below multirun/",
    "-m hydra/sweeper=optuna": "search in place of that, where a value is "
    "'tag(log,interval(1,1e5))': hydra.sweeper.n_trials=30 trials, as conf/hydra/sweeper says",
    "--config-dir DIR": "look for files of conf/ in a folder of your own as well",
    "-q, --quiet": "say errors alone",
    "--hydra-help": "say what Hydra, which reads all this, takes besides",
}


def stage_help(
    name: str, description: str, sections: Sequence[str], overrides: Sequence[str]
) -> str:
    """Return the help of a stage.

    Parameters
    ----------
    name
        Of the command.
    description
        What it does.
    sections
        Of the configuration that it reads.
    overrides
        Of the command line: they choose whose options are shown; of a sweep, its first job's.
    """
    overrides = first_job(overrides)
    config = composed(overrides)
    chosen = _choices(overrides)
    groups = [s for s in sections if (CONF / s).is_dir()]
    lines = [
        *textwrap.wrap(description, WIDTH),
        "",
        f"usage: insituml {name} [GROUP=CHOICE ...] [KEY=VALUE ...] [OPTION ...]",
        "",
        "Choose the files of conf/ by GROUP=CHOICE, change their values by KEY=VALUE. Values below "
        "are those",
        f"of experiment={config.name}, with whatever else this command line chooses: "
        f"{name} method=ewc --help",
        "shows those of ewc.",
        "",
        "groups",
    ]
    for group in ("experiment", *groups):
        lines += _choice_lines(group, chosen.get(group, ""))
    for section in sections:
        lines += ["", *_section_lines(section, config, chosen.get(section, ""), overrides)]
    lines += ["", "options", *_table([(flag, "", text) for flag, text in FLAGS.items()])]
    return "\n".join(lines) + "\n"


def _choices(overrides: Sequence[str]) -> dict[str, str]:
    """Return the file that is chosen in each group."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = compose("config", overrides=list(overrides), return_hydra_config=True)
    return {str(group): str(name) for group, name in found.hydra.runtime.choices.items()}


def _choice_lines(group: str, chosen: str) -> list[str]:
    names = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    text = ", ".join(f"[{name}]" if name == chosen else name for name in names)
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"  {group + '=':<14}", subsequent_indent=" " * 16
    )


def _section_lines(
    section: str, config: DictConfig, chosen: str, overrides: Sequence[str]
) -> list[str]:
    """Return a section: a heading with what its file says of itself, and a row an option."""
    node = config._get_node(section)
    if not isinstance(node, DictConfig):
        notes = _notes(CONF / "config.yaml")
        return [section, *_table([(section, _value(config, section), notes.get(section, ""))])]
    file = _file(section, chosen, overrides)
    said = read_options(file).description if file.is_file() else ""
    heading = f"{section}={chosen}" if chosen else section
    notes = _notes(file)
    rows = [
        (f"{section}.{key}", _value(config, f"{section}.{key}"), notes.get(key, ""))
        for key in _keys(node)
    ]
    about = textwrap.wrap(said, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return [heading, *about, *_table(rows)]


def _file(section: str, chosen: str, overrides: Sequence[str]) -> Path:
    """Return the file of a section: of conf/, or of a folder of the user's own."""
    if not chosen:
        return CONF / f"{section}.yaml"
    begin, end = "hydra.searchpath=[file://", "]"
    own = [Path(o.removeprefix(begin)[: -len(end)]) for o in overrides if o.startswith(begin)]
    files = [folder / section / f"{chosen}.yaml" for folder in (CONF, *own)]
    return next((file for file in files if file.is_file()), files[0])


def _keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, node):
        child = node._get_node(key)
        if isinstance(child, DictConfig) and len(child):
            yield from _keys(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _notes(file: Path) -> dict[str, str]:
    """Return what a file, and those of its group that it goes on from, say of each key."""
    if not file.is_file():
        return {}
    loaded: Any = OmegaConf.load(file)
    bases = [str(entry) for entry in loaded.get("defaults") or () if str(entry).isidentifier()]
    notes: dict[str, str] = {}
    for base in bases:  # _self_ is none
        notes |= _notes(file.with_name(f"{base}.yaml"))
    for option in read_options(file).options:
        if option.value:
            notes[option.key] = option.comment or notes.get(option.key, "")
            continue
        # What is said of a node is said of the first option in it.
        notes[f"{option.key}._target_"] = option.comment
    return notes


def _value(config: DictConfig, key: str) -> str:
    """Return a value on one line; what cannot be known yet, as it stands in the file."""
    try:
        value = OmegaConf.select(config, key, throw_on_missing=True)
    except OmegaConfBaseException:
        parent, _, last = key.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        value = OmegaConf.to_container(node, resolve=False)[last]  # type: ignore[call-overload,index]
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return _plain(value)


def _plain(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
    return str(value)


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return rows of a key, a value and a comment; one too wide for its column pushes the next."""
    valued = any(value for _, value, _ in rows)
    start = 2 + KEYS + (VALUES if valued else 0)
    start = start if valued else 22
    lines = []
    for key, value, comment in rows:
        head = f"  {key:<{KEYS - 1}} {value}" if valued else f"  {key}"
        about = textwrap.wrap(
            comment, WIDTH - start, break_long_words=False, break_on_hyphens=False
        )
        if about and len(head) < start:
            lines.append(f"{head:<{start}}{about.pop(0)}")
        else:
            lines += textwrap.wrap(head, WIDTH, subsequent_indent=" " * (2 + KEYS))
        lines += [f"{'':<{start}}{line}" for line in about]
    return lines
