"""Whether a run is trained by ranks that each hold a part of the learner."""

from __future__ import annotations

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Training
from insituml_pipelines.runs.sharding import is_to_be_sharded, refuse_sharding
from insituml_pipelines.runs.worker import settings_of


@pytest.fixture
def asked(tools):
    return lambda **changes: Training(**{**tools.TRAINING, "sharded": True, **changes})


@pytest.fixture
def ranks(monkeypatch) -> None:
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def test_one_process_holds_all_and_says_so(asked, make_run, capsys) -> None:
    assert not is_to_be_sharded(asked(), make_run("naive").recipe)
    assert "without effect in one process" in capsys.readouterr().err
    assert not is_to_be_sharded(asked(sharded=False), make_run("ewc").recipe)
    assert capsys.readouterr().err == ""


def test_several_ranks_hold_a_part_each_where_the_method_lets_them(asked, make_run, ranks) -> None:
    assert is_to_be_sharded(asked(), make_run("experience_replay").recipe)
    assert not is_to_be_sharded(asked(sharded=False), make_run("ewc").recipe)
    with pytest.raises(UserError, match=r"training\.sharded: EWC looks at whole weights"):
        is_to_be_sharded(asked(), make_run("ewc").recipe)
    with pytest.raises(UserError, match=r"training\.sharded does not go .* training\.averaging"):
        is_to_be_sharded(asked(averaging=0.9), make_run("naive").recipe)


def test_a_stream_refuses_it(asked) -> None:
    refuse_sharding(asked(sharded=False))
    with pytest.raises(UserError, match="for training from files"):
        refuse_sharding(asked())


def test_results_do_not_depend_on_it(asked) -> None:
    assert settings_of(asked().model_dump()) == settings_of(asked(sharded=False).model_dump())
