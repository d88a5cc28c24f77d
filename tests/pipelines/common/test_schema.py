"""Wrong configuration is named with what arrived and what is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Data, Training, validate
from insituml_pipelines.common.targets import validate_target


def message(function, *arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    return str(caught.value)


def test_valid_values_come_back_typed(tools) -> None:
    training = validate(Training, tools.TRAINING, "training")
    assert training.model_dump() == tools.TRAINING
    with pytest.raises(ValueError, match="frozen"):
        training.epochs = 4


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("epochs", 0, "training.epochs is 0: input should be greater than or equal to 1"),
        ("epochs", "many", "training.epochs is 'many': input should be a valid integer"),
        ("max_gradient_norm", 0, "training.max_gradient_norm is 0: input should be greater than 0"),
        ("seeds", [0, -1], "training.seeds.1 is -1: input should be greater than or equal to 0"),
        ("seeds", [], "training.seeds is []"),
        ("device", None, "training.device is None: input should be a valid string"),
        ("epoch", 3, "training.epoch is not a key of training; accepted: epochs, batch_size"),
    ],
)
def test_wrong_values(key: str, value: Any, expected: str, tools) -> None:
    said = message(validate, Training, {**tools.TRAINING, key: value}, "training")
    assert said.startswith(expected)
    assert "\n" not in said


def test_a_missing_key_and_several_at_once(tools) -> None:
    values = {k: v for k, v in tools.TRAINING.items() if k != "threads"}
    said = message(validate, Training, {**values, "epochs": 0, "x": 1}, "training")
    assert said.count("; ") >= 2
    for part in ("training.threads is missing", "training.epochs is 0", "training.x is not a key"):
        assert part in said


def test_nested_keys_are_named_in_full(tools, tmp_path) -> None:
    data = tools.points_data().model_dump()
    data["split"]["tasks"] = "five"
    assert "data.split.tasks is 'five'" in message(validate, Data, data, "data")
    data["split"]["tasks"] = 3
    data["split"]["normalisation"] = "none"
    said = message(validate, Data, data, "data")
    assert "data.split.normalisation is 'none'" in said
    assert "'first_task', 'running' or 'global'" in said
    data["split"]["by"] = "colour"
    assert "'colour'" in message(validate, Data, data, "data")


def test_an_unknown_key_of_a_subsection_names_the_keys_of_the_subsection(tools) -> None:
    data = tools.points_data().model_dump()
    data["split"]["chunks"] = 3
    said = message(validate, Data, data, "data")
    assert "data.split.chunks is not a key of data.split; accepted: holdout, validation" in said


MLP = "insituml.models.MLP"
LOSS_AWARE = "insituml.memory.LossAwareMemory"


@pytest.mark.parametrize(
    "node, expected",
    [
        ({"_target_": "insituml.models.Perceptron"}, "Perceptron"),
        ({"_target_": "no.module.Thing"}, "no.module.Thing"),
        ({}, "model._target_ is None; give the full name"),
        ({"_target_": MLP, "width": 3}, f"model.width is not an option of {MLP}; accepted: act"),
        ({"_target_": MLP, "latent_size": "x"}, "model.latent_size is 'x': input should be"),
        ({"_target_": MLP, "generator": 3}, "model.generator is not an option"),
    ],
)
def test_targets(node: dict[str, Any], expected: str) -> None:
    said = message(validate_target, node, "model")
    assert expected in said
    assert "\n" not in said


def test_options_of_base_classes_are_accepted() -> None:
    """``**options`` hand on to the base class: its options are the memory's too."""
    node = {"_target_": LOSS_AWARE, "exponent": 2.0, "dtype": "float16", "_convert_": "all"}
    validate_target(node, "memory")
    said = message(validate_target, {"_target_": LOSS_AWARE, "dtyp": "float16"}, "memory")
    assert "capacity, capacity_bytes, device, dtype, exponent, pin" in said
    validate_target({"_target_": "insituml.data.toy8.toy8", "points": 8}, "data.source")


def test_types_of_base_class_options_are_checked() -> None:
    node = {"_target_": LOSS_AWARE, "capacity_bytes": "much"}
    assert "memory.capacity_bytes is 'much'" in message(validate_target, node, "memory")


REPLAY = {"_target_": "insituml.methods.ExperienceReplay", "memory_size": 6}
RING = {"_target_": "insituml.memory.RingMemory", "_partial_": True}


@pytest.mark.parametrize(
    "memory, expected",
    [
        ({**RING, "_target_": "insituml.memory.Ring"}, "method.memory._target_ is 'insituml.memor"),
        ({**RING, "capacity_byte": 3}, "method.memory.capacity_byte is not an option of insituml."),
        ({**RING, "capacity_bytes": "1 GB"}, "method.memory.capacity_bytes is '1 GB': input sho"),
        (
            {**RING, "selection": "nearest"},
            "accepted: capacity, capacity_bytes, device, dtype",
        ),
        ({"_target_": RING["_target_"]}, "method.memory is built by what it is given to; it needs"),
        ("ring", "method.memory is 'ring'; expected a node with _target_ and _partial_: true"),
        ({"size": 3}, "method.memory is {'size': 3}; expected a node with _target_ and _partial_"),
    ],
)
def test_nested_targets_are_checked_in_the_same_way(memory: Any, expected: str) -> None:
    validate_target({**REPLAY, "memory": RING}, "method")
    herding = {**RING, "_target_": "insituml.memory.HerdingMemory", "selection": "nearest"}
    validate_target({**REPLAY, "memory": herding}, "method")
    said = message(validate_target, {**REPLAY, "memory": memory}, "method")
    assert expected in said
    assert "\n" not in said


def test_nested_targets_in_lists_are_checked() -> None:
    replay = {**REPLAY, "_partial_": True, "memory": RING}
    node = {"_target_": "insituml.methods.Combined", "methods": [replay]}
    validate_target(node, "method")
    wrong = {**replay, "memory": {**RING, "pin": "perhaps"}}
    said = message(validate_target, {**node, "methods": [replay, wrong]}, "method")
    assert said.startswith("method.methods.1.memory.pin is 'perhaps'")
    said = message(validate_target, {**node, "methods": [REPLAY]}, "method")
    assert said.endswith("it needs method.methods.0._partial_=true")
