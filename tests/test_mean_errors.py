"""Errors averaged over samples and over tasks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from insituml.data.task import Batch
from insituml.learner import ContinualLearner
from insituml.mean_errors import typical_error


class Told(ContinualLearner):
    """Errors are what the samples say."""

    def errors(self, batch: Batch) -> dict[str, Tensor]:
        return {"mse": batch[0]}


def learner() -> Told:
    made = Told()
    made.register_parameter("weight", torch.nn.Parameter(torch.zeros(())))
    return made


def test_a_task_counts_by_its_ratio_not_by_its_size() -> None:
    large, small = (torch.tensor([50.0, 150.0]),), (torch.tensor([0.01, 0.01, 0.01]),)
    assert typical_error(learner(), [large, small]) == pytest.approx(1.0)
    better = (torch.tensor([0.005, 0.005, 0.005]),)
    assert typical_error(learner(), [large, better]) == pytest.approx(math.sqrt(0.5))


def test_errors_without_a_logarithm_are_averaged_plainly() -> None:
    parts = [(torch.tensor([-3.0]),), (torch.tensor([1.0, 3.0]),)]
    assert typical_error(learner(), parts) == pytest.approx(-0.5)
    assert typical_error(learner(), [(torch.zeros(2),), (torch.ones(2),)]) == pytest.approx(0.5)
