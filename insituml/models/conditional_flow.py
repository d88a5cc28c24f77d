"""Conditional normalising flow: the density of inputs given a condition, exact and invertible."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from insituml.data.task import Batch
from insituml.learner import ContinualLearner
from insituml.models.coupling import Coupling
from insituml.models.layers import initialise


class ConditionalFlow(ContinualLearner):
    """Invertible network from x to Gaussian z, given a condition; its loss is the likelihood.

    Batches are ``(x, condition)``. ``log p(x | c) = log N(z; 0, 1) + log|det ∂z/∂x|``, where z is
    x taken through the couplings; ``z ~ N(0, 1)`` taken back is a sample.

    Parameters
    ----------
    input_shape
        Shape of one sample, or its number of features. Inputs should be normalised.
    condition_size
        Numbers in the condition of one sample, 1 or more. Class numbers must be one-hot encoded.
    couplings
        Number of layers; they move the halves of x in turn.
    hidden_sizes
        Widths of the network in each coupling.
    bins
        Pieces of each coupling's spline, 2 or more.
    activation
        ``"tanh"``, ``"leaky_relu"`` or ``"relu"``.
    condition_scale
        The networks see the condition divided by this: its typical size, known beforehand, such
        as the duration of the stream where the condition is a time. (Statistics of the stream so
        far would move what earlier tasks were learned with.)
    generator
        Source of the initial weights; None: seed 0. Hidden layers are Xavier-uniform, the last
        one of each coupling is zero: an untrained flow is the identity.

    Raises
    ------
    ImportError
        If zuko, of the extra ``flow``, is not installed.
    ValueError
        If a size is too small or ``condition_scale`` is not positive.
    """

    generative = True

    def __init__(
        self,
        input_shape: Sequence[int] | int,
        condition_size: int,
        couplings: int = 4,
        hidden_sizes: Sequence[int] = (64, 64),
        bins: int = 8,
        activation: str = "leaky_relu",
        condition_scale: float = 1.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if condition_size < 1:
            raise ValueError(
                f"condition_size is {condition_size}; a conditional flow needs 1 or more, so a "
                "stream of samples with labels"
            )
        if couplings < 1 or bins < 2:
            raise ValueError(
                f"couplings is {couplings}, bins {bins}; expected 1 or more and 2 or more"
            )
        if condition_scale <= 0:
            raise ValueError(f"condition_scale is {condition_scale}; expected a positive number")
        self.input_shape = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
        self.features = math.prod(self.input_shape)
        self.condition_size = condition_size
        self.condition_scale = condition_scale

        def coupling(k: int) -> Coupling:
            return Coupling(
                self.features,
                condition_size,
                moves_first=bool(k % 2) and self.features > 1,
                hidden_sizes=hidden_sizes,
                bins=bins,
                activation=activation,
            )

        # torch's layers draw weights from the global generator, only to be overwritten below.
        with torch.random.fork_rng(devices=[]):
            layers = [coupling(k) for k in range(couplings)]
        self.couplings = nn.ModuleList(layers)
        initialise(self, generator)
        for layer in layers:
            layer.start_as_identity()

    def segments(self) -> list[nn.Module]:
        """Return the networks of the couplings."""
        return [coupling.hidden for coupling in self.couplings]  # type: ignore[misc]

    def output(self, batch: Batch) -> Tensor:
        """Return ``[z, log|det ∂z/∂x|]``, ``(n, features + 1)``: together, the density."""
        condition = self._scaled_condition(batch[1:])
        z = batch[0].flatten(start_dim=1)
        total = z.new_zeros(len(z))
        for coupling in self.couplings:
            z, log_det = coupling(z, condition)
            total = total + log_det
        return torch.cat([z, total.unsqueeze(-1)], dim=-1)

    def objective(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean negative log-likelihood of a batch, in nats a sample."""
        return -_log_density(output).mean()

    def errors(self, batch: Batch) -> dict[str, Tensor]:
        """Each sample's negative log-likelihood, ``{"nll": (n,)}``."""
        return {"nll": -_log_density(self.output(batch))}

    def latents(self, batch: Batch) -> Tensor:
        """Return z, ``(n, features)``."""
        return self.output(batch)[:, :-1]

    def log_prob(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the logarithm of the density at each x given its condition, ``(n,)``."""
        return _log_density(self.output((x, condition)))

    @torch.no_grad()
    def sample(self, conditions: Batch, *, generator: torch.Generator) -> Tensor:
        """Draw one x for each condition.

        Parameters
        ----------
        conditions
            ``(condition,)``, the condition ``(n, condition_size)``.
        generator
            Source of z.

        Returns
        -------
        Tensor
            ``(n, *input_shape)``, without a graph.
        """
        weight = next(self.parameters())
        condition = self._scaled_condition(conditions).to(weight)
        shape = (len(condition), self.features)
        z = torch.randn(shape, generator=generator, device=generator.device, dtype=weight.dtype)
        return self._inverse(z.to(weight.device), condition)

    def inverse(self, z: Tensor, condition: Tensor) -> Tensor:
        """Take z ``(n, features)`` back to the x ``(n, *input_shape)`` that it came from."""
        return self._inverse(z, self._scaled_condition((condition,)))

    def _inverse(self, z: Tensor, scaled_condition: Tensor) -> Tensor:
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            z = coupling.inverse(z, scaled_condition)
        return z.unflatten(1, self.input_shape)

    def _scaled_condition(self, columns: Batch) -> Tensor:
        """Return the condition ``(n, condition_size)``, the first of a batch's further columns."""
        if not columns:
            raise ValueError(
                "the batch has no condition beside its inputs; a ConditionalFlow learns from "
                "batches (x, condition)"
            )
        condition = columns[0].flatten(start_dim=1) if columns[0].dim() > 1 else columns[0][:, None]
        if condition.shape[1] != self.condition_size:
            raise ValueError(
                f"the condition has shape {tuple(columns[0].shape)}; expected "
                f"(n, {self.condition_size}) as condition_size says. Encode class numbers with "
                "torch.nn.functional.one_hot"
            )
        return condition.to(next(self.parameters()).dtype) / self.condition_scale


def _log_density(output: Tensor) -> Tensor:
    """Return ``log N(z; 0, 1) + log|det ∂z/∂x|`` of ``[z, log|det ∂z/∂x|]``."""
    z, log_det = output[:, :-1], output[:, -1]
    return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=-1)
