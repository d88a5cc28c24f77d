"""The configuration is composed once before anything runs: what is wrong with it costs one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.project_folder import check_counts, configuration

CONF = configuration()
"""Of the project that the command is run in, or of this version of insituml."""
MOVES_NOTHING = ("hydra.run.dir", "hydra.job.chdir", "hydra.output_subdir")
"""Options of Hydra that would scatter results: DVC has to find them."""


def composed(
    overrides: Sequence[str], name: str = "config", *, for_hydra: bool = False
) -> DictConfig:
    """Compose the configuration, within a stage that Hydra called or outside.

    Parameters
    ----------
    overrides
        As on the command line.
    name
        Of the main file.
    for_hydra
        Keep section ``hydra``, which says how Hydra runs a job.
    """
    given: Any = {"overrides": list(overrides), "return_hydra_config": for_hydra}
    if GlobalHydra.instance().is_initialized():
        return compose(name, **given)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, **given)


def plain(node: Any) -> Node:
    """Return a section as plain values, references as they stand."""
    found = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def check_composition(
    arguments: Arguments,
    untaken: Callable[[Sequence[str]], list[str]] = lambda overrides: [],
    look: Callable[[DictConfig], None] = lambda config: None,
) -> DictConfig:
    """Compose what a command asks for; in a sweep each value of it.

    Parameters
    ----------
    arguments
        Of the command.
    untaken
        Returns the overrides of a job of a sweep that are left out of it.
    look
        Is given each configuration that there is.

    Returns
    -------
    DictConfig
        What was asked for, of a sweep the last value; section ``hydra`` included.

    Raises
    ------
    UserError
        Saying what cannot be composed, and what there is to choose from; or that the folder has a
        configuration which does not count.
    """
    check_counts(CONF)
    options, overrides = arguments.options, arguments.overrides
    more = arguments.search_path
    parsed = [_parsed(override) for override in overrides]
    if arguments.is_run:
        _check_places(parsed)
    for chosen in _jobs(parsed) if arguments.is_sweep else [overrides]:
        left_out = untaken(chosen)
        kept = [override for override in chosen if override not in left_out]
        config = _checked([*more, *kept], options.config_name or "config")
        look(config)
    return config


def _parsed(override: str) -> Override:
    if not key_of(override):
        raise UserError(
            f"{override!r} names no key; give it as key=value, such as training.epochs=5"
        )
    try:
        return OverridesParser.create().parse_overrides([override])[0]
    except HydraException as error:
        reason = one_line(error).removeprefix(f"Error parsing override '{override}' ")
        raise UserError(
            f"{override!r} is no key=value as Hydra reads it ({reason}); {_likely_fix(override)}"
        ) from error


def _likely_fix(override: str) -> str:
    """Say what was meant: a file of conf/ named without its group, or a value without quotes."""
    groups = sorted(f.parent.name for f in CONF.glob("*/*.yaml") if f.stem == override)
    if groups:
        return f"for the file of that name say {' or '.join(f'{g}={override}' for g in groups)}"
    return "quote what is no plain word or number: 'key=\"value\"'"


def _check_places(overrides: Sequence[Override]) -> None:
    """Refuse what would scatter results, or lay them over those of the project itself."""
    for override in overrides:
        key, value = override.key_or_group, str(override.input_line).partition("=")[2]
        if key in MOVES_NOTHING:
            raise UserError(
                f"{key} is not taken here: results lie where the command is called; "
                "change into another folder, or sweep with -m hydra.sweep.dir=..."
            )
        here = Path.cwd()
        inside = key == "hydra.sweep.dir" and Path(value.strip("'\"")).resolve() in (
            here,
            *here.parents,
        )
        if inside or (key == "hydra.sweep.subdir" and {"", ".", ".."} & set(value.split("/"))):
            raise UserError(f"{key} is {value!r}: jobs of a sweep need a folder of their own")


def _checked(overrides: Sequence[str], name: str) -> DictConfig:
    for override in overrides:
        group, _, value = override.partition("=")
        if (CONF / group).is_dir() and (value[:1] in "[/" or ".." in value.split("/")) and value:
            raise UserError(f"{override} names no file of conf/{group}; {_choices(group)}")
    try:
        config = composed(overrides, name, for_hydra=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_with_accepted_keys(error, overrides)) from error
    except (ValueError, AssertionError) as error:  # a group that is given a number, or null
        groups = [o for o in overrides if (CONF / key_of(o)).is_dir()]
        culprit = next((o for o in groups if not _is_word(o.partition("=")[2])), " ".join(groups))
        raise UserError(f"{culprit} names no file; {_choices(key_of(culprit))}") from error
    if name == "config":
        _check_sections(config)
    return config


@cache
def _usual(conf: Path) -> DictConfig:
    """Return what ``conf`` composes to without overrides: once, as a sweep has many jobs."""
    return composed([])


def _check_sections(config: DictConfig) -> None:
    """Refuse keys that nothing reads, and sections that are none."""
    with_all = _usual(CONF)
    accepted = ", ".join(map(str, with_all))
    for key in sorted(map(str, config.keys() - with_all.keys() - {"hydra"})):
        raise UserError(f"{key} is not a section of the configuration; there are: {accepted}")
    for key in map(str, with_all):
        if key not in config:
            raise UserError(f"{key} is missing; choose one, such as {key}={_first(key)}")
        node, usual = config._get_node(key), with_all._get_node(key)
        if isinstance(usual, DictConfig) and not isinstance(node, DictConfig):
            keys = ", ".join(map(str, usual))
            raise UserError(f"{key} is {str(node)!r}; expected a section with the keys {keys}")
    if not isinstance(config.name, str):
        raise UserError(f"name is {config.name!r}; expected the name of the experiment, a word")


def _is_word(value: str) -> bool:
    return value not in ("", "null") and not value.replace(".", "").lstrip("+-").isdigit()


def _first(group: str) -> str:
    files = sorted((CONF / group).glob("*.yaml"))
    return files[0].stem if files else "..."


def _choices(group: str) -> str:
    names = ", ".join(sorted(file.stem for file in (CONF / group).glob("*.yaml")))
    return f"choose {group}= one of: {names}"


def first_job(overrides: Sequence[str]) -> list[str]:
    """Return what the first job of a sweep is given; of a run, all that it is given."""
    return next(_jobs([_parsed(override) for override in overrides]))


def _jobs(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """Yield jobs of a sweep in which each value occurs once; not all combinations of them."""
    own = any(override.key_or_group == "hydra/sweeper" for override in overrides)
    values = [found for override in overrides if (found := _values(override, own))]
    yield [choices[0] for choices in values]
    for place, choices in enumerate(values):
        for value in choices[1:]:
            yield [value if k == place else other[0] for k, other in enumerate(values)]


def _values(override: Override, own_sweeper: bool) -> list[str]:
    given = str(override.input_line)
    if not override.is_sweep_override():
        return [given]
    if not override.is_discrete_sweep():
        interval = override.value()
        if own_sweeper and isinstance(interval, IntervalSweep):  # its first value stands for all
            return [f"{override.get_key_element()}={interval.start}"]
        raise UserError(
            f"{given} is for a sweeper that searches (hydra/sweeper=...); the basic one takes "
            f"values: {override.key_or_group}=1,2"
        )
    if "glob(" in given:  # of which Hydra knows the files, so that each one exists
        return [f"{override.get_key_element()}={_some_file(override)}"]
    return [f"{override.get_key_element()}={v}" for v in override.sweep_string_iterator()]


def _some_file(override: Override) -> str:
    if not (CONF / override.key_or_group).is_dir():
        raise UserError(f"{override.input_line}: there is no group {override.key_or_group}")
    return _first(override.key_or_group)


def key_of(override: str) -> str:
    """Return what an override is of."""
    return override.lstrip("+~").partition("=")[0]


def _with_accepted_keys(error: Exception, overrides: Sequence[str]) -> str:
    """Say which keys there are where a key does not exist."""
    message = one_line(error)
    for override in overrides if message.startswith("Could not override") else ():
        name = key_of(override)
        parent = name.rpartition(".")[0]
        if f"'{name}'" not in message:
            continue
        group = parent.partition(".")[0]
        config = composed([o for o in overrides if o.startswith(f"{group}=")])
        # Where the parent does not exist either, the sections are what can be chosen from.
        node = OmegaConf.select(config, parent) if parent in config or "." in parent else None
        node, where = (node, parent) if isinstance(node, DictConfig) else (config, "the config")
        accepted = ", ".join(str(k) for k in node if not str(k).startswith("_"))
        return f"{name} does not exist; {where} accepts: {accepted}"
    return message


def one_line(error: Exception) -> str:
    """Return what is wrong, without the lines that Hydra and OmegaConf add for programmers."""
    message = str(error)
    full_key = message.partition("full_key: ")[2].partition("\n")[0].strip()
    for begin in ("Config search path:", "full_key:", "See https://"):
        message = message.partition(begin)[0]
    message = " ".join(message.replace("^", " ").split())
    _, missing, key = message.partition("Missing mandatory value: ")
    if missing:
        return f"{key} has no value; give it one: {key}=..."
    return f"{full_key}: {message}" if full_key and full_key not in message else message
