"""SIGTERM and SIGHUP end a command as Ctrl-C does: one line, its own exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from insituml_pipelines.common.ending import failing_in_one_line
from insituml_pipelines.common.stopping import SIGNALS

ROOT = Path(__file__).parents[3]
SCRIPT = """
import time
from insituml_pipelines.common.ending import failing_in_one_line
with failing_in_one_line():
    try:
        print("runs", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
"""


def started(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_one_line_and_its_exit_code(number) -> None:
    process = started(SCRIPT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        process.send_signal(number)
        said, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
    assert said == "cleaned up\n"
    assert complaints == "error: stopped; run the same command again to go on\n"
    assert process.returncode == 128 + number


LOADING = """
import runpy, sys, time
class Slow:
    def find_spec(self, name, path, target=None):
        if name == "hydra":
            print("loads", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
sys.argv = ["-m"]
runpy.run_module("insituml_pipelines.split", run_name="__main__", alter_sys=True)
"""
CONVERTED = """
import time
from insituml_pipelines.common.ending import failing_in_one_line

class Attribute:
    def __set_name__(self, owner, name):
        print("runs", flush=True)
        time.sleep(60)

with failing_in_one_line():
    class Owner:
        attribute = Attribute()  # Python makes a RuntimeError of what is raised there
"""


@pytest.mark.parametrize("script", [LOADING, CONVERTED], ids=["while it loads", "as another error"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_one_line_whenever_it_comes(script, number) -> None:
    process = started(script)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
    assert complaints == "error: stopped; run the same command again to go on\n"
    assert process.returncode == 128 + number


def test_handlers_are_as_they_were_when_a_command_has_ended() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with failing_in_one_line():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with failing_in_one_line():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
