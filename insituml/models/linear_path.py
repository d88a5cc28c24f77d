"""Principal components as a layer: from inputs to latents and back, learned by looking."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from insituml.models.running_svd import RunningSVD, empty, turning, update

OVERSAMPLING = 8
"""Directions kept beside the components: one that is weak at first may become one of them."""
FAINTEST = 1e-3
"""Smallest deviation of a component, as a share of the largest: no latent is blown up."""


class LinearPath(nn.Module):
    """Map inputs to their principal components, in units of each one's deviation, and back.

    The components are those of a running singular value decomposition of what was observed. After
    each update they are turned within their span to lie as near as can be to those before
    (orthogonal Procrustes), so that latents change no more than the span does. Nothing of it is
    trained by gradients; before anything is observed, all reconstructions are zero.

    Parameters
    ----------
    shape
        Of one input.
    components
        How many; latents are ``(n, components)``.
    """

    basis: Tensor
    singular_values: Tensor
    count: Tensor
    discarded: Tensor
    rotation: Tensor
    deviations: Tensor

    def __init__(self, shape: Sequence[int], components: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        state = empty(math.prod(self.shape), components, OVERSAMPLING)
        rank = len(state.basis)
        if rank < components:
            raise ValueError(
                f"{components} components of samples of {math.prod(self.shape)} numbers; expected "
                "at most as many as there are numbers"
            )
        for name in ("basis", "singular_values", "count", "discarded"):
            self.register_buffer(name, getattr(state, name))
        self.register_buffer("rotation", torch.eye(components, rank))
        self.register_buffer("deviations", torch.ones(components))

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents ``(n, components)`` of inputs ``(n, *shape)``."""
        return x.flatten(1) @ self.basis.T @ self.rotation.T / self.deviations

    def decode(self, latent: Tensor) -> Tensor:
        """Return the inputs ``(n, *shape)`` that have these latents and no other component."""
        rows = (latent * self.deviations) @ self.rotation @ self.basis
        return rows.unflatten(1, self.shape)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Take in inputs ``(n, *shape)`` that were not observed before.

        Raises
        ------
        ValueError
            If one of them is not finite.
        """
        before = self.rotation @ self.basis
        state = RunningSVD(self.basis, self.singular_values, self.count, self.discarded)
        state = update(state, x.flatten(1).to(self.basis.device))
        components = len(self.rotation)
        self.basis.copy_(state.basis)
        self.singular_values.copy_(state.singular_values)
        self.count.copy_(state.count)
        self.discarded.copy_(state.discarded)
        if before.any():
            self.rotation[:, :components] = turning(self.basis[:components], before)
        powers = self.rotation.double().square() @ self.singular_values.square()
        deviations = (powers / self.count.clamp(min=1)).sqrt()
        floor = (FAINTEST * deviations.max()).clamp(min=torch.finfo(torch.float32).tiny)
        self.deviations.copy_(deviations.clamp(min=floor) if deviations.any() else deviations + 1)
