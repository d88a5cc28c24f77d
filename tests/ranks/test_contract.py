"""Ranks begin alike, are told when they no longer are, and refuse what would part them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from insituml.checkpoint import load_checkpoint
from tests.ranks.contract import (
    counted_by_all,
    estimated,
    from_other_weights,
    from_other_weights_in_transit,
    leave,
)
from tests.ranks.group import together
from tests.ranks.learning import make_tasks
from tests.ranks.sharded import learner_of, weights_after


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("contract")
    together(2, folder, leave, folder)
    return [torch.load(folder / str(rank), weights_only=False) for rank in range(2)]


@pytest.mark.parametrize(
    "name, one",
    [
        ("from other weights", from_other_weights),
        ("in transit", from_other_weights_in_transit),
    ],
)
def test_ranks_take_over_what_the_first_one_begins_with(two, name, one) -> None:
    first, second = (found[name] for found in two)
    expected = one()
    for key, value in expected.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "name, words",
    [
        ("drifting", "ranks hold different weights after task 0 (task 0)"),
        ("counting", "size of a draw from the memory is"),
        ("other arguments", "rank 1 has another batch_size than rank 0 (8, not 7)"),
        ("other model", "rank 1 has another model than rank 0"),
        ("batch normalisation", "MLP has batch normalisation (norm)"),
    ],
)
def test_what_parts_ranks_is_said_on_all_of_them(two, name, words) -> None:
    for found in two:
        assert words in found[name]


@pytest.mark.parametrize("count", [7, 1])
def test_estimates_are_those_from_the_samples_of_all(two, count: int) -> None:
    expected = estimated(count)
    for found in two:
        for name, value in found[f"estimates from {count}"].items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12, msg=name)


def test_what_all_ranks_do_alike_counts_once(two) -> None:
    pca, resumed = counted_by_all()
    for found in two:
        assert found["flops"] == [pca, 2 * resumed]  # 10 on each before the checkpoint


def test_a_learner_of_parts_goes_on_from_its_file_in_parts_and_whole(two) -> None:
    first = two[0]
    file = first["file of a part each"]
    # What the first rank has written is read by one that knows nothing of others.
    whole = load_checkpoint(file).state_dict()
    alone = weights_after(file, sharded=False, finished=1)
    for found in two:
        for key, value in first["uninterrupted"].items():
            assert whole[key].shape == value.shape
            assert torch.equal(found["uninterrupted"][key], value)
            assert torch.equal(found["parts gone on with"][key], value)
            for other in (found["wholes gone on with"], alone):
                torch.testing.assert_close(other[key], value, rtol=1e-6, atol=1e-9)


def test_ranks_hold_a_part_of_weights_gradient_and_moments(two) -> None:
    own, of_all = zip(*(found["held"] for found in two), strict=True)
    assert of_all == (4 * 724, 4 * 724)  # (24 + 1) 12 + (12 + 1) 4 and back
    assert own == (2 * 724, 2 * 724)


def test_encoder_and_decoder_work_by_themselves(two) -> None:
    learner = learner_of(sharded=False)
    x = make_tasks()[0].train[0]
    for found in two:
        torch.testing.assert_close(found["restored"], learner.decode(learner.encode(x)).detach())


def test_a_weight_that_is_taken_from_a_module_is_named(two) -> None:
    for found in two:
        assert found["taken"].startswith("Taking takes the weights of a module within it")
        assert found["penalised"].startswith("the loss takes weights without calling the module")


def test_an_optimizer_that_needs_whole_tensors_is_named_in_the_first_step(two) -> None:
    for found in two:
        assert found["of an optimizer"].startswith("Adafactor cannot step on parts of tensors")


def test_a_method_that_needs_whole_weights_is_refused_where_there_are_parts(two) -> None:
    for found in two:
        assert found["refused"].startswith("EWC looks at whole weights")
        assert "Naive, Joint, Cumulative" in found["refused"]
