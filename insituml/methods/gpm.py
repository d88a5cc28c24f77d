"""Gradient projection memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from insituml.data.task import Batch, Task
from insituml.estimates import all_columns, draw, union
from insituml.gradients import (
    condensed,
    dense_gradients,
    evaluation_mode,
    extended_basis,
    forward_statistics,
    in_block,
    is_transposed,
    moving_parameters,
    old_part,
    parameter_name,
    plain_gradients,
    supported_layers,
    unchanged,
    wide_dtype,
)
from insituml.learner import ContinualLearner
from insituml.methods.base import Method
from insituml.methods.sampling import check_sample_count

BATCH = 64
"""Samples per forward pass when a task's inputs are collected."""


class GPM(Method):
    """Let each layer change only in directions that the past tasks' inputs do not see.

    At the end of a task the inputs of each linear or convolutional layer (with a 1 appended for
    the bias; patches for a convolution) extend an orthonormal basis M. From then on gradients and
    updates ΔW of the layer are multiplied by ``I − M Mᵀ``: the layer's response to every input in
    the span of M stays as it was. Adam and momentum turn a projected gradient back into that span,
    so the update itself, θ after the step minus θ before it, is projected as well.

    What a past task's loss has used and has no such basis is held fixed, for nothing else would
    protect it: the biases of transposed convolutions (their weights have a basis of input
    channels), normalisation layers, other parameters. What no past task has used is free, a new
    task's head for instance, and so are the new entries of a layer that has grown, its old ones
    coming first. Running statistics of batch normalisation still follow
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
        self.used: dict[str, tuple[int, ...]] = {}
        """Shape of each parameter that a past task used, when it last did, by name."""
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
        present = moving_parameters(moving.values())
        names = [name for name, p in moving.items() if p.grad is not None]
        with dense_gradients(present) as gradients:
            self._project(learner, dict(zip(names, gradients, strict=True)))

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
        parameters = dict(learner.named_parameters())
        inputs, used = self._inputs(learner, samples)
        for name, columns in inputs.items():
            weight = parameter_name(name, "weight")
            basis = bases.get(name, columns.new_zeros(len(columns), 0))
            if weight in self.used:
                basis = self._grown(basis, name, parameters)
            if len(basis) != len(columns):  # held fixed, see _project
                continue
            limit = max(1, math.floor(self.largest_share * len(columns)))
            kind, device = wide_dtype(parameters[weight].dtype), parameters[weight].device
            basis = extended_basis(basis.to(columns), columns, self.threshold, limit)
            bases[name] = basis.to(device, kind)
        for name, basis in bases.items():
            weight = parameter_name(name, "weight")
            if name not in inputs and weight in used and weight in self.used:
                bases[name] = self._grown(basis, name, parameters)
        self.bases = bases
        self.used |= {name: tuple(parameters[name].shape) for name in used}

    def state_dict(self) -> dict[str, Any]:
        used = {name: list(shape) for name, shape in self.used.items()}
        return {**super().state_dict(), "bases": self.bases, "used": used}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.bases = None
        self._before = {}
        parameters = dict(learner.named_parameters())
        everything = {name: tuple(p.shape) for name, p in parameters.items()}
        used = state.get("used", everything if state["bases"] is not None else {})
        self.used = {name: tuple(shape) for name, shape in used.items()}
        if state["bases"] is not None:
            self.bases = {
                name: basis.to(parameters.get(parameter_name(name, "weight"), basis).device)
                for name, basis in state["bases"].items()
            }

    def _grown(self, basis: Tensor, layer: str, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the basis of a layer's inputs, zero for those that it did not have."""
        weight = parameter_name(layer, "weight")
        old, now = self.used[weight], parameters[weight].shape
        old_part(weight, parameters[weight], old)
        if old[2:] != now[2:]:
            raise ValueError(
                f"the kernel of parameter {weight} is {tuple(now[2:])}, but was {tuple(old[2:])} "
                "in a past task; a layer may get more inputs and outputs, but no other kernel"
            )
        # Inputs come before the constant 1 of the bias; of a patch, channels come first.
        before, after = math.prod(old[1:]), math.prod(now[1:])
        if len(basis) == old[0] and len(basis) not in (before, before + 1):  # transposed
            before, after = old[0], now[0]
        if after == before:
            return basis
        new = basis.new_zeros(after - before, basis.shape[1])
        return torch.cat([basis[:before], new, basis[before:]])

    def _project(self, learner: ContinualLearner, values: dict[str, Tensor]) -> None:
        """Project gradients or updates, by parameter name and in place; zero without a basis."""
        parameters = dict(learner.named_parameters())
        modules = dict(learner.named_modules())
        free = set()
        for name, basis in (self.bases or {}).items():
            layer = modules.get(name)
            names = [parameter_name(name, own) for own in in_block(layer)] if layer else []
            if layer is None or not names or names[0] not in values:
                continue
            basis = self._grown(basis, name, parameters)
            # Rows that the layer did not have are free.
            rows = self.used[names[0]][0]
            here = [values[n] for n in names if n in values]  # the bias may take no part
            parts = here if is_transposed(layer) else [value[:rows] for value in here]
            matrix = parts[0].flatten(1).to(basis.dtype)
            if is_transposed(layer):
                matrix = matrix - basis @ (basis.mT @ matrix)
            else:
                if len(parts) == 2:
                    bias = parts[1].to(basis.dtype)
                    matrix = torch.cat([matrix, bias.unsqueeze(1)], dim=1)
                if matrix.shape[1] != len(basis):
                    continue  # the bias was frozen or thawed since: hold the layer fixed
                matrix = matrix - (matrix @ basis) @ basis.mT
                if len(parts) == 2:
                    parts[1].copy_(matrix[:, -1])
                    matrix = matrix[:, :-1]
            parts[0].copy_(matrix.view_as(parts[0]))
            free.update(names)
        held = [
            old_part(name, value, self.used[name])
            for name, value in values.items()
            if name not in free and name in self.used
        ]
        if held:
            torch._foreach_zero_(held)

    def _inputs(
        self, learner: ContinualLearner, samples: Batch
    ) -> tuple[dict[str, Tensor], set[str]]:
        """Return a matrix with the energy of each layer's inputs, ``(inputs, columns)``.

        And the names of all parameters on which the loss depends.
        """
        layers = {n: layer for n, layer in supported_layers(learner).items() if in_block(layer)}
        found: dict[str, Tensor] = {}
        parameters = {n: p for n, p in learner.named_parameters() if p.requires_grad}
        used: set[str] = set()
        device = next(learner.parameters()).device
        with evaluation_mode(learner), unchanged(learner) as restore:
            for batch in zip(*(c.split(BATCH) for c in samples if len(c)), strict=True):
                batch = tuple(column.to(device) for column in batch)
                restore()
                calls = forward_statistics(learner, _loss, batch, layers)
                for name, call in calls.items():
                    matrices = (call.input_matrix(part) for part in call.parts())
                    columns = condensed(_columns(matrices, call.layer))
                    if name in found:
                        columns = condensed([found[name], columns])
                    found[name] = columns
                restore()
                gradients = plain_gradients(
                    partial(_loss, learner, batch),
                    list(parameters.values()),
                    list(learner.parameters()),
                )
                pairs = zip(parameters, gradients, strict=True)
                used |= {name for name, gradient in pairs if gradient is not None}
        found, used = all_columns(found, device), union(used)
        return {
            name: condensed([columns])
            for name, columns in found.items()
            if parameter_name(name, "weight") in used
        }, used


def _loss(learner: nn.Module, batch: Batch) -> Tensor:
    return learner.loss(batch)  # type: ignore[operator]


def _columns(matrices: Iterator[Tensor], layer: nn.Module) -> Iterator[Tensor]:
    """Yield ``(inputs, samples · places)``, with a row of ones where the bias is trained."""
    for matrix in matrices:
        flat = matrix.movedim(1, 0).flatten(1)
        if "bias" in in_block(layer):
            flat = torch.cat([flat, torch.ones_like(flat[:1])])
        yield flat
