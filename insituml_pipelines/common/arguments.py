"""The command line before Hydra sees it: its own errors are usage texts and tracebacks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from insituml_pipelines.common.errors import UserError

REFUSED = {
    "experimental_rerun": "it would run what is pickled in a file; give the overrides again",
    "config_path": "give a folder of your own configuration files by --config-dir",
}


class Arguments:
    """What a command was given.

    Parameters
    ----------
    given
        As in ``sys.argv[1:]``; options may stand anywhere.

    Raises
    ------
    UserError
        If there is no such option, or two of them exclude each other.
    """

    def __init__(self, given: Sequence[str]) -> None:
        parser = get_args_parser()
        parser.error = _refuse  # type: ignore[method-assign]
        self.options: argparse.Namespace = parser.parse_intermixed_args(list(given))
        self.overrides: list[str] = self.options.overrides
        for name, reason in REFUSED.items():
            if getattr(self.options, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} is not taken here: {reason}")
        self._check_combination()
        self._check_folder()

    @property
    def is_run(self) -> bool:
        """Whether a stage is to be run, not something to be shown."""
        options = self.options
        return not (self.asks_for_help or options.cfg or options.info or options.shell_completion)

    @property
    def is_sweep(self) -> bool:
        """Whether many jobs are asked for."""
        return bool(self.options.multirun) or "hydra.mode=MULTIRUN" in self.overrides

    @property
    def is_plain_run(self) -> bool:
        """Whether a stage is to be run once, on the configuration of the project."""
        elsewhere = self.options.config_dir or self.options.config_name
        return self.is_run and not self.is_sweep and not elsewhere

    @property
    def asks_for_help(self) -> bool:
        return bool(self.options.help or self.options.hydra_help)

    @property
    def search_path(self) -> list[str]:
        """The override by which files of ``--config-dir`` are found; none without it."""
        folder = self.options.config_dir
        return [] if folder is None else [f"hydra.searchpath=[file://{Path(folder).absolute()}]"]

    def in_order(self) -> list[str]:
        """Return the arguments with options first: only so does Hydra take them all."""
        options = self.options
        flags = ("help", "hydra_help", "resolve", "run", "multirun", "shell_completion")
        ordered = [_option(name) for name in flags if getattr(options, name)]
        for name in ("cfg", "package", "config_name", "config_dir", "info"):
            if (value := getattr(options, name)) is not None:
                ordered.append(f"{_option(name)}={value}")
        return [*ordered, *self.overrides]

    def _check_combination(self) -> None:
        options = self.options
        modes = ("run", "multirun", "cfg", "info", "shell_completion")
        asked = [name for name in modes if getattr(options, name) not in (None, False)]
        if len(asked) > 1:
            both = " and ".join(_option(name) for name in asked)
            raise UserError(f"{both} exclude each other; give one of them")
        if options.resolve and not (options.cfg or options.help):
            raise UserError("--resolve says how --cfg shows the configuration; add --cfg job")
        if options.package is not None and not options.cfg:
            raise UserError("--package says what --cfg shows; add --cfg job")

    def _check_folder(self) -> None:
        folder = self.options.config_dir
        if folder is not None and not Path(folder).is_dir():
            raise UserError(
                f"--config-dir is {folder!r}, but there is no such folder in {Path.cwd()}"
            )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; --help shows what can be given")
