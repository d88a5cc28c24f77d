"""What scripts of the older framework hand to its functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from insituml.memory import EpisodicMemory, EpisodicMemoryDataset
from insituml.models import MLP
from insituml.toy_data.generate import TimeDependentTensorDataset


def points() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(20, 2, generator=generator), torch.eye(20))


def test_a_loader_is_as_good_as_its_data_set() -> None:
    learner, dataset = MLP(2, (4,), 2), points()
    ours = learner.estimate_fisher(dataset, nn.MSELoss(), is_mlp=True)
    theirs = learner.estimate_fisher(DataLoader(dataset, 7), nn.MSELoss(), is_mlp=True)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value)
    loss = learner.calculate_ref_gradients(dataset, nn.MSELoss(), 7)
    assert torch.equal(loss, learner.calculate_ref_gradients(DataLoader(dataset, 7), nn.MSELoss()))


def test_a_memory_takes_inputs_alone_and_names_what_is_no_column() -> None:
    dataset = points()
    memory = EpisodicMemory(10, 2)
    memory.store_task(dataset.tensors[0])
    assert EpisodicMemoryDataset(memory).tensors[0].shape == (5, 2)
    with pytest.raises(TypeError, match=r"given a TensorDataset; .* dataset\.tensors"):
        memory.store_task(dataset)  # type: ignore[arg-type]


def test_a_function_that_writes_to_its_sample_changes_no_earlier_time() -> None:
    X = torch.zeros(3, 2)
    data = TimeDependentTensorDataset(X, torch.zeros(3, 1), lambda x, t: x.add_(t), lambda y, t: y)
    data.step()
    before = data.tensors[0]
    data.step()
    assert not X.any()
    assert before.eq(1).all()
    assert data.tensors[0].eq(2).all()
