"""What a run learns, apart from where its files lie: equal recipes give equal weights."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.common.node import Node
from pipelines.common.versions import versions
from pipelines.runs.identity import Identity

if TYPE_CHECKING:
    import torch

    from insituml.learner import ContinualLearner
    from insituml.methods import Method


@dataclass(frozen=True)
class Recipe:
    """Everything the weights of a run depend on, as plain values that travel between processes.

    Parameters
    ----------
    method_name, seed
        Which run this is.
    model, method, optimizer
        Resolved ``_target_`` nodes.
    training
        How to train; of section ``training`` what weights depend on, and of ``transit``.
    data_fingerprint
        Of the stream.
    """

    method_name: str
    seed: int
    model: Node
    method: Node
    optimizer: Node
    training: Node
    data_fingerprint: str

    @property
    def name(self) -> str:
        """What messages call the run."""
        return f"{self.method_name} seed {self.seed}"

    def identity(self) -> Identity:
        """Return what the weights depend on, code and versions included."""
        return Identity(
            method_name=self.method_name,
            seed=self.seed,
            model=self.model,
            method=self.method,
            optimizer=self.optimizer,
            training=self.training,
            data=self.data_fingerprint,
            code=source_digest(),
            versions=versions_of_results(),
        )

    def build(
        self,
    ) -> tuple[ContinualLearner, Method, torch.optim.Optimizer, torch.Generator]:
        """Build learner, method, optimizer and the generator of the order of samples.

        Methods start from the same weights and see the same order of samples: their own random
        choices come from a generator of their own.
        """
        import numpy as np
        import torch
        from hydra.utils import instantiate

        seeds = np.random.SeedSequence(self.seed).generate_state(3).tolist()
        weights, order, choices = (torch.Generator().manual_seed(s) for s in seeds)
        learner = instantiate(self.model, generator=weights, _convert_="all")
        learner.to(self.training["device"])
        method = instantiate(self.method, generator=choices, _convert_="all")
        optimizer = instantiate(self.optimizer, params=learner.parameters(), _convert_="all")
        return learner, method, optimizer, order


def versions_of_results() -> dict[str, str]:
    """Return the versions that weights may depend on."""
    import insituml

    libraries = {name: found or "none" for name, found in versions()["computing"].items()}
    return {**libraries, "insituml": insituml.__version__, "machine": platform.machine()}


def source_digest() -> str:
    """Return a SHA-256 of the library's source, plots aside: the version of the code that ran."""
    import insituml

    package = Path(insituml.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        relative = file.relative_to(package)
        if relative.parts[0] != "plots":
            digest.update(relative.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
