"""How much a decoder makes of a small change of each latent."""

from __future__ import annotations

import torch
from torch import Tensor

from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner

SHARE = 0.05
"""Change that is tried, as a share of each latent's deviation."""
LEAST = 1e-3
"""Smallest sensitivity, as a share of the largest: no latent is dropped altogether."""


def latent_sensitivity(
    learner: ContinualLearner, latents: Tensor, *, generator: torch.Generator
) -> Tensor:
    """Return the change of the decoded samples for a small change of each latent.

    Noise of either sign is put on one latent at a time, as rounding would, and the decoded samples
    are compared.

    Parameters
    ----------
    learner
        Decodes on its device.
    latents
        ``(n, size, ...)``, of samples such as it will meet; a few dozen will do.
    generator
        Of the signs, on the CPU.

    Returns
    -------
    Tensor
        ``(size,)``, on the CPU: for each entry along axis 1, the norm of the change over that of
        the noise. Of principal components 1; at least a thousandth of the largest.

    Raises
    ------
    ValueError
        If no latent changes anything.
    """
    device = next(learner.parameters()).device
    latents = latents.to(device)
    spread = latents.movedim(1, 0).flatten(start_dim=1).std(dim=1, correction=0)
    steps = SHARE * torch.where(spread > 0, spread, torch.ones_like(spread))
    signs = torch.randint(0, 2, latents.shape, generator=generator).to(latents) * 2 - 1
    found = torch.zeros(latents.shape[1])
    with evaluation_mode(learner), torch.no_grad():
        decoded = learner.decode(latents)
        for entry, step in enumerate(steps):
            noise = torch.zeros_like(latents)
            noise[:, entry] = step * signs[:, entry]
            change = learner.decode(latents + noise) - decoded
            found[entry] = change.norm() / noise.norm()
    if not bool(found.max() > 0):
        raise ValueError(
            f"no latent of this {type(learner).__name__} changes what it decodes: it has learned "
            "nothing yet"
        )
    return found.clamp(min=LEAST * found.max())
