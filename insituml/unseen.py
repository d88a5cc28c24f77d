"""Samples that come for the first time: a learner observes each of them once."""

from __future__ import annotations

import torch

from insituml.data.task import Batch
from insituml.learner import ContinualLearner


def observes(learner: ContinualLearner) -> bool:
    """Tell whether a learner does something with samples that come for the first time."""
    return type(learner).observe is not ContinualLearner.observe


def show(learner: ContinualLearner, batch: Batch) -> None:
    """Let a learner observe samples, if there are any; no graph is recorded."""
    if len(batch[0]):
        with torch.no_grad():
            learner.observe(batch)
