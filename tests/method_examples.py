"""Every method that insituml.methods exports, found by itself, with arguments for small tests.

Required numbers are filled in by their type. A method that needs more than that, or other numbers
than these for a test to mean something, has an entry below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from insituml import methods
from insituml.methods import AGEM, EWC, ExperienceReplay, Method

NUMBERS = {"int": 9, "float": 2.0}

OWN: dict[str, dict[str, Any]] = {
    "AGEM": {"total_tasks": 3, "reference_size": 4},
    "AGEMLayerwise": {"total_tasks": 3, "reference_size": 4},
    "Combined": {
        "methods": [partial(ExperienceReplay, 9, 3), partial(EWC, 2.0), partial(AGEM, 9, 3)]
    },
    "CompressedReplay": {"replay_size": 3},
    "DER": {"replay_size": 3},
    "DERPlusPlus": {"replay_size": 3},
    "EWC": {"fisher_samples": 8},
    "ExperienceReplay": {"replay_size": 3},
    "GEM": {"total_tasks": 3, "reference_size": 2, "margin": 0.1},
    "GPM": {"threshold": 0.5, "samples": 8},
    "GenerativeReplay": {"replay_size": 3},
    "JointConverged": {"patience": 1, "fewest_epochs": 1, "max_epochs": 6},
    "KroneckerEWC": {"gamma": 0.5, "fisher_samples": 8},
    "MAS": {"importance_samples": 8},
    "MIR": {"replay_size": 3, "candidates": 5},
    "OnlineEWC": {"gamma": 0.5, "fisher_samples": 8},
    "SGEM": {"total_tasks": 3, "reference_size": 2},
    "SketchedReplay": {"replay_size": 3, "sketch_size": 2},
    "WeightAveraging": {"decay": 0.9, "strength": 2.0},
}

NEED_AUTOENCODER = {"SketchedReplay"}
"""Methods for learners with an encoder and a decoder only."""

CLASSES: dict[str, type[Method]] = {
    name: getattr(methods, name) for name in methods.__all__ if name != "Method"
}
NAMES = sorted(CLASSES)
TRAINED = [name for name in NAMES if CLASSES[name].learns_by_gradient]
"""Those that train any learner; the others need one that observes."""


def arguments_of(name: str) -> dict[str, Any]:
    """Return what builds the method, but for its generator."""
    parameters = inspect.signature(CLASSES[name]).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.name != "generator"]
    found = dict(OWN.get(name, {}))
    for parameter in needed:
        kind = str(parameter.annotation).removesuffix(" | None")
        if parameter.name not in found and kind not in NUMBERS:
            raise LookupError(
                f"{name} needs {parameter.name}: {kind}; give it a default, or {name} an entry in "
                "tests/method_examples.py"
            )
        found.setdefault(parameter.name, NUMBERS.get(kind))
    return found


def make(name: str, generator: torch.Generator, **changes: Any) -> Method:
    """Build a method by the name of its class."""
    build: Callable[..., Method] = CLASSES[name]
    return build(**{**arguments_of(name), **changes}, generator=generator)
