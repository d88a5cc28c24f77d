"""Ranks of one group on this machine, each a process that has everything loaded as it starts."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

LOADED = tuple(f"tests.ranks.{name}" for name in ("learning", "contract", "streaming", "blocks"))
LOADED += ("torch.distributed.fsdp",)


def together(count: int, folder: Path, act: Callable[..., None], *arguments: Any) -> None:
    """Let so many ranks that have met run ``act(rank, *arguments)``, a function of a module.

    Raises
    ------
    AssertionError
        If one of them fails, with what they said.
    """
    _run(count, folder, _join, act, *arguments)


def launched(count: int, folder: Path, act: Callable[..., None], *arguments: Any) -> None:
    """Let so many processes run ``act(*arguments)`` in a folder, each told its rank by variables.

    A launcher starts them so; they meet by themselves. One alone is told nothing.

    Raises
    ------
    AssertionError
        As of :func:`together`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    _run(count, folder, _launch, port, act, *arguments)


def _run(count: int, folder: Path, begin: Callable[..., None], *arguments: Any) -> None:
    """Fork ranks off one process that has loaded torch and Hydra, and does nothing else.

    Loading takes longer than what they do.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED))
    started = [
        context.Process(target=begin, args=(rank, count, folder, *arguments))
        for rank in range(count)
    ]
    try:
        for process in started:
            process.start()
        for process in started:
            process.join(240)
        codes = [process.exitcode for process in started]
    finally:
        for process in started:
            if process.pid is not None:
                process.kill()
                process.join()
    assert codes == [0] * count, (folder / "said").read_text()


def _join(rank: int, count: int, folder: Path, act: Callable[..., None], *arguments: Any) -> None:
    _write_to(folder / "said")
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=60),
    )
    act(rank, *arguments)
    dist.destroy_process_group()


def _launch(
    rank: int, count: int, folder: Path, port: str, act: Callable[..., None], *arguments: Any
) -> None:
    _write_to(folder / "said")
    os.chdir(folder)
    if count > 1:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    act(*arguments)


def _write_to(file: Path) -> None:
    with file.open("a") as said:
        for descriptor in (1, 2):
            os.dup2(said.fileno(), descriptor)
