"""Processors, memory that processes share, disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from insituml_pipelines.checking.finding import Finding, State

ROOM = 2e9
"""Bytes of disk: three times of what the default experiment leaves."""
SHARED = 256e6
"""Bytes of shared memory: some iterations of a large field. Containers often have 64 MB."""
SHM = Path("/dev/shm")


def look_at_processors() -> Iterator[Finding]:
    """What training may use: threads per process, and a device."""
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    found = f"{cores} cores, OMP_NUM_THREADS {threads}"
    yield Finding("machine", "threads", State.GOOD, f"{found}; training.threads says per worker")
    try:
        import torch
    except (ImportError, OSError) as error:  # such as a library of CUDA's that is not there
        yield Finding("machine", "device", State.MISSING, f"torch: {error}", "install torch anew")
        return
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        yield Finding("machine", "device", State.GOOD, f"cpu, cuda ({', '.join(names)})")
        return
    built = f"was built for CUDA {torch.version.cuda}" if torch.version.cuda else "is for CPUs only"
    lacks = "finds no GPU" if torch.version.cuda else "cannot use one"
    remedy = "for training.device=cuda: a GPU with its driver, and a torch that was built for it"
    found = f"cpu; this torch {built} and {lacks}"
    yield Finding("machine", "device", State.OPTIONAL, found, remedy)


def look_at_memory() -> Iterator[Finding]:
    """Whether a simulation's process can hand iterations over."""
    try:
        block = SharedMemory(create=True, size=1 << 20)
        block.close()
        block.unlink()
    except OSError as error:
        remedy = "for learning in transit: give it (of a container: --shm-size=1g)"
        yield Finding("machine", "shared memory", State.MISSING, str(error), remedy)
        return
    if not SHM.is_dir():
        yield Finding("machine", "shared memory", State.GOOD, "can be made")
        return
    free = shutil.disk_usage(SHM).free
    few = free < SHARED
    remedy = "for learning large fields in transit: of a container, --shm-size=1g" if few else ""
    state = State.OPTIONAL if few else State.GOOD
    yield Finding("machine", "shared memory", state, f"{_size(free)} free", remedy)


def look_at_disk(folder: Path) -> Iterator[Finding]:
    """Whether results have room."""
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        remedy = "results lie where a command is called; change into a folder of your own"
        yield Finding("machine", "disk", State.MISSING, f"{folder} is read-only", remedy)
        return
    few = free < ROOM
    remedy = "the default experiment leaves 0.6 GB; make room" if few else ""
    state = State.OPTIONAL if few else State.GOOD
    yield Finding("machine", "disk", state, f"{_size(free)} free in {folder}", remedy)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
