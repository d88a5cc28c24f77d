"""The options together, and the order in which they change a learner."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from insituml.execution.compiling import compile_parts
from insituml.execution.layout import lay_channels_last
from insituml.execution.precision import PRECISIONS, train_in_bfloat16
from insituml.execution.recomputing import recompute_activations
from insituml.learner import ContinualLearner
from insituml.models.encoder_decoder import EncoderDecoder


@dataclass(frozen=True)
class Execution:
    """How the arithmetic of a training step is done; by default, plainly.

    Weights are then others by rounding alone (``activation_checkpointing`` and ``decoder_device``
    not even by that; with ``compile`` dropout draws other masks, too), so each option is part of
    what a result depends on. Evaluation computes in float32 whatever is chosen.

    Parameters
    ----------
    activation_checkpointing
        Keep only what goes into each block, and compute it again in the backward pass.
    precision
        Of products and convolutions in training: ``"float32"`` or ``"bfloat16"``.
    channels_last
        Lay out convolutions with the channels of a grid point beside each other.
    compile
        Compile encoder and decoder by ``torch.compile``.
    decoder_device
        A second device, for the decoder; the encoder stays where it is. None: one device.

    Raises
    ------
    ValueError
        If ``precision`` is unknown, or two options exclude each other.
    """

    activation_checkpointing: bool = False
    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False
    decoder_device: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a learner."""
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}"
            )
        if self.compile and self.activation_checkpointing:
            raise ValueError(
                "compile and activation_checkpointing exclude each other: a compiled part decides "
                "by itself what to keep; choose one of them"
            )

    def apply(self, learner: ContinualLearner) -> None:
        """Change a learner in place, before its optimizer is built.

        Raises
        ------
        ValueError
            If an option does not fit it; the message says which.
        """
        if self.channels_last:
            lay_channels_last(learner)
        if self.decoder_device is not None:
            _split(learner, self.decoder_device)
        if self.activation_checkpointing:
            recompute_activations(learner)
        if self.compile:
            compile_parts(learner)
        if self.precision == "bfloat16":
            train_in_bfloat16(learner)


def _split(learner: ContinualLearner, decoder_device: str) -> None:
    if not isinstance(learner, EncoderDecoder):
        raise ValueError(
            f"decoder_device is {decoder_device!r}, but {type(learner).__name__} is not made of an "
            "encoder and a decoder; derive it from insituml.models.EncoderDecoder, or leave it out"
        )
    try:
        torch.zeros(1, device=decoder_device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"decoder_device is {decoder_device!r}, which does not work here ({reason}); leave it "
            "out for one device"
        ) from error
    learner.split_devices(next(learner.encoder.parameters()).device, decoder_device)
