"""The kinds of data that tasks may be of are those that there are."""

from insituml_pipelines.common import task_files
from insituml_pipelines.data import kinds


def test_tasks_of_each_kind_can_be_read() -> None:
    assert set(task_files.KINDS) == set(kinds.KINDS)
