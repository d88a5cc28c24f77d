"""The losses of autoencoders: of the reconstruction, and of a latent on the way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from insituml.structural_similarity import structural_similarity

ReconstructionLoss = Callable[[Tensor, Tensor], Tensor]

VALUE_RANGE = 6.0
"""Of the samples of :func:`l1_ssim`: three standard deviations to either side of the mean."""


def l1_ssim(decoded: Tensor, original: Tensor) -> Tensor:
    """Mean absolute error plus ``1 − SSIM``: amplitudes, and what structures look like.

    The mean over samples of each sample's own loss: the range of values, which SSIM is relative
    to, is that of standardised samples, not of those in the batch.

    Parameters
    ----------
    decoded, original
        ``(n, components, ...)``, standardised, with two or three axes of at least 7 points.

    Raises
    ------
    ValueError
        If they have another number of axes, or are smaller.
    """
    similarity = structural_similarity(decoded, original, VALUE_RANGE).mean()
    return nn.functional.l1_loss(decoded, original) + (1 - similarity)


LOSSES: dict[str, ReconstructionLoss] = {
    "mse": nn.functional.mse_loss,
    "l1": nn.functional.l1_loss,
    "l1_ssim": l1_ssim,
}


def reconstruction(learner: nn.Module, x: Tensor) -> Tensor:
    """Return the second of what ``forward(x)`` gives, the reconstruction.

    Raises
    ------
    TypeError
        If it is no tuple: of a bare tensor, ``[1]`` would silently be sample 1.
    """
    output = learner(x)
    if not isinstance(output, tuple):
        raise TypeError(
            f"{type(learner).__name__}.forward returned a {type(output).__name__}; expected "
            "(encoded, decoded, indices or None). Override output(batch) and objective(output, "
            "batch), or loss(batch) alone, for another objective."
        )
    return output[1]


def sample_errors(decoded: Tensor, original: Tensor) -> dict[str, Tensor]:
    """Mean squared, mean absolute and largest absolute error of each sample, ``(n,)`` each."""
    difference = (decoded - original.to(decoded.device)).flatten(start_dim=1)
    return {
        "mse": difference.square().mean(dim=1),
        "l1": difference.abs().mean(dim=1),
        "linf": difference.abs().amax(dim=1),
    }


class Autoencoder(Protocol):
    """What maps inputs to latents and back."""

    def encode(self, x: Tensor, /) -> Tensor: ...
    def decode(self, latent: Tensor, /) -> Tensor: ...


def latent_loss(learner: Autoencoder, latent: Tensor, loss: ReconstructionLoss) -> Tensor:
    """How far a stored latent z moves on the way round, ``loss(encode(decode(z)), z)``."""
    again = learner.encode(learner.decode(latent))
    return loss(again, latent.to(again.device))
