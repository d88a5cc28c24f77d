"""What tests of benchmarks share: stages that run in this process."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import quality


def run_here(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE ...`` as a process would, without loading everything again."""
    _, option, module, *arguments = command
    assert option == "-m"
    assert env["OMP_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"]
    said, code = StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, chdir(cwd), redirect_stderr(said):
        patch.setattr(sys, "argv", [module, *arguments])
        try:
            importlib.import_module(module).command()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(command, code, "", said.getvalue())


@pytest.fixture(scope="module")
def quality_here() -> Iterator[None]:
    """Let the quality benchmark run its stages in this process; nothing else is changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality, "subprocess", SimpleNamespace(run=run_here))
        yield
