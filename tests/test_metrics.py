"""Metrics of loss matrices worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from insituml import gap, metrics
from insituml.gap import gap_closed
from insituml.metric import Metric, RunResult
from insituml.metrics import (
    METRICS,
    average_error_of_seen_tasks,
    backward_transfer,
    final_average_error,
    forgetting,
    forward_transfer,
)

# Rows: trained through task k. Columns: evaluated on task j.
MATRIX = np.array(
    [
        [2.0, 1.0, 8.0],
        [1.0, 3.0, 7.0],
        [6.0, 5.0, 4.0],
    ]
)


def test_final_average_error_is_the_mean_of_the_last_row() -> None:
    assert final_average_error(MATRIX) == 5.0


def test_forgetting_is_the_loss_since_the_best_error() -> None:
    # Task 0: 6 − min(2, 1, 6) = 5; task 1: 5 − min(3, 5) = 2. What came before a task is learned
    # (1 in row 0, a happy accident) does not count.
    assert forgetting(MATRIX) == 3.5


def test_backward_transfer_compares_with_the_diagonal() -> None:
    assert backward_transfer(MATRIX) == ((6 - 2) + (5 - 3)) / 2


def test_forward_transfer_compares_the_superdiagonal_with_the_untrained_model() -> None:
    untrained = np.array([100.0, 10.0, 6.0])
    assert forward_transfer(MATRIX, untrained) == ((1 - 10) + (7 - 6)) / 2


def test_the_orientation_matters() -> None:
    untrained = np.array([100.0, 10.0, 6.0])
    assert final_average_error(MATRIX.T) != final_average_error(MATRIX)
    assert forgetting(MATRIX.T) != forgetting(MATRIX)
    assert backward_transfer(MATRIX.T) != backward_transfer(MATRIX)
    assert forward_transfer(MATRIX.T, untrained) != forward_transfer(MATRIX, untrained)


@pytest.mark.parametrize("seed", range(20))
def test_forgetting_is_never_negative_and_never_below_backward_transfer(seed: int) -> None:
    matrix = np.random.default_rng(seed).random((5, 5))
    assert forgetting(matrix) >= 0
    assert forgetting(matrix) >= backward_transfer(matrix)


def test_no_forgetting_while_errors_fall() -> None:
    matrix = np.array([[3.0, 9.0], [2.0, 1.0]])
    assert forgetting(matrix) == 0.0
    assert backward_transfer(matrix) == -1.0


def test_a_single_task_neither_forgets_nor_transfers() -> None:
    one = np.array([[2.0]])
    assert forgetting(one) == backward_transfer(one) == forward_transfer(one, one[0]) == 0.0
    assert final_average_error(one) == 2.0


def test_gap_closed() -> None:
    assert gap_closed(10.0, naive=10.0, joint=2.0) == 0.0
    assert gap_closed(2.0, naive=10.0, joint=2.0) == 1.0
    assert gap_closed(4.0, naive=10.0, joint=2.0) == 0.75
    assert gap_closed(12.0, naive=10.0, joint=2.0) == -0.25
    assert gap_closed(1.0, naive=10.0, joint=2.0) > 1.0
    assert math.isnan(gap_closed(4.0, naive=2.0, joint=2.0))
    assert math.isnan(gap_closed(4.0, naive=1.0, joint=2.0))


@pytest.mark.parametrize("shape", [(2, 3), (3,), (0, 0), (2, 2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    for metric in (final_average_error, forgetting, backward_transfer):
        with pytest.raises(ValueError, match="loss matrix has shape"):
            metric(np.zeros(shape))
    with pytest.raises(ValueError, match=r"untrained has shape \(2,\)"):
        forward_transfer(MATRIX, np.zeros(2))


def test_the_average_over_seen_tasks_leaves_out_what_is_to_come() -> None:
    np.testing.assert_allclose(average_error_of_seen_tasks(MATRIX), [2.0, (1 + 3) / 2, 5.0])


UNTRAINED = np.array([100.0, 10.0, 6.0])


def test_the_table_computes_what_the_functions_do() -> None:
    expected = {
        "final_average_error": final_average_error(MATRIX),
        "forgetting": forgetting(MATRIX),
        "backward_transfer": backward_transfer(MATRIX),
        "forward_transfer": forward_transfer(MATRIX, UNTRAINED),
        "memory_bytes": 12,
    }
    found = metrics.of_run(RunResult(MATRIX, UNTRAINED, memory_bytes=12))
    assert expected.items() <= found.items()  # and whatever else the table has


def test_what_has_no_meaning_is_nan() -> None:
    run = RunResult(MATRIX, UNTRAINED, memory_bytes=12, sequential=False, keeps_all_data=True)
    numbers = metrics.of_run(run)
    assert not math.isnan(numbers["final_average_error"])
    for metric in metrics.METRICS:
        if metric.needs_order or metric.name == "memory_bytes":
            assert math.isnan(numbers[metric.name])


def test_the_gap_ends_at_the_bound_and_else_says_where() -> None:
    numbers = {
        name: {"final_average_error": error}
        for name, error in {"naive": 9.0, "joint": 5.0, "joint_converged": 1.0, "ewc": 7.0}.items()
    }
    (gap,) = (metric for metric in metrics.METRICS if metric.of_gap)
    found = metrics.of_comparison(numbers)
    assert {m: n["gap_closed"] for m, n in found.items()} == {
        "naive": 0,
        "joint": 0.5,
        "joint_converged": 1,
        "ewc": 0.25,
    }
    assert gap.label_among(numbers) == "gap closed"
    assert gap.axis_among(numbers) == "0 = naive, 1 = joint converged"
    del numbers["joint_converged"]
    assert metrics.of_comparison(numbers)["ewc"]["gap_closed"] == 0.5
    assert gap.label_among(numbers) == "gap closed (to joint)"
    assert gap.axis_among(numbers) == "0 = naive, 1 = joint"
    del numbers["joint"]
    assert gap.label_among(numbers) == "gap closed"
    assert math.isnan(metrics.of_comparison(numbers)["ewc"]["gap_closed"])


def test_methods_are_compared_with_both_ends_of_the_gap() -> None:
    errors = {"naive": 10.0, "joint": 2.0, "ewc": 4.0}
    numbers = {method: {"final_average_error": error} for method, error in errors.items()}
    found = metrics.of_comparison(numbers)
    assert {m: n["gap_closed"] for m, n in found.items()} == {"naive": 0, "joint": 1, "ewc": 0.75}
    assert found["ewc"]["final_average_error"] == 4.0
    del numbers["joint"]
    assert all(math.isnan(n["gap_closed"]) for n in metrics.of_comparison(numbers).values())


def test_each_metric_is_computed_in_one_way_and_named_once() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert all((m.of_run is None) != (m.of_comparison is None) for m in METRICS)


@pytest.mark.parametrize(
    "better, no_help, values, best",
    [
        ("lower", None, [3.0, 1.0, 2.0], 1.0),
        ("higher", None, [3.0, 1.0, 2.0], 3.0),
        ("lower", None, [3.0, math.nan, 2.0], 2.0),
        ("lower", None, [3.0], None),  # nobody to be better than
        ("lower", None, [3.0, math.nan], None),
        ("lower", None, [3.0, 3.0], None),
        ("lower", None, [], None),
        ("higher", 0.0, [-0.5, 0.25], 0.25),
        ("higher", 0.0, [-0.5, -0.25], None),
        ("higher", 0.0, [-0.5, 0.0], None),
        ("lower", 0.0, [-0.5, 0.5], -0.5),
        ("lower", 0.0, [0.25, 0.5], None),
    ],
)
def test_best(better, no_help, values, best) -> None:
    assert Metric("x", "x", better, "share", no_help=no_help).best(values) == best


def test_bounds_and_the_reference_do_not_compete() -> None:
    assert metrics.competes("ewc", is_bound=False)
    assert not metrics.competes("anything", is_bound=True)
    assert not metrics.competes(gap.REFERENCE, is_bound=False)


def test_the_final_error_passes_over_tasks_on_which_there_is_none() -> None:
    nan = math.nan
    matrix = np.array([[1.0, nan, 4.0], [2.0, nan, 5.0], [3.0, nan, 6.0]])
    assert metrics.final_known_error(matrix) == 4.5
    matrix[2, 2] = nan  # diverged: other rows have it
    assert math.isnan(metrics.final_known_error(matrix))
    assert math.isnan(metrics.final_known_error(np.full((2, 2), nan)))


def test_the_main_error_is_the_first_that_every_task_has() -> None:
    whole, part = np.array([1.0, 2.0]), np.array([1.0, math.nan])
    assert metrics.main_error({"relative_l2": whole, "mse": whole}) == "relative_l2"
    assert metrics.main_error({"relative_l2": part, "psnr": part, "mse": whole}) == "mse"
    assert metrics.main_error({"nll": part}) == "nll"
