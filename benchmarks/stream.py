"""In-transit streams: throughput of each source, time spent waiting, peak memory.

How each is measured stands in ``benchmarks/stream_throughput.py`` and
``benchmarks/stream_training.py``. One thread a process; ratios are of this run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.report import Row, options, print_columns, print_table, write_json
from benchmarks.stream_throughput import Rate, rates
from benchmarks.stream_training import PROCESSES, Setting, memory_rows, waiting_rows


@dataclass(frozen=True)
class Effort:
    """Steps and turns of each source; steps to wait for; steps after which memory is read."""

    setting: Setting
    steps: int
    turns: int
    waits: int
    memory_at: tuple[int, ...]


FULL = Effort(Setting(), steps=128, turns=7, waits=400, memory_at=(200, 1000, 2000))
QUICK = Effort(Setting(), steps=32, turns=2, waits=60, memory_at=(80, 160))


def print_rates(measured: Sequence[Rate]) -> None:
    cells = [
        (r.source, f"{r.megabytes:.0f}", f"{r.steps:.0f}", f"{r.of_copy:.3f}") for r in measured
    ]
    print_columns(("", "MB/s", "steps/s", "of a plain copy"), cells)


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = options(__doc__).parse_args(arguments)
    effort = QUICK if parsed.quick else FULL
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measured = rates(effort.setting.shape, effort.steps, effort.turns)
        print_rates(measured)
        rows = list(waiting_rows(effort.waits, effort.setting))
        if PROCESSES.is_dir():
            rows += memory_rows(effort.memory_at, effort.setting)
        else:
            print(f"no peak memory: it is read from {PROCESSES}, which is not here")
    finally:
        torch.set_num_threads(threads)
    print_table(rows)
    if parsed.json:
        every: list[Row] = [row for rate in measured for row in rate.rows()]
        write_json(every + rows, parsed.json)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
