"""Memory of a rank that holds a part of the learner, on two ranks, against one that holds it all.

Of an autoencoder of wide layers with Adam: what is held between steps (weights, gradients and both
moments), and the most that a training takes of memory, activations of a few samples included.
Ranks are processes of this machine that talk by gloo.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.report import Row, concluded, options
from benchmarks.stream_training import resident
from insituml.data.task import Task
from insituml.methods import Naive
from insituml.models import MLP
from insituml.sharding import shard, units
from insituml.shards import own_part
from insituml.training import train

FEATURES = 256
WIDTH = 2048
LAYERS = 6
"""Of the encoder, and so of the decoder, between inputs and latent."""
BATCH = 8
STEPS = 3
HELD = 0.51
"""Goal: a half, and what ranks hold beside their part."""
MIB = 2**20


def most_of(share: float, largest: float) -> float:
    """Return the goal of the largest memory, as a share of that of a rank which holds everything.

    Of 4 numbers a weight the half is held; gathered for a while are the weights of two units (one
    computes, and the next is fetched) and the gradients of one, in the layer and on their way.

    Parameters
    ----------
    share
        Of the numbers that are held.
    largest
        The largest unit, as a share of the learner.
    """
    return share + (2 + 2) * largest / 4


def measured(parts: bool, layers: int) -> dict[str, float]:
    """Return bytes held after a training and at most in it, and those of the largest unit."""
    generator = torch.Generator().manual_seed(0)
    _learn(_model(generator, 64, 1), parts, generator)  # imports and buffers of the group
    before = resident("VmRSS")
    learner = _model(generator, WIDTH, layers)
    numbers = sum(p.numel() for p in learner.parameters())
    largest = max(sum(p.numel() for p in unit.parameters(recurse=False)) for unit in units(learner))
    kept, most = _learn(learner, parts, generator)
    return {"held": kept, "most": most - before, "numbers": numbers, "largest": largest}


def _model(generator: torch.Generator, width: int, layers: int) -> MLP:
    return MLP(FEATURES, [width] * layers, 32, generator=generator)


def _learn(learner: MLP, parts: bool, generator: torch.Generator) -> tuple[int, int]:
    if parts:
        shard(learner)
    optimizer = torch.optim.Adam(learner.parameters())
    count = dist.get_world_size() if dist.is_initialized() else 1
    samples = torch.randn(STEPS * BATCH * count, FEATURES, generator=generator)
    Path("/proc/self/clear_refs").write_text("5")  # count the most anew: the whole learner is gone
    for _ in train(
        learner,
        Naive(generator=generator),
        [Task(0, "one", (samples,), ())],
        optimizer,
        epochs=1,
        batch_size=BATCH * count,
        generator=generator,
    ):
        pass
    kept = [t for p in learner.parameters() for t in (p, p.grad, *optimizer.state[p].values())]
    return sum(own_part(t).nbytes for t in kept if t is not None), resident("VmHWM")


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = options(__doc__).parse_args(arguments)
    if not Path("/proc/self/clear_refs").exists():
        print("memory is measured by /proc, which is not here: nothing is measured")
        return 0
    layers = LAYERS // 2 if parsed.quick else LAYERS
    one, copies, parts = (_on(*how, layers) for how in ((1, False), (2, False), (2, True)))
    largest = one["largest"] / one["numbers"]
    rows = [
        Row("weights of the learner, MiB", one["numbers"] * 4 / MIB),
        Row("share of the largest unit", largest),
        Row("held between steps on one rank, MiB", one["held"] / MIB),
        Row.at_most("held by one of two in parts / on one", parts["held"] / one["held"], HELD),
        Row("most on one rank, MiB", one["most"] / MIB),
        Row("most on one of two with a whole learner each / on one", copies["most"] / one["most"]),
        Row.at_most(
            "most on one of two in parts / on one",
            parts["most"] / one["most"],
            most_of(HELD, largest),
        ),
    ]
    return concluded(rows, parsed.json)


def _on(count: int, parts: bool, layers: int) -> dict[str, float]:
    """Measure so many ranks; the one that takes the most counts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.sharded_memory", "rank"]
        # Freed tensors go back to the system at once: what is resident is what is in use.
        variables = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
        arguments = [[str(rank), str(count), str(int(parts)), str(layers)] for rank in range(count)]
        started = [subprocess.Popen([*command, *a, folder], env=variables) for a in arguments]
        codes = [process.wait() for process in started]
        if any(codes):
            raise RuntimeError("a rank has failed; see above")
        found = [torch.load(path, weights_only=True) for path in Path(folder).glob("found*")]
        return {name: max(each[name] for each in found) for name in found[0]}


def _rank(rank: int, count: int, parts: bool, layers: int, folder: Path) -> None:
    torch.set_num_threads(1)
    if count > 1:
        meeting = f"file://{folder}/meeting"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    found = measured(parts, layers)
    assert all(math.isfinite(value) for value in found.values())
    torch.save(found, folder / f"found{rank}")
    if count > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    if sys.argv[1:2] == ["rank"]:
        rank, count, parts, layers = map(int, sys.argv[2:6])
        _rank(rank, count, bool(parts), layers, Path(sys.argv[6]))
    else:
        raise SystemExit(main())
