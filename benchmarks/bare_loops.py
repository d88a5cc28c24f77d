"""Training steps written by hand, without any framework: what the methods are measured against.

Each function returns a step: a function of the row numbers of a batch. They do the arithmetic of a
method and nothing else: no memory, no hooks, no checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml.learner import ContinualLearner
from insituml.models import MLP

Step = Callable[[Tensor], None]


def plain_layers(learner: ContinualLearner) -> nn.Sequential:
    """Return the learner's layers, weights shared, as one plain sequence."""
    encoder, decoder = learner.encoder, learner.decoder
    if isinstance(learner, MLP):
        return nn.Sequential(*encoder.layers, *decoder.layers)
    blocks = [layer for block in encoder.blocks for layer in block]
    mirrored = [layer for block in decoder.blocks for layer in block]
    return nn.Sequential(
        *blocks,
        nn.Flatten(),
        encoder.latent,
        decoder.latent,
        decoder.activation,
        nn.Unflatten(1, decoder.code_shape),
        *mirrored,
    )


@dataclass
class Bare:
    """A model, its data and its optimizer, and steps on them."""

    model: nn.Sequential
    x: Tensor
    past: Tensor
    optimizer: torch.optim.Optimizer

    def __post_init__(self) -> None:
        self.parameters = list(self.model.parameters())

    def naive(self, rows: Tensor) -> None:
        batch = self.x[rows]
        self.optimizer.zero_grad()
        mse_loss(self.model(batch), batch).backward()
        self.optimizer.step()

    def penalised(self) -> Step:
        """A step with ``½ Σ F (θ − θ*)²`` added to the loss."""
        weights = [torch.rand_like(p) for p in self.parameters]
        anchors = [p.detach().clone() for p in self.parameters]

        def step(rows: Tensor) -> None:
            batch = self.x[rows]
            self.optimizer.zero_grad()
            loss = mse_loss(self.model(batch), batch)
            for parameter, weight, anchor in zip(self.parameters, weights, anchors, strict=True):
                loss = loss + 0.5 * (weight * (parameter - anchor) ** 2).sum()
            loss.backward()
            self.optimizer.step()

        return step

    def gradients(self, evaluations: int) -> Step:
        """A step with further gradients evaluated, each on other samples."""

        def step(rows: Tensor) -> None:
            batch = self.x[rows]
            self.optimizer.zero_grad()
            mse_loss(self.model(batch), batch).backward()
            for _ in range(evaluations - 1):
                other = self.past[rows]
                torch.autograd.grad(mse_loss(self.model(other), other), self.parameters)
            self.optimizer.step()

        return step

    def joint(self, rows: Tensor) -> None:
        """A step on a batch joined with as many past samples."""
        batch = torch.cat([self.x[rows], self.past[rows]])
        self.optimizer.zero_grad()
        mse_loss(self.model(batch), batch).backward()
        self.optimizer.step()

    def distilled(self, rows: Tensor) -> None:
        """A step with the difference to a teacher's output added to the loss."""
        batch = self.x[rows]
        self.optimizer.zero_grad()
        output = self.model(batch)
        with torch.no_grad():
            target = self.model(batch)
        (mse_loss(output, batch) + mse_loss(output, target)).backward()
        self.optimizer.step()

    def retrieved(self, rows: Tensor) -> None:
        """A joint step, after a gradient and two passes over four times the samples."""
        batch, other = self.x[rows], torch.cat([self.past[rows]] * 4)
        torch.autograd.grad(mse_loss(self.model(batch), batch), self.parameters)
        with torch.no_grad():
            self.model(other)
            self.model(other)
        self.joint(rows)
