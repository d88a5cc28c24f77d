"""Online elastic weight consolidation."""

from __future__ import annotations

import torch
from torch import Tensor

from insituml.learner import ContinualLearner
from insituml.methods.ewc import EWC


class OnlineEWC(EWC):
    """EWC with one running anchor, whose Fisher information decays: ``F ← γ F + F_new``.

    Parameters
    ----------
    strength, fisher_samples, chunk_size, generator
        As in :class:`~insituml.methods.EWC`.
    gamma
        Decay γ in [0, 1]; 1 forgets no task's importance.

    Raises
    ------
    ValueError
        If ``gamma`` is outside [0, 1], and as in :class:`~insituml.methods.EWC`.

    References
    ----------
    Schwarz et al., "Progress & Compress", ICML 2018, section 4.
    """

    def __init__(
        self,
        strength: float,
        gamma: float = 1.0,
        fisher_samples: int | None = None,
        chunk_size: int = 16,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(strength, fisher_samples, chunk_size, generator=generator)
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"gamma is {gamma}; expected a decay between 0 and 1")
        self.gamma = gamma

    def consolidate(self, learner: ContinualLearner, fisher: dict[str, Tensor]) -> None:
        """Move the anchor to where the parameters are."""
        self.move_anchor(learner, fisher, self.gamma)
