"""The losses of autoencoders: of the reconstruction, and of a latent on the way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

ReconstructionLoss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, ReconstructionLoss] = {
    "mse": nn.functional.mse_loss,
    "l1": nn.functional.l1_loss,
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
