"""Learn from a stream as ``insituml stream`` does, evaluation and figures left out.

python -m tests.ranks.streaming OVERRIDE...
"""

from __future__ import annotations

import sys
from pathlib import Path

from insituml_pipelines.common.launcher import is_follower
from insituml_pipelines.runs.together import follow
from insituml_pipelines.stream import SECTIONS, finish, learn, plan
from insituml_pipelines.tracking.base import Tracker
from tests.pipelines.conftest import invoke

if __name__ == "__main__":
    if is_follower():
        follow()
    else:
        prepared = plan(invoke(Path.cwd(), SECTIONS, *sys.argv[1:]))
        training, _ = learn(prepared, Tracker())
        finish(prepared, training, Path.cwd() / "transit")
