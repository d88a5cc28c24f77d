"""Several processes of one command, started by ``torchrun``: the first leads, the others follow.

The first one reads the configuration, says what there is to say and writes; the others do what it
tells them (:mod:`insituml_pipelines.runs.together`). When one ends, all do, with one line.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL
from insituml_pipelines.common.launcher import by_torchrun, is_follower, launched
from insituml_pipelines.common.log import note
from insituml_pipelines.common.stopping import code_of, go_deaf

STAGES = ("train", "stream")
"""Those that take several ranks."""
PATIENCE = timedelta(days=1)
"""How long one rank waits for another that lives, such as the first while it evaluates."""
SEARCH_SECONDS = 5.0
"""How long is looked for what became of a rank that does not answer any more."""
STOPPED = "stopped"
LAST_WORDS_SECONDS = 5.0
"""How long a rank that fails waits for the first to fail alike: a launcher stops all when one ends.
"""
CONNECTING = timedelta(seconds=10)
"""A try to reach the first rank, which may have much to do before; no signal ends it."""
DISMISSING = timedelta(seconds=30)
"""How long the first rank waits for others that it has no use for."""
OVER = "over"
_has_joined = False


def check_stage(stage: str, *, sweeps: bool) -> None:
    """Refuse several ranks where one does all.

    A stage that never takes several runs by itself where not torchrun, but a pod or a queue, has
    set the variables.

    Raises
    ------
    UserError
        On the first rank; the others end without a word.
    """
    if launched() == 1 or (not sweeps if stage in STAGES else not by_torchrun()):
        return
    if is_follower():
        raise SystemExit(UserError.code)
    what = "a sweep" if sweeps else stage
    raise UserError(
        f"{what} runs in one process, and torchrun has started {launched()}; run it without "
        f"torchrun, or RANK and WORLD_SIZE ({' and '.join(STAGES)} of a single run take several)"
    )


@dataclass(frozen=True)
class _Group:
    """Who belongs together, and where they tell what ended them."""

    store: Any
    rank: int
    members: list[tuple[str, int]]  # host and process of each

    def tell(self, why: str) -> None:
        with suppress(RuntimeError):  # the store may have ended first
            self.store.set(f"ended {self.rank}", why)

    def told(self, rank: int) -> str | None:
        """Return what a rank said of its end; None while it has not ended, or without a word."""
        key = f"ended {rank}"
        try:
            return self.store.get(key).decode() if self.store.check([key]) else None
        except RuntimeError:
            return None

    def lost(self, seconds: float) -> tuple[bool, str | None]:
        """Look for the rank that ended first.

        Returns
        -------
        mine, line
            Whether this rank is the one to say what happened; and what; None: it was said.
        """
        deadline, count = time.monotonic() + seconds, len(self.members)
        while True:
            words = {r: self.told(r) for r in range(count) if r != self.rank}
            gone = {r for r in words if words[r] is not None or self._is_gone(r)}
            mine = all(r in gone for r in range(self.rank))
            for rank in sorted(gone):
                if (said := words[rank]) is None:
                    return mine, (
                        f"rank {rank} of {count} (process {self.members[rank][1]}) is gone, as "
                        "when it was killed or memory ran out; all end. The same command goes on"
                    )
                if said not in ("", STOPPED):
                    return mine, f"rank {rank} of {count}: {said}"
            if gone:
                return mine, None
            if time.monotonic() > deadline:
                return self.rank == 0, None
            time.sleep(0.05)

    def let_first_speak(self, seconds: float) -> None:
        """Wait until the first rank ends as well, and so speaks, or is gone."""
        deadline = time.monotonic() + seconds
        while self.told(0) is None and not self._is_gone(0) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _is_gone(self, rank: int) -> bool:
        host, process = self.members[rank]
        if host != socket.gethostname():
            return False
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state in "ZX"


@contextmanager
def joined() -> Iterator[None]:
    """Be one of the ranks in the block, if there are several.

    Raises
    ------
    UserError
        If another rank has ended: on one of those left, naming it and what happened.
    SystemExit
        In that case, on the others.
    """
    if launched() == 1:
        yield
        return
    import torch.distributed as dist

    global _has_joined
    _has_joined = True
    try:
        group = _formed()
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        message = f"rank {os.environ['RANK']} of {launched()} cannot join the others: {reason}"
        raise UserError(message, EXTERNAL) from error
    try:
        yield
    except KeyboardInterrupt as stop:
        # The launcher stops who is left when one has died.
        if code_of(stop) == 128 + signal.SIGTERM:
            _end_if_lost(group, 0.5, stop)
        group.tell(STOPPED)
        raise
    except Exception as error:
        if is_about_connections(error):
            go_deaf()
            _end_if_lost(group, SEARCH_SECONDS, error)
        if group.rank == 0:
            go_deaf()  # it is about to say what happened; when another ends, the launcher stops it
            group.tell("")
        else:
            group.tell(" ".join(str(error).split()) or type(error).__name__)
            group.let_first_speak(LAST_WORDS_SECONDS)
        raise
    except BaseException:
        group.tell("")
        raise
    dist.destroy_process_group()


@contextmanager
def dismissing() -> Iterator[None]:
    """Let the others end if the first rank has not joined them in the block, as for ``--help``."""
    try:
        yield
    finally:
        if launched() > 1 and not _has_joined:
            _dismiss()


def _dismiss() -> None:
    import torch.distributed as dist

    try:
        store, _, count = next(dist.rendezvous("env://", timeout=DISMISSING))
        own = dist.PrefixStore("ranks", store)
        own.set(OVER, "")
        if by_torchrun():  # which keeps the store; else it ends with this process
            return
        deadline = time.monotonic() + DISMISSING.total_seconds()
        everyone = [f"dismissed {r}" for r in range(1, count)]
        while not own.check(everyone) and time.monotonic() < deadline:
            time.sleep(0.05)
    except (RuntimeError, ValueError, OSError) as error:
        note(f"the other ranks could not be told to end ({' '.join(str(error).split())})")


def _meeting() -> tuple[Any, int, int]:
    """Return the store where ranks meet, which rank this is, and how many there are."""
    import torch.distributed as dist

    patience = time.monotonic() + PATIENCE.total_seconds()
    while True:
        try:
            timeout = CONNECTING if is_follower() else PATIENCE
            store, rank, count = next(dist.rendezvous("env://", timeout=timeout))
        except (dist.DistStoreError, dist.DistNetworkError):
            if not is_follower() or time.monotonic() > patience:
                raise
        else:
            store.set_timeout(PATIENCE)
            return store, rank, count


def _formed() -> _Group:
    """Initialise the process group."""
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    store, rank, count = _meeting()
    own = dist.PrefixStore("ranks", store)
    own.set(f"here {rank}", "")
    everyone = [f"here {r}" for r in range(count)]
    while not own.check(everyone):  # here, and not within torch, a signal ends the wait
        if own.check([OVER]):
            own.set(f"dismissed {rank}", "")
            raise SystemExit(0)
        time.sleep(0.1)
    dist.init_process_group(
        backend,
        store=dist.PrefixStore("group", store),
        rank=rank,
        world_size=count,
        timeout=PATIENCE,
    )
    members: list[Any] = [None] * count
    dist.all_gather_object(members, (socket.gethostname(), os.getpid()))
    return _Group(own, rank, members)


def _end_if_lost(group: _Group, seconds: float, error: BaseException) -> None:
    mine, line = group.lost(seconds)
    if line is None and not mine and not isinstance(error, KeyboardInterrupt):
        raise SystemExit(EXTERNAL) from error
    if line is not None:
        go_deaf()
        group.tell("")
        raise (UserError(line, EXTERNAL) if mine else SystemExit(EXTERNAL)) from error


def is_about_connections(error: BaseException) -> bool:
    """Tell whether an error is that another rank does not answer."""
    import torch.distributed as dist

    words = str(error).lower()
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(w in words for w in ("gloo", "nccl", "connection"))
    )
