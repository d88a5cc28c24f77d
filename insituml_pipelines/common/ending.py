"""How a command ends that cannot do what it was asked: one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from insituml_pipelines.common import log
from insituml_pipelines.common.composition import one_line
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL, in_one_line
from insituml_pipelines.common.stopping import WORDS, code_of, interruptible
from insituml_pipelines.common.terminal import accept_any_terminal

TRACEBACK = "HYDRA_FULL_ERROR"
"""Hydra's own variable: 1 shows tracebacks."""
ROOT = str(Path(__file__).parents[2])
NOBODY_READS = 141
"""Exit code where the reader of the output has gone, as after ``| head``."""


def fail(message: str, code: int = UserError.code) -> NoReturn:
    """Print one clear error and leave."""
    log.error(" ".join(message.split()))
    raise SystemExit(code)


def explained(error: BaseException) -> tuple[str, int]:
    """Return what to say of an error, and the exit code it stands for."""
    match error:
        case UserError():
            return str(error), error.code
        case SystemExit():
            return "it ended early", error.code if isinstance(error.code, int) else EXTERNAL
        case HydraException() | OmegaConfBaseException():
            return one_line(error), UserError.code
        case OSError():
            return in_one_line(error), EXTERNAL
        case MemoryError():
            return "there is not enough memory; use smaller batches, chunks or models", EXTERNAL
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "site-packages" not in f.filename and f.filename.startswith(ROOT)]
    place = (ours or frames)[-1]
    said = " ".join(str(error).split())[:500]
    return (
        f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}, which was "
        f"not foreseen: {said}; {TRACEBACK}=1 shows where it comes from, please report it",
        EXTERNAL,
    )


@contextmanager
def failing_in_one_line() -> Iterator[None]:
    """Turn every error of the block into one line; the user may ask for the traceback instead."""
    accept_any_terminal()
    asked = os.environ.get(TRACEBACK) == "1"
    os.environ[TRACEBACK] = "1"  # else Hydra prints errors by itself
    try:
        with interruptible():
            yield
    except KeyboardInterrupt as stop:
        fail(WORDS, code_of(stop))
    except BrokenPipeError:
        _let_go_of_output()
    except Exception as error:
        if asked and not isinstance(error, UserError):
            raise
        fail(*explained(error))
    finally:
        if not asked:
            del os.environ[TRACEBACK]
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _let_go_of_output()


def _let_go_of_output() -> NoReturn:
    # What is left in the buffer would raise again when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(NOBODY_READS)
