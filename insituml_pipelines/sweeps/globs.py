"""``method=glob(e*)`` as the files it stands for: Hydra itself knows them only when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob

from insituml_pipelines.common.composition import CONF, key_of
from insituml_pipelines.common.errors import UserError


def without_globs(overrides: Sequence[str], config_dir: str | None) -> list[str]:
    """Return overrides of a sweep with each ``glob()`` replaced by the names it matches.

    Parameters
    ----------
    overrides
        Of the command.
    config_dir
        Folder of further configuration files; None: only those of the project.

    Raises
    ------
    UserError
        If there is no such group, or no such file in it.
    """
    roots = [CONF, *([Path(config_dir)] if config_dir else [])]
    return [
        _expanded(override, roots) if "glob(" in override else override for override in overrides
    ]


def _expanded(override: str, roots: Sequence[Path]) -> str:
    pattern = OverridesParser.create().parse_overrides([override])[0].value()
    if not isinstance(pattern, Glob):  # the word within a string
        return override
    group = key_of(override)
    names = sorted({file.stem for root in roots for file in (root / group).glob("*.yaml")})
    if not names:
        raise UserError(f"{override}: there is no group {group}; glob() takes files of a group")
    if not (found := pattern.filter(names)):
        raise UserError(f"{override} matches no file; there are: {', '.join(names)}")
    return f"{override.partition('=')[0]}={','.join(found)}"
