"""Gradient projection memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from insituml.data.task import Batch, Task
from insituml.gradients import (
    condensed,
    evaluation_mode,
    extended_basis,
    forward_statistics,
    in_block,
    is_transposed,
    parameter_name,
    supported_layers,
)
from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.methods.sampling import check_sample_count, draw

BATCH = 64
"""Samples per forward pass when a task's inputs are collected."""


class GPM(Method):
    """Let each layer change only in directions that the past tasks' inputs do not see.

    At the end of a task the inputs of each linear or convolutional layer (with a 1 appended for
    the bias; patches for a convolution) extend an orthonormal basis M. From then on gradients and
    updates ΔW of the layer are multiplied by ``I − M Mᵀ``: the layer's response to every input in
    the span of M stays as it was. Adam and momentum turn a projected gradient back into that span,
    so the update itself, θ after the step minus θ before it, is projected as well.

    What has no such basis is held fixed after the first task, for nothing else would protect it:
    the biases of transposed convolutions (their weights have a basis of input channels),
    normalisation layers, other parameters. Running statistics of batch normalisation still follow
    the new data; normalise by layer or group instead.

    Parameters
    ----------
    threshold
        Share of the energy of a layer's inputs that the basis has to hold, in (0, 1]. Less leaves
        more room for new tasks and protects the past less. The constant 1 of the bias counts.
    largest_share
        Largest size of a basis relative to the layer's number of inputs, in (0, 1]. At 1 a layer
        whose inputs span everything is frozen for good; see :meth:`sizes`.
    samples
        Samples of each task whose inputs are collected; None: all.
    generator
        Chooses the samples.

    Raises
    ------
    ValueError
        If ``threshold`` or ``largest_share`` is outside (0, 1], or ``samples`` below 1.

    References
    ----------
    Saha, Garg & Roy, "Gradient projection memory for continual learning", ICLR 2021.
    """

    def __init__(
        self,
        threshold: float = 0.95,
        largest_share: float = 0.9,
        samples: int | None = 256,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"threshold is {threshold}; expected a share above 0, 1 at most")
        if not 0.0 < largest_share <= 1.0:
            raise ValueError(
                f"largest_share is {largest_share}; expected a share above 0, 1 at most"
            )
        check_sample_count("samples", samples)
        self.threshold = threshold
        self.largest_share = largest_share
        self.samples = samples
        self.bases: dict[str, Tensor] | None = None
        """``(inputs, size)`` by layer name; None during the first task."""
        self._before: dict[str, Tensor] = {}

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return size of the basis and number of inputs of each layer, by name."""
        bases = self.bases or {}
        return {name: (basis.shape[1], basis.shape[0]) for name, basis in bases.items()}

    @torch.no_grad()
    def correct_gradients(self, learner: ContinualLearner) -> None:
        if self.bases is None:
            return
        moving = {n: p for n, p in learner.named_parameters() if p.requires_grad}
        self._before = {name: p.detach().clone() for name, p in moving.items()}
        gradients = {n: p.grad for n, p in moving.items() if p.grad is not None}
        self._project(learner, gradients)

    @torch.no_grad()
    def after_step(self, learner: ContinualLearner) -> None:
        if not self._before:
            return
        parameters = dict(learner.named_parameters())
        now: list[Tensor] = [parameters[name].detach() for name in self._before]
        before = list(self._before.values())
        updates = [after - start for after, start in zip(now, before, strict=True)]
        self._project(learner, dict(zip(self._before, updates, strict=True)))
        torch._foreach_add_(before, updates)
        torch._foreach_copy_(now, before)
        self._before = {}

    @torch.no_grad()
    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        samples = draw(task.train, self.samples, generator=self.generator)
        bases = dict(self.bases or {})
        for name, columns in self._inputs(learner, samples).items():
            basis = bases.get(name, columns.new_zeros(len(columns), 0))
            if len(basis) != len(columns):  # held fixed, see _project
                continue
            limit = max(1, math.floor(self.largest_share * len(columns)))
            weight = learner.get_parameter(parameter_name(name, "weight"))
            bases[name] = extended_basis(basis, columns, self.threshold, limit).to(weight)
        self.bases = bases

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "bases": self.bases}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.bases = None
        if state["bases"] is not None:
            self.bases = {
                name: basis.to(learner.get_parameter(parameter_name(name, "weight")).device)
                for name, basis in state["bases"].items()
            }

    def _project(self, learner: ContinualLearner, values: dict[str, Tensor]) -> None:
        """Project gradients or updates, by parameter name and in place; zero without a basis."""
        free = set()
        for name, basis in (self.bases or {}).items():
            layer = learner.get_submodule(name)
            names = [parameter_name(name, own) for own in in_block(layer)]
            if not names or names[0] not in values:
                continue
            matrix = values[names[0]].flatten(1)
            if is_transposed(layer):
                matrix = matrix - basis @ (basis.mT @ matrix)
            else:
                if len(names) == 2:
                    matrix = torch.cat([matrix, values[names[1]].unsqueeze(1)], dim=1)
                if matrix.shape[1] != len(basis):
                    continue  # the bias was frozen or thawed since: hold the layer fixed
                matrix = matrix - (matrix @ basis) @ basis.mT
                if len(names) == 2:
                    values[names[1]].copy_(matrix[:, -1])
                    matrix = matrix[:, :-1]
            values[names[0]].copy_(matrix.view_as(values[names[0]]))
            free.update(names)
        held = [value for name, value in values.items() if name not in free]
        if held:
            torch._foreach_zero_(held)

    def _inputs(self, learner: ContinualLearner, samples: Batch) -> dict[str, Tensor]:
        """Return a matrix with the energy of each layer's inputs, ``(inputs, columns)``."""
        layers = {n: layer for n, layer in supported_layers(learner).items() if in_block(layer)}
        found: dict[str, Tensor] = {}
        device = next(learner.parameters()).device
        with evaluation_mode(learner):
            for batch in zip(*(column.split(BATCH) for column in samples), strict=True):
                batch = tuple(column.to(device) for column in batch)
                calls = forward_statistics(
                    learner,
                    lambda model, part: model.loss(part),  # type: ignore[operator]
                    batch,
                    layers,
                )
                for name, call in calls.items():
                    matrices = (call.input_matrix(part) for part in call.parts())
                    columns = condensed(_columns(matrices, call.layer))
                    if name in found:
                        columns = condensed([found[name], columns])
                    found[name] = columns
        return found


def _columns(matrices: Iterator[Tensor], layer: nn.Module) -> Iterator[Tensor]:
    """Yield ``(inputs, samples · places)``, with a row of ones where the bias is trained."""
    for matrix in matrices:
        flat = matrix.movedim(1, 0).flatten(1)
        if "bias" in in_block(layer):
            flat = torch.cat([flat, torch.ones_like(flat[:1])])
        yield flat
