"""The scaling model is what it must be at its limits, and its benchmark measures what it needs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from benchmarks import scaling
from benchmarks.scaling_model import COMPUTING, HOST, LINK, STREAM, Machine
from insituml.models import MLP

HOST_OF_8 = {"ranks_per_host": 8, "devices_per_host": 8}
PLAIN = Machine(step_seconds=0.5, batch_bytes=100, gradient_bytes=1000)
LINKED = replace(PLAIN, link_bandwidth=4000, link_latency=0.01)


def test_one_rank_takes_the_time_of_its_step() -> None:
    assert LINKED.throughput(1) == 100 / 0.5
    assert LINKED.all_reduce_seconds(1) == 0
    assert LINKED.efficiency(1) == 1


@pytest.mark.parametrize("ranks", [2, 3, 1000])
def test_an_infinitely_fast_link_scales_without_loss(ranks: int) -> None:
    assert PLAIN.throughput(ranks) == pytest.approx(ranks * PLAIN.throughput(1))
    assert PLAIN.efficiency(ranks) == pytest.approx(1)
    assert PLAIN.first_saturated(ranks) is None


def test_the_ring_moves_all_gradients_twice_but_for_an_nth() -> None:
    # Hop by hop: n − 1 to add up and n − 1 to hand out, each an nth of the gradients.
    for ranks in (2, 3, 7):
        hops = [1000 / ranks / 4000 + 0.01 for _ in range(2 * (ranks - 1))]
        assert LINKED.all_reduce_seconds(ranks) == pytest.approx(sum(hops))
    without_latency = replace(LINKED, link_latency=0.0)
    assert without_latency.all_reduce_seconds(10**6) == pytest.approx(2 * 1000 / 4000, rel=1e-5)


def test_what_hides_behind_the_step_costs_nothing() -> None:
    hidden = replace(PLAIN, link_bandwidth=4000, overlap=1.0)
    assert hidden.all_reduce_seconds(1000) < 0.5
    assert hidden.efficiency(1000) == pytest.approx(1)
    half = replace(hidden, overlap=0.5)
    assert half.exposed_seconds(1000) == pytest.approx(half.all_reduce_seconds(1000) - 0.25)


def test_ranks_beyond_the_devices_share_them() -> None:
    shared = replace(PLAIN, ranks_per_host=3, devices_per_host=2)
    assert [shared.throughput(n) for n in (1, 2, 3)] == pytest.approx([200, 400, 400])


@pytest.mark.parametrize(
    "changes, ranks, limit, bound",
    [
        ({"stream_bandwidth": 700.0}, 4, STREAM, 700),
        ({"host_bandwidth": 3000.0, "host_copies": 2.0} | HOST_OF_8, 8, HOST, 1500),
        ({"link_bandwidth": 100.0}, 2, LINK, 2 * 100 / (0.5 + 10)),
    ],
)
def test_the_first_to_saturate_is_named(
    changes: dict[str, float], ranks: int, limit: str, bound: float
) -> None:
    machine = replace(PLAIN, **changes)
    assert machine.first_saturated(1000) == (ranks, limit)
    assert machine.limited_by(1) == COMPUTING
    assert machine.throughput(ranks) == pytest.approx(bound)


def test_stored_samples_are_shared_out_and_the_rest_is_not() -> None:
    machine = replace(PLAIN, model_bytes=7, activation_bytes=5, buffer_bytes=3, memory_bytes=12)
    assert [machine.bytes_per_rank(n) for n in (1, 4)] == [27, 18]


@pytest.mark.parametrize("wrong", [{"step_seconds": 0}, {"overlap": 2}, {"batch_bytes": math.nan}])
def test_wrong_numbers_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(PLAIN, **wrong)


def test_constants_from_a_file_give_a_table_and_a_figure(tmp_path: Path, capsys) -> None:
    file, figure, rows = (tmp_path / name for name in ("machine.json", "f.png", "rows.json"))
    machine = replace(LINKED, link_latency=0.0)
    known = {k: v for k, v in asdict(machine).items() if v != math.inf}
    file.write_text(json.dumps({**known, "stream_bandwidth": 700.0}))
    arguments = ["--constants", str(file), "--figure", str(figure), "--json", str(rows)]
    assert scaling.main(arguments) == 0
    assert f"from 7 ranks on {STREAM} is the limit" in capsys.readouterr().out
    values = {row["name"]: row["value"] for row in json.loads(rows.read_text())}
    assert values["1000 ranks: GB/s"] == pytest.approx(700e-9)
    assert values["1 ranks: hours for a PB"] == pytest.approx(1e15 / 200 / 3600)
    assert figure.stat().st_size > 10_000
    file.write_text(json.dumps({"step": 1}))
    with pytest.raises(SystemExit):
        scaling.main(["--constants", str(file)])
    assert "step" in capsys.readouterr().err


def test_latency_and_bandwidth_from_two_all_reduces() -> None:
    machine = Machine(1.0, 1.0, 4 * 500, link_bandwidth=8000, link_latency=0.03)
    times = {n: replace(machine, gradient_bytes=4 * n).all_reduce_seconds(2) for n in (10, 500)}
    latency, bandwidth = scaling.link_of(times)
    assert latency == pytest.approx(0.03)
    assert bandwidth == pytest.approx(8000)


def test_a_process_measures_its_steps(tmp_path: Path) -> None:
    effort = scaling.Effort(width=16, steps=3, ranks=(1,), batch=4)
    threads = torch.get_num_threads()
    try:
        found = scaling.work(0, 1, str(tmp_path), effort)
    finally:
        torch.set_num_threads(threads)
    assert found.step_seconds[1] > 0
    assert found.parameters == sum(p.numel() for p in MLP(16, (16, 16), 64).parameters())
    machine = found.machine
    assert machine.throughput(1) == pytest.approx(found.throughput[1])
    rows = scaling.measured_rows(found)
    assert rows[-1].value == pytest.approx(rows[-2].value)
