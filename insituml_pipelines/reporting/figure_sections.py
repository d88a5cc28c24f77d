"""Which figure stands in which chapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insituml.plots import method_label
from insituml_pipelines.reporting.blocks import Details, Picture
from insituml_pipelines.reporting.pictures import picture


@dataclass(frozen=True)
class Place:
    """Figures of one chapter.

    Parameters
    ----------
    shared
        Those in which methods are compared, by name.
    own
        Beginnings of the names of those that each method has.
    """

    shared: Sequence[str]
    own: Sequence[str] = ()


PLACES = {
    "leaderboard": Place(["leaderboard"]),
    "significance": Place(["critical_difference"]),
    "matrices": Place(["loss_matrices"], ["loss_matrix_"]),
    "forgetting": Place(
        ["forgetting_curves", "first_task_error", "training_loss"], ["latent_drift_"]
    ),
    "reconstructions": Place([], ["reconstructions_", "samples_"]),
    "physics": Place(["error_spectra", "energy_errors"]),
    "rates": Place(["rate_distortion"], ["rate_distortion_"]),
}
WORDS = {
    "leaderboard": "Final average error, forgetting and memory of each method",
    "critical_difference": "Mean ranks of the methods with the critical difference",
    "loss_matrices": "Loss matrices of all methods: error on each task after each task",
    "forgetting_curves": "Average error on the tasks seen so far, by task",
    "first_task_error": "Error on the first task while later ones are learned",
    "training_loss": "Training loss by step",
    "error_spectra": "Power spectra of the field and of each method's error",
    "energy_errors": "Field energy that each method loses or adds",
    "rate_distortion": "Error against the rate of stored data",
}
OWN_WORDS = {
    "loss_matrix_": "Loss matrix",
    "latent_drift_": "Latent drift",
    "reconstructions_": "Reconstructions",
    "samples_": "Samples drawn",
    "rate_distortion_": "Rate and distortion",
}


def pictures_of(place: str, figures: Mapping[str, Path], title: str) -> list[Picture]:
    """Return the figures of a chapter in which methods are compared."""
    return [
        picture(figures[name], f"{WORDS[name]}, {title}")
        for name in PLACES[place].shared
        if name in figures
    ]


def own_figures(
    place: str, figures: Mapping[str, Path], methods: Sequence[str], *, unfolded: int = 0
) -> list[Details]:
    """Return the methods' own figures of a chapter, to unfold; the first ``unfolded`` are open."""
    found: list[Details] = []
    for method in methods:
        if shown := own_pictures(place, figures, method, methods):
            blocks = list(shown.values())
            found.append(Details(_summary(place, method), blocks, open=len(found) < unfolded))
    return found


def own_pictures(
    place: str, figures: Mapping[str, Path], method: str, methods: Sequence[str]
) -> dict[str, Picture]:
    """Return the figures of a chapter that one of the methods has for itself, by name."""
    return {
        name: picture(figures[name], _words(name, start, method))
        for start in PLACES[place].own
        for name in _names(figures, start, method, methods)
    }


def others(figures: Mapping[str, Path], methods: Sequence[str]) -> list[Picture]:
    """Return the figures that no chapter names."""
    named = {name for place in PLACES.values() for name in place.shared}
    for place in PLACES.values():
        for start in place.own:
            for method in methods:
                named |= set(_names(figures, start, method, methods))
    return [
        picture(f, n.replace("_", " ").capitalize()) for n, f in figures.items() if n not in named
    ]


def _names(
    figures: Mapping[str, Path], start: str, method: str, methods: Sequence[str]
) -> list[str]:
    """Return a method's figures: its name may begin another's, and a component may follow."""
    own = f"{start}{method}"
    longer = [f"{start}{m}" for m in methods if m != method and m.startswith(f"{method}_")]
    return [
        name
        for name in figures
        if (name == own or name.startswith(f"{own}_"))
        and not any(name == other or name.startswith(f"{other}_") for other in longer)
    ]


def _words(name: str, start: str, method: str) -> str:
    component = name.removeprefix(f"{start}{method}").lstrip("_")
    return f"{OWN_WORDS[start]}, {method_label(method)}{f', {component}' if component else ''}"


def _summary(place: str, method: str) -> str:
    what = {"matrices": "loss matrix", "forgetting": "latent drift"}.get(place)
    return f"{method_label(method)}: {what}" if what else method_label(method)


def section_blocks(place: str, results: Any, title: str, *, unfolded: int = 0) -> list[Any]:
    """Return all figures of a chapter: those that compare, then the methods' own."""
    figures = results.figures()
    return [
        *pictures_of(place, figures, title),
        *own_figures(place, figures, results.methods, unfolded=unfolded),
    ]
