"""What the first of several ranks has the others do: train a run, or call what a stream trains."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL
from insituml_pipelines.common.located import find_from_here
from insituml_pipelines.common.log import QUIET, error, note
from insituml_pipelines.common.ranks import joined
from insituml_pipelines.common.stopping import code_of, interruptible
from insituml_pipelines.runs.checkpoints import RunReport
from insituml_pipelines.runs.run import Run


def train_together(runs: Sequence[Run], listen: RunReport, progress: Callable[[int], None]) -> None:
    """Train runs one after the other, on all ranks; parameters as of ``train_all``."""
    from insituml import ranks
    from insituml_pipelines.runs.worker import train_run

    with leading():
        _note_noise(runs[0])
        for run in runs:
            ranks.told((train_run, (run, silent)))
            train_run(run, listen, progress)


def _note_noise(run: Run) -> None:
    """Say that the number of ranks decides what layers draw at random."""
    from torch.nn.modules.dropout import _DropoutNd

    noisy = [n for n, p in run.recipe.build_model().named_modules() if isinstance(p, _DropoutNd)]
    if noisy:
        note(f"{noisy[0]} is dropout, whose noise is each rank's own: other ranks, other results")


@contextmanager
def leading() -> Iterator[None]:
    """Have the other ranks do what they are told in the block, and end after it."""
    from insituml import ranks

    with joined():
        yield
        ranks.told(None)


def follow() -> None:
    """Do what the first rank says until it says no more; what happens, that one tells."""
    from insituml import ranks

    find_from_here()
    os.environ[QUIET] = "1"
    warnings.simplefilter("ignore")
    try:
        with interruptible(), joined():
            while (said := ranks.told(None)) is not None:
                function, arguments = said
                function(*arguments)
    except UserError as mistake:  # it is this rank's turn to tell
        error(str(mistake))
        raise SystemExit(mistake.code) from mistake
    except KeyboardInterrupt as stop:
        raise SystemExit(code_of(stop)) from stop
    except Exception as failure:
        raise SystemExit(EXTERNAL) from failure


def silent(run: Run, record: Any) -> None:
    """Hear what the first rank hears as well."""
