"""Who writes is alone, is named to others, and is forgotten when it dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.locking import held

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pathlib import Path
from insituml_pipelines.common.locking import held
with held(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_for_one_and_leaves_nothing(tmp_path) -> None:
    file = tmp_path / "new" / ".a.lock"
    with held(file, "the tasks"):
        with pytest.raises(UserError) as caught, held(file, "the tasks"):
            pass
        expected = rf"the tasks is being written by process {os.getpid()} since \d{{4}}-\S+ \S+ \("
        assert re.match(expected, str(caught.value))
        assert "\n" not in str(caught.value)
        with held(tmp_path / ".b.lock", "others"):
            pass
    assert not file.exists()
    with held(file, "again"):
        pass


def test_patience_waits_for_the_other(tmp_path) -> None:
    file = tmp_path / ".a.lock"
    with held(file, "it"), pytest.raises(UserError), held(file, "it", patience=0.2):
        pass


def test_a_dead_process_holds_nothing(tmp_path) -> None:
    file = tmp_path / ".a.lock"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {process.pid} since"), held(file, "it"):
            pass
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    assert file.exists()
    with held(file, "it"):
        pass
    assert not file.exists()


def test_a_place_that_cannot_be_written_is_said(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), held(tmp_path / "file/a.lock", "it"):
        pass
