"""What stands in every checkpoint of a run beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Self

from insituml_pipelines.common.node import Node
from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.runs.recipe import Recipe

if TYPE_CHECKING:
    from insituml.methods import Method


@dataclass
class RunMetadata:
    """The run that a checkpoint is of, what its data mean, and how far it has come.

    Parameters
    ----------
    identity
        :meth:`~insituml_pipelines.runs.recipe.Recipe.identity`.
    manifest
        :meth:`~insituml.data.manifest.Manifest.to_plain` of the stream.
    sequential, keeps_all_data, is_bound, is_baseline
        Facts about the method; see :class:`~insituml.methods.Method`.
    task, task_name
        The last task learned, numbered by its checkpoint; −1 for the untrained model.
    steps, loss_history
        Steps of the optimizer so far, and the loss of each.
    samples_seen, samples_replayed
        Samples of the stream in all these steps, and those that the method drew from its memory
        for them; each as often as it was trained on.
    flops
        Of training so far; see :mod:`insituml.optimisation.flops`.
    memory_bytes
        What the method keeps from task to task.
    note
        What is to be known of how it was trained, such as that it has not converged.
    experiment
        That the run belongs to; empty where none was chosen.
    ranks
        How many processes trained it together, those that did last.
    """

    identity: Identity
    manifest: Node
    sequential: bool
    keeps_all_data: bool
    is_bound: bool
    task: int = -1
    task_name: str = "untrained"
    steps: int = 0
    loss_history: list[float] = field(default_factory=list)
    samples_seen: int = 0
    samples_replayed: int = 0
    flops: int = 0
    memory_bytes: int = 0
    note: str = ""
    experiment: str = ""
    is_baseline: bool = False
    ranks: int = 1

    @classmethod
    def of(cls, recipe: Recipe, method: Method, manifest: Node) -> Self:
        """Return the metadata of a run that has not begun."""
        return cls(
            identity=recipe.identity(),
            manifest=manifest,
            sequential=method.sequential,
            keeps_all_data=method.keeps_all_data,
            is_bound=method.is_bound,
            is_baseline=method.is_baseline,
            experiment=recipe.experiment,
        )

    def to_plain(self) -> Node:
        """Return plain values, those of the identity beside the others."""
        plain = asdict(self)
        return {**plain.pop("identity"), **plain}

    @classmethod
    def from_plain(cls, plain: Node) -> Self:
        """Return what :meth:`to_plain` came from."""
        # Earlier ones did not say so.
        new = {"experiment": "", "note": "", "is_baseline": False, "ranks": 1}
        plain = {**new, "samples_seen": 0, "samples_replayed": 0, "flops": 0, **plain}
        own = {key: plain[key] for key in cls.__dataclass_fields__ if key != "identity"}
        return cls(identity=Identity.of_metadata(plain), **own)
