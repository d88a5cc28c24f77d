"""What a sweep varies, what it is called, and where its jobs lie, known before the first."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from insituml_pipelines.common.composition import CONF, key_of
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.sweeps.options import unknown_part

LONGEST = 120
"""Characters of a folder's name; what is longer ends in a digest."""
ASIDE = ("tracking", "hydra")
"""Sections that change no job."""
SWEEPER = "hydra/sweeper"
"""Chooses one that searches; the usual one tries all combinations."""
BY_NAME = ("method", "training.seeds")
"""What a run's own name says."""


@dataclass(frozen=True)
class Sweep:
    """A sweep, as each of its jobs knows it, in whichever process.

    Parameters
    ----------
    name
        Of its folder and its parent run: the same for whoever varies the same keys with the same
        other options, whatever the values; so a repeated or a longer sweep adds to an earlier one.
    folder
        Holds a folder for each job.
    first
        What is varied, by its key: the first of the values, as given; empty for a range.
    loose
        Keys that only some of the chosen files have, without the others' ``+``.
    search_path
        The override by which files of ``--config-dir`` are found; empty without it.
    space
        Of a search the overrides that vary, as given; empty for one that tries all values.
    common
        Of a search a digest of what its trials share, so that no other may be compared with them.
    started
        Tells this call from earlier ones of the same sweep.
    """

    name: str
    folder: Path
    first: dict[str, str]
    loose: tuple[str, ...] = ()
    search_path: tuple[str, ...] = ()
    space: tuple[str, ...] = ()
    common: str = ""
    started: str = field(default_factory=lambda: str(time.time_ns()))

    @property
    def title(self) -> str:
        """What is varied, in words."""
        return " × ".join(self.first) or "of one job"

    def unknown(self, overrides: Sequence[str]) -> dict[str, str]:
        """Return what of a job's overrides the file which it chose knows nothing of.

        By override: the part of its key that the file does not have.
        """
        chosen = dict(map(split, overrides))
        found = {}
        for override in overrides:
            if (key := key_of(override)) in self.loose:
                choice = chosen.get(key.partition(".")[0], "")
                if (part := unknown_part(key, choice, self.search_path)) is not None:
                    found[override] = part
        return found

    def untaken(self, overrides: Sequence[str]) -> list[str]:
        """Return those overrides of a job that the file which it chose knows nothing of."""
        return list(self.unknown(overrides))

    def is_left_out(self, untaken: Sequence[str]) -> bool:
        """Return whether another job is the same: the one with the first of the values untaken.

        An option of one value has no other job; of a range no job is known to be the first, and
        those that are the same find what the first of them left.
        """
        return any(
            self.first.get(key) not in (None, "", value) for key, value in map(split, untaken)
        )

    def varied(self, overrides: Sequence[str]) -> dict[str, str]:
        """Return the values of a job by key."""
        return {key: value for key, value in map(split, overrides) if key in self.first}

    def place(self, overrides: Sequence[str]) -> Path:
        """Return the folder of a job."""
        return self.folder / folder_name(self.varied(overrides))

    def place_of_job(self, overrides: Sequence[str]) -> Path:
        """Return the folder of a job, told all that varies, whether its files know of it or not."""
        untaken = self.unknown(overrides)
        return self.place([override for override in overrides if override not in untaken])


def split(override: str) -> tuple[str, str]:
    """Return key and value of an override."""
    return key_of(override), override.partition("=")[2]


def folder_name(varied: dict[str, str]) -> str:
    """Return such as ``method=ewc,strength=10``; names that would not do end in a digest."""
    full = ",".join(f"{key}={value}" for key, value in sorted(varied.items())) or "job"
    plain = re.sub(r"[^\w.=,+\[\]-]", "_", full)
    if plain == full and len(full) <= LONGEST:
        return full
    return f"{plain[:LONGEST]}-{_digest(full)}"


def sweep_of(
    stage: str,
    overrides: Sequence[str],
    sweep_folder: str | None,
    search_path: Sequence[str] = (),
) -> Sweep:
    """Return the sweep that a command line asks for.

    Parameters
    ----------
    stage
        Such as ``"train"``.
    overrides
        All of them; those of Hydra itself count for nothing.
    sweep_folder
        Where the user wants the jobs; None: below ``multirun/``.
    search_path
        See :class:`Sweep`.

    Raises
    ------
    UserError
        If an option has no value, or the place where runs are recorded has several.
    """
    _check_tracking(overrides)
    own = [o for o in overrides if key_of(o).partition("/")[0].partition(".")[0] not in ASIDE]
    parsed = OverridesParser.create().parse_overrides(own)
    searched = any(key_of(override) == SWEEPER for override in overrides)
    first, fixed, space = {}, [], []
    for given, override in zip(own, parsed, strict=True):
        if override.is_sweep_override():
            discrete = override.is_discrete_sweep()
            values = list(override.sweep_string_iterator()) if discrete else [""]
            if not values:
                raise UserError(f"{given} holds no value; a range ends before its second number")
            # A search learns from each trial: none is left out as the same as another.
            first[key_of(given)] = "" if searched else str(values[0])
            space += [given] if searched else []
        else:
            fixed.append(given)
    names = "-".join(key.rpartition(".")[2] for key in first)[:60] or "job"
    name = f"{stage}-{names}-{_digest(json.dumps([sorted(first), sorted(fixed)]))}"
    folder = Path(sweep_folder) if sweep_folder else Path("multirun") / name
    loose = loose_keys(own, search_path)
    return Sweep(name, folder.absolute(), first, loose, tuple(search_path), tuple(space))


def loose_keys(overrides: Sequence[str], search_path: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the options that some, but not all of the files have that a sweep chooses in turn.

    Such as ``method.strength`` beside ``method=naive,ewc``, whether it is swept itself or not.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = {
        override.key_or_group: list(map(str, override.sweep_string_iterator()))
        for override in parsed
        if override.is_choice_sweep() and (CONF / override.key_or_group).is_dir()
    }
    found = []
    for override in overrides:
        key = key_of(override)
        choices = chosen.get(key.partition(".")[0], []) if "." in key else []
        known = [unknown_part(key, choice, search_path) is None for choice in choices]
        if any(known) and not all(known) and not override.startswith(("+", "~")):
            found.append(key)
    return tuple(found)


def _check_tracking(overrides: Sequence[str]) -> None:
    for override in overrides:
        if key_of(override).partition(".")[0] != "tracking":
            continue
        if OverridesParser.create().parse_overrides([override])[0].is_sweep_override():
            raise UserError(
                f"{override}: the jobs of a sweep are recorded in one place; give one value"
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
