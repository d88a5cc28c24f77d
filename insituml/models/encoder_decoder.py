"""A learner made of two halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from insituml.learner import ContinualLearner
from insituml.models.layers import initialise


class EncoderDecoder(ContinualLearner):
    """An encoder and a decoder, each on a device of its own if need be.

    Parameters
    ----------
    build
        Returns the new ``(encoder, decoder)``. The encoder maps x to ``(latent, indices)``, the
        decoder ``(latent, indices or None)`` to a reconstruction.
    loss
        Reconstruction loss; see :class:`~insituml.learner.ContinualLearner`.
    generator
        Source of the initial weights; None: seed 0.
    """

    def __init__(
        self,
        build: Callable[[], tuple[nn.Module, nn.Module]],
        *,
        loss: str = "mse",
        generator: torch.Generator | None,
    ) -> None:
        super().__init__(loss=loss)
        # torch's layers draw weights from the global generator, only to be overwritten below.
        with torch.random.fork_rng(devices=[]):
            self.encoder, self.decoder = build()
        initialise(self, generator)
        self._split = False

    def encode(self, x: Tensor) -> Tensor:
        return self._encode(x)[0]

    def decode(self, latent: Tensor) -> Tensor:
        return self._decode(latent, None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        encoded, indices = self._encode(x)
        return encoded, self._decode(encoded, indices), indices

    def split_devices(
        self, encoder_device: torch.device | str, decoder_device: torch.device | str
    ) -> Self:
        """Place the two halves on two devices, for models too large for one; returns self."""
        self.encoder.to(encoder_device)
        self.decoder.to(decoder_device)
        self._split = True
        return self

    def _encode(self, x: Tensor) -> tuple[Tensor, list[Tensor] | None]:
        return self.encoder(self._at(self.encoder, x))

    def _decode(self, latent: Tensor, indices: list[Tensor] | None) -> Tensor:
        if indices is not None:
            indices = [self._at(self.decoder, index) for index in indices]
        return self.decoder(self._at(self.decoder, latent), indices)

    def _at(self, half: nn.Module, value: Tensor) -> Tensor:
        return value.to(next(half.parameters()).device) if self._split else value
