"""From checkpoints to tables and figures: the numbers are those of the library."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import ttest_rel

from insituml import decode_field, encode_field, load_checkpoint, metrics, plots
from insituml.data import TaskFiles
from insituml.evaluation import latent_drift_matrix, loss_matrix
from insituml.plots.style import compact
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.task_files import facts_of, read_tasks
from insituml_pipelines.evaluate import evaluate_method
from insituml_pipelines.plot import SECTIONS, compare, main
from insituml_pipelines.results.figures import _scale, titled
from insituml_pipelines.results.summary import Summary, read_summary
from insituml_pipelines.results.tables import leaderboard, read_matrices, read_summaries
from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import train_method

METHODS = ("naive", "joint", "experience_replay")
SEEDS = (0, 10, 9)
WORK = ("flops", "samples_seen", "samples_replayed")
ORDERED = ("forgetting", "backward_transfer", "forward_transfer")


def train(root: Path, make_run, methods=METHODS, seeds=SEEDS, **changes: Any) -> None:
    stream = read_tasks(root / "data/tasks")
    for method in methods:
        runs = [
            make_run(method, seed, stream, folder=root / ".partial/x" / f"seed_{seed}", **changes)
            for seed in seeds
        ]
        train_method(runs, 0, 1, root, Tracker())


def evaluate(root: Path, methods=METHODS) -> dict[str, Summary]:
    files = read_tasks(root / "data/tasks")
    return {m: evaluate_method(m, files, root, Tracker()) for m in methods}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Where the first test that needs them leaves trained methods for the others."""
    return tmp_path_factory.mktemp("trained") / "root"


@pytest.fixture
def root(tools, make_run, tmp_path, trained) -> Path:
    """Three methods with three seeds, trained and evaluated on points."""
    if not trained.exists():
        tools.make_stream(tools.points_data(), trained)
        train(trained, make_run)
        evaluate(trained)
    return Path(shutil.copytree(trained, tmp_path, dirs_exist_ok=True))


def is_png(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_whole_way_on_points(root, tools, monkeypatch) -> None:
    tasks = read_tasks(root / "data/tasks").tasks()
    evaluations = tools.contents(root / "evaluations")
    (root / "figures").mkdir()
    (root / "figures/old.png").write_bytes(b"of an earlier comparison")
    markdown = compare(METHODS, root, root, Tracker())

    # The loss matrix, number by number.
    table = pd.read_csv(root / "results/loss_matrix.csv")
    assert list(table) == [
        "method",
        "seed",
        "trained_through",
        "evaluated_on",
        "metric",
        "value",
    ]
    cells = table.set_index(["method", "seed", "trained_through", "evaluated_on", "metric"])
    assert cells.index.is_unique
    assert len(cells) == len(METHODS) * len(SEEDS) * 4 * 3 * 3
    summaries: dict[tuple[str, int], dict[str, float]] = {}
    for method in METHODS:
        drifts = read_matrices(root, method, "latent_drift.csv", "latent_drift")
        # Matrices are read by the numbers of the seeds, 9 before 10.
        for index, seed in enumerate(sorted(SEEDS)):
            folder = root / "runs" / method / f"seed_{seed}"
            files = ["initial.pt", *(f"task_{k}.pt" for k in range(3))]
            untrained, *learners = [load_checkpoint(folder / file) for file in files]
            matrices = loss_matrix([untrained, *learners], tasks)
            assert matrices.keys() == {"mse", "l1", "linf"}
            for metric, matrix in matrices.items():
                for (k, j), value in np.ndenumerate(matrix):
                    found = cells.loc[(method, seed, k - 1, j, metric), "value"]
                    assert found == value
            read = read_matrices(root, method, "loss_matrix.csv", "mse")[index]
            np.testing.assert_array_equal(read, matrices["mse"][1:])
            np.testing.assert_array_equal(drifts[index], latent_drift_matrix(learners, tasks))
            matrix, baseline = matrices["mse"][1:], matrices["mse"][0]
            summaries[method, seed] = {
                "final_average_error": metrics.final_average_error(matrix),
                "forgetting": metrics.forgetting(matrix),
                "backward_transfer": metrics.backward_transfer(matrix),
                "forward_transfer": metrics.forward_transfer(matrix, baseline),
            }

    # The leaderboard.
    board = pd.read_csv(root / "results/leaderboard.csv").set_index("method")
    spread = ["final_average_error", *ORDERED, "gap_closed"]
    assert list(board) == [
        *("is_bound", "is_baseline", "keeps_all_data", "seeds"),
        *(f"{name}{end}" for name in spread for end in ("", "_std")),
        *("memory_bytes", *WORK),
        *(f"{name}{end}" for name in ("mse", "l1", "linf") for end in ("", "_std")),
        "verdict",
    ]
    np.testing.assert_allclose(board["mse"], board["final_average_error"])
    assert dict(board["is_bound"]) == {m: m == "joint" for m in METHODS}
    assert set(board["seeds"]) == {3}
    assert board["final_average_error"].is_monotonic_increasing
    for method in METHODS:
        for name in ("final_average_error", *ORDERED):
            if method == "joint" and name in ORDERED:
                assert np.isnan(board.loc[method, [name, f"{name}_std"]].to_numpy(float)).all()
                continue
            values = [summaries[method, seed][name] for seed in SEEDS]
            assert board.loc[method, name] == pytest.approx(np.mean(values))
            assert board.loc[method, f"{name}_std"] == pytest.approx(np.std(values, ddof=1))
    assert board.loc["naive", "gap_closed"] == 0
    assert board.loc["joint", "gap_closed"] == 1
    assert board.loc["joint", "gap_closed_std"] == 0
    errors = {m: [summaries[m, s]["final_average_error"] for s in SEEDS] for m in METHODS}
    gaps = [
        (naive - replay) / (naive - joint)
        for naive, joint, replay in zip(*(errors[m] for m in METHODS), strict=True)
    ]
    assert board.loc["experience_replay", "gap_closed"] == pytest.approx(np.mean(gaps))
    # A reservoir of 6 samples: 2 coordinates, 8 label entries and a task number each.
    assert board.loc["naive", "memory_bytes"] == 0
    assert board.loc["experience_replay", "memory_bytes"] >= 6 * (2 + 8) * 4
    assert np.isnan(board.loc["joint", "memory_bytes"])  # it keeps the stream itself
    # 3 epochs; replay draws 3 samples in each of the 12 steps on the two later tasks. Passes over
    # a layer of n × m cost 2nm forward, and each of two gradients; the inputs need none.
    layers = [2 * 6, 6 * 2, 2 * 6, 6 * 2]
    a_sample = 2 * (3 * sum(layers) - layers[0])
    seen = 3 * sum(len(task.train[0]) for task in tasks)
    for method, replayed in {"naive": 0, "joint": 0, "experience_replay": 24 * 3}.items():
        assert board.loc[method, "samples_seen"] == seen
        assert board.loc[method, "samples_replayed"] == replayed
        assert board.loc[method, "flops"] == (seen + replayed) * a_sample

    # Differences: paired by seed, the best competing method being the reference.
    differences = pd.read_csv(root / "results/differences.csv").set_index("method")
    assert list(differences.index) == [m for m in board.index if m != "experience_replay"]
    assert set(differences["reference"]) == {"experience_replay"}
    for method, found in differences.iterrows():
        theirs = ttest_rel(errors[method], errors["experience_replay"])
        interval = theirs.confidence_interval(0.95)
        assert found["p"] == pytest.approx(theirs.pvalue)
        assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))
        assert board.loc[method, "verdict"] == found["verdict"]
    low, high = sorted(differences["p"])
    corrected = [min(1, 2 * low), max(min(1, 2 * low), high)]
    assert sorted(differences["p_holm"]) == pytest.approx(corrected)
    assert board.loc["experience_replay", "verdict"] == "best"
    told = (root / "results/differences.md").read_text()
    assert "| naive − experience replay | +" in told
    assert "Paired over 3 seeds" in told
    assert "below 0.25" in told

    # For `dvc metrics`: few numbers alone, strictly JSON.
    found = json.loads((root / "results/metrics.json").read_text(), parse_constant=pytest.fail)
    replay = board.loc["experience_replay"]
    assert found == {
        "best": {
            name: pytest.approx(replay[name])
            for name in ("final_average_error", "forgetting", "gap_closed", "memory_bytes", *WORK)
        },
        "naive": {"final_average_error": board.loc["naive", "final_average_error"]},
        "joint": {"final_average_error": board.loc["joint", "final_average_error"]},
    }

    # For `dvc plots`: one row a method and task.
    curves = pd.read_csv(root / "results/forgetting_curves.csv").set_index(["method", "task"])
    for method in METHODS:
        matrices = read_matrices(root, method, "loss_matrix.csv", "mse")
        for k in range(3):
            row = -1 if method == "joint" else k  # its earlier rows are of half-trained models
            seen, first = matrices[:, row, : k + 1].mean(), matrices[:, row, 0].mean()
            found = curves.loc[(method, k)]
            assert found["average_error_of_seen_tasks"] == pytest.approx(seen)
            assert found["first_task_error"] == pytest.approx(first)
    assert len(curves) == 9

    assert (root / "results/leaderboard.md").read_text() == markdown + "\n"
    for row in ("naive", "joint", "experience replay"):
        assert row in markdown.lower().replace("_", " ")

    figures = {path.stem for path in (root / "figures").iterdir()}
    assert figures >= {"leaderboard", "loss_matrices", "forgetting_curves", "first_task_error"}
    for name in ("loss_matrix", "reconstructions"):
        assert {f"{name}_{method}" for method in METHODS} <= figures
    drifts = {name for name in figures if name.startswith("latent_drift")}
    assert drifts == {"latent_drift_naive", "latent_drift_experience_replay"}  # joint has no order
    assert all(map(is_png, (root / "figures").iterdir()))

    # What DVC declares comes out the same a second time. (Figures: see tests/plots.)
    evaluate(root)
    assert tools.contents(root / "evaluations") == evaluations
    results = tools.contents(root / "results")
    monkeypatch.setattr("insituml_pipelines.results.figures.draw_figures", lambda *arguments: None)
    compare(METHODS, root, root, Tracker())
    assert tools.contents(root / "results") == results


@pytest.mark.parametrize("holdout", [0.3, 0.5])
def test_tasks_of_one_held_out_sample_have_no_latent_drift(
    holdout, tools, make_run, tmp_path, monkeypatch
) -> None:
    """A whole volume is one sample: its latent has no spread to compare a drift with."""
    monkeypatch.setattr("insituml_pipelines.results.figures._draw_shared", lambda *arguments: None)
    tools.write_fields(tmp_path / "fields", 11)
    data = tools.field_data(tmp_path / "fields", chunk=None, holdout=holdout)
    tools.make_stream(data, tmp_path)
    train(tmp_path, make_run, ("naive",), seeds=(0,))
    evaluate(tmp_path, ("naive",))
    compare(("naive",), tmp_path, tmp_path, Tracker())
    table = pd.read_csv(tmp_path / "evaluations/naive/latent_drift.csv")
    held_out = [t.test for t in read_tasks(tmp_path / "data/tasks").manifest.tasks]
    assert set(table["evaluated_on"]) == {k for k, count in enumerate(held_out) if count > 1}
    drawn = (tmp_path / "figures/latent_drift_naive.png").exists()
    assert drawn == (max(held_out) > 1)
    assert (tmp_path / "figures/loss_matrix_naive.png").exists()


def check_physical_errors(root: Path, volumes: np.ndarray, stream: TaskFiles) -> None:
    """Matrices in physical units are those of whole volumes, however these were cut."""
    learners = [
        load_checkpoint(root / f"runs/naive/seed_0/task_{k}.pt") for k in range(len(volumes[0]))
    ]
    names = ("relative_l2", "relative_l2.Ey", "rmse.Ez", "max_error.Ex", "psnr.Ey", "mse")
    found = {n: read_matrices(root, "naive", "loss_matrix.csv", n)[0] for n in names}
    assert read_summary(root / "evaluations/naive").metric == "relative_l2"
    for k, learner in enumerate(learners):
        for j, task in enumerate(stream.manifest.tasks):
            x = np.stack([volumes[n // 100] for n in task.held_out]).astype(float)
            y = np.stack(
                [decode_field(learner, encode_field(learner, v, task=j)) for v in x]
            ).astype(float)
            error, by_component = y - x, np.moveaxis(y - x, 1, 0)
            norm, ey = np.linalg.norm, x[:, 1]
            expected = {
                "relative_l2": norm(error) / norm(x),
                "relative_l2.Ey": norm(by_component[1]) / norm(ey),
                "rmse.Ez": np.sqrt((by_component[2] ** 2).mean()),
                "max_error.Ex": np.abs(by_component[0]).max(),
                "psnr.Ey": 20 * np.log10(np.ptp(ey) / np.sqrt((by_component[1] ** 2).mean())),
                "mse": ((error / task.normalisation.std[:, None, None, None]) ** 2).mean(),
            }
            for name, value in expected.items():
                assert found[name][k, j] == pytest.approx(value, rel=1e-4), name


def check_volume_tables(root: Path, volumes: np.ndarray, stream: TaskFiles) -> None:
    """Spectra and energies are those of whole held-out volumes and the last checkpoint."""
    learner = load_checkpoint(root / "runs/naive/seed_0/task_2.pt")
    evaluation = root / "evaluations/naive"
    spectra = pd.read_csv(evaluation / "spectra.csv")
    energies = pd.read_csv(evaluation / "energies.csv").set_index("iteration")
    assert len(energies) == sum(len(task.held_out) for task in stream.manifest.tasks)
    for j, task in enumerate(stream.manifest.tasks):
        x = np.stack([volumes[n // 100] for n in task.held_out]).astype(float)
        y = np.stack([decode_field(learner, encode_field(learner, v, task=j)) for v in x])
        for n, before, after in zip(task.held_out, x, y, strict=True):
            found, factor = energies.loc[n], 8.8541878e-12 / 2 * 2e-6 * 1e-6 * 2e-6
            assert found["task"] == j
            assert found["field"] == pytest.approx(factor * (before**2).sum(), rel=1e-5)
            assert found["reconstruction"] == pytest.approx(factor * (after**2).sum(), rel=1e-4)
        for c, name in enumerate(stream.manifest.components):
            rows = spectra[(spectra["task"] == j) & (spectra["component"] == name)]
            np.testing.assert_allclose(
                rows["wave_number"], 2 * np.pi * np.arange(5) / 8e-6, rtol=1e-12
            )
            assert rows["field"].sum() == pytest.approx((x[:, c] ** 2).mean(), rel=1e-5)
            error = ((y[:, c] - x[:, c]) ** 2).mean()
            assert rows["error"].sum() == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("kind", ["field", "images"])
def test_reconstructions_are_in_physical_units_and_whole(kind, tools, make_run, tmp_path) -> None:
    if kind == "field":
        volumes = tools.write_fields(tmp_path / "fields")
        stream = tools.make_stream(tools.field_data(tmp_path / "fields"), tmp_path)
    else:
        stream = tools.make_stream(tools.images_data(holdout=0.97), tmp_path)
    methods = ("naive",)
    train(tmp_path, make_run, methods, seeds=(0, 1))
    evaluate(tmp_path, methods)
    originals = np.load(tmp_path / "evaluations/naive/originals.npy")
    guesses = np.load(tmp_path / "evaluations/naive/examples.npy")
    tasks = len(stream.manifest.task_names)
    assert guesses.shape == (tasks, tasks, *originals.shape[1:])
    figures = {f"reconstructions_{m}" for m in methods}
    if kind == "field":
        assert originals.shape == (3, 3, 2, 8)
        for k, task in enumerate(stream.manifest.tasks):
            volume = volumes[task.held_out[len(task.held_out) // 2] // 100]
            np.testing.assert_allclose(originals[k], volume[..., 1], rtol=1e-4, atol=1e-4)
        # The reconstruction of a whole plane is that of its chunks, back in V/m.
        check_physical_errors(tmp_path, volumes, stream)
        check_volume_tables(tmp_path, volumes, stream)
        mse = read_matrices(tmp_path, "naive", "loss_matrix.csv", "mse")[0]
        std = stream.manifest.tasks[0].normalisation.std[:, None, None]
        for k in range(3):
            error = (((guesses[k, k] - originals[k]) / std) ** 2).mean()
            assert 0.2 * mse[k, k] < error < 5 * mse[k, k]
        figures = {f"{name}_{c}" for name in figures for c in stream.manifest.components}
    else:
        # Tasks of two labels and of one: as many images as both have.
        assert originals.shape == (2, 8, 8)
        assert originals.min() >= -1e-6
        assert originals.max() <= 1 + 1e-6
    compare(methods, tmp_path, tmp_path, Tracker())
    found = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert figures <= found
    assert ({"error_spectra", "energy_errors"} <= found) == (kind == "field")
    assert "Errors: Relative L2: ‖x−x̂‖/‖x‖" in (tmp_path / "results/leaderboard.md").read_text()
    table = (tmp_path / "results/errors.md").read_text().splitlines()
    board = pd.read_csv(tmp_path / "results/leaderboard.csv")
    assert compact(board.loc[0, "relative_l2"]) == table[2].split("|")[2].strip()
    assert board.loc[0, "final_average_error"] == board.loc[0, "relative_l2"]
    assert ("ssim" in board) == (kind == "images") or board["ssim"].isna().all()
    assert all(map(is_png, (tmp_path / "figures").iterdir()))


def test_a_flow_is_judged_by_its_likelihood_and_shows_samples(tools, make_run, tmp_path) -> None:
    methods = ("naive", "joint")
    stream = tools.make_stream(tools.points_data(), tmp_path)
    call = tools.invoke(tmp_path, ["model"], "experiment=toy8_flow")
    facts = facts_of(3, stream.manifest.sample_shape, stream.manifest.condition_size)
    assert facts == {"tasks": 3, "sample_shape": [2], "condition_size": 8}
    model = call.section("model", **facts)
    model |= {"couplings": 2, "hidden_sizes": [8], "bins": 4}
    train(tmp_path, make_run, methods, seeds=(0, 1), model=model)
    summaries = evaluate(tmp_path, methods)
    assert {(s.metric, s.generative) for s in summaries.values()} == {("nll", True)}

    # The numbers are those of the library, and the samples those of the learners.
    files = ["initial.pt", *(f"task_{k}.pt" for k in range(3))]
    folder = tmp_path / "runs/naive/seed_0"
    untrained, *learners = [load_checkpoint(folder / file) for file in files]
    tasks = stream.tasks()
    matrices = loss_matrix([untrained, *learners], tasks)
    assert list(matrices) == ["nll"]
    read = read_matrices(tmp_path, "naive", "loss_matrix.csv", "nll")[0]
    np.testing.assert_array_equal(read, matrices["nll"][1:])
    works = {m: {k: summaries[m].seeds["0"].pop(k) for k in WORK} for m in methods}
    assert all(work["flops"] > 0 for work in works.values())
    assert summaries["naive"].seeds["0"] == {
        "final_average_error": metrics.final_average_error(read),
        "forgetting": metrics.forgetting(read),
        "backward_transfer": metrics.backward_transfer(read),
        "forward_transfer": metrics.forward_transfer(read, matrices["nll"][0]),
        "memory_bytes": 0,
    }
    assert summaries["joint"].seeds["0"] == {
        **dict.fromkeys([*ORDERED, "memory_bytes"]),
        "final_average_error": summaries["joint"].seeds["0"]["final_average_error"],
    }
    originals = np.load(tmp_path / "evaluations/naive/originals.npy")
    drawn = np.load(tmp_path / "evaluations/naive/examples.npy")
    scale = stream.manifest.tasks[0].normalisation  # from the first task, for all
    mean, std = torch.from_numpy(scale.mean), torch.from_numpy(scale.std)
    for j, task in enumerate(tasks):
        x, condition = (column[: len(originals[j])] for column in task.test)
        np.testing.assert_allclose(originals[j], x * std + mean, atol=1e-5)
        for k, learner in enumerate(learners):
            expected = learner.sample((condition,), generator=torch.Generator().manual_seed(0))
            np.testing.assert_allclose(drawn[j, k], expected * std + mean, rtol=1e-4, atol=1e-4)

    compare(methods, tmp_path, tmp_path, Tracker())
    found = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {f"{name}_{m}" for name in ("samples", "loss_matrix") for m in methods} <= found
    assert not any(name.startswith("reconstructions") for name in found)
    assert all(map(is_png, (tmp_path / "figures").iterdir()))


def test_colours_of_a_likelihood_end_at_the_worst_of_what_was_learned() -> None:
    matrix = np.array([[-1.0, 1e9], [5.0, -2.0]])
    assert _scale({"naive": matrix}, "nll") == {"vmin": -2.0, "vmax": 5.0, "log": False}
    assert _scale({"naive": matrix + 3}, "mse") == {"vmin": 1.0, "vmax": 1e9 + 3, "log": True}
    never_good = {"naive": matrix + 10, "ewc": matrix + 20}
    assert _scale(never_good, "nll") == {"vmin": 8.0, "vmax": 25.0, "log": False}


def test_colours_end_at_finite_values() -> None:
    matrix = np.array([[0.5, np.inf], [np.nan, 2.0]])
    assert _scale({"naive": matrix}, "mse") == {"vmin": 0.5, "vmax": 2.0, "log": True}
    assert _scale({"naive": matrix * np.nan}, "mse") == {"vmin": None, "vmax": None, "log": False}


@pytest.mark.parametrize(
    "experiment, data, in_transit, title",
    [
        ("toy8_flow", "toy8", False, "toy8_flow"),
        ("toy8", "toy8", False, "toy8"),
        ("", "toy8", False, "toy8"),
        ("toy8_flow", "toy8", True, "toy8_flow in transit"),
        ("wake_study", "my_wake", False, "wake_study (my_wake)"),
    ],
)
def test_figures_are_titled_by_the_experiment(experiment, data, in_transit, title, points) -> None:
    manifest = replace(points.manifest, name=data, in_transit=in_transit)
    one = replace(summary({"0": 1.0}), experiment=experiment)
    assert titled({"naive": one, "ewc": one}, manifest) == title
    other = replace(one, experiment="another")
    assert titled({"naive": one, "ewc": other}, manifest) == manifest.title


def test_the_experiment_that_was_chosen_travels_with_the_runs(root, tools, make_run) -> None:
    assert tools.invoke(root, ["model"]).experiment == ""
    assert tools.invoke(root, ["model"], "experiment=toy8_flow").experiment == "toy8_flow"
    train(root, make_run, ("naive",), seeds=(0,), experiment="toy8_flow")
    assert evaluate(root, ("naive",))["naive"].experiment == "toy8_flow"


def test_of_one_seed_nothing_is_said_to_differ(
    tools, make_run, tmp_path, only_shared_drawn
) -> None:
    tools.make_stream(tools.points_data(), tmp_path)
    train(tmp_path, make_run, seeds=(0,))
    evaluate(tmp_path)
    markdown = compare(METHODS, tmp_path, tmp_path, Tracker())
    assert "against" not in markdown
    assert "One seed: no spread is known" in markdown
    assert pd.read_csv(tmp_path / "results/leaderboard.csv")["verdict"].isna().all()
    said = (tmp_path / "results/differences.md").read_text()
    assert "One seed: nothing can be said about whether methods differ" in said
    assert not (tmp_path / "figures/critical_difference.png").exists()


def test_ranks_are_drawn_for_three_methods_and_two_seeds(
    tools, make_run, tmp_path, only_shared_drawn
) -> None:
    tools.make_stream(tools.points_data(), tmp_path)
    methods = ("naive", "ewc", "experience_replay", "joint")
    train(tmp_path, make_run, methods, seeds=(0, 1))
    evaluate(tmp_path, methods)
    compare(methods, tmp_path, tmp_path, Tracker())
    assert is_png(tmp_path / "figures/critical_difference.png")
    compare(methods[1:], tmp_path, tmp_path, Tracker())  # joint is not ranked
    assert not (tmp_path / "figures/critical_difference.png").exists()


def test_evaluations_of_other_data_are_not_drawn(root, tools) -> None:
    tools.make_stream(tools.points_data(tasks=2), root)
    with pytest.raises(UserError, match=r"evaluations are of other data .* run `dvc repro`"):
        compare(METHODS, root, root, Tracker())
    assert not (root / "results").exists()


def test_what_is_missing_or_damaged_is_named(tools, make_run, tmp_path) -> None:
    tools.make_stream(tools.points_data(), tmp_path)
    tasks = tmp_path / "data/tasks"
    with pytest.raises(UserError, match=r"no checkpoints of naive; run `insituml train"):
        evaluate(tmp_path, ["naive"])
    train(tmp_path, make_run, ["naive"], seeds=[0])
    call = tools.invoke(tmp_path, SECTIONS, "tracking=none", "pipeline.methods=[naive,ewc]")
    with pytest.raises(UserError, match=r"none of naive, ewc is evaluated; run `dvc repro`, or"):
        main(call)

    file = tmp_path / "runs/naive/seed_0/task_1.pt"
    whole = file.read_bytes()
    file.write_bytes(whole[:-7])
    with pytest.raises(UserError, match=r"task_1\.pt .* is damaged"):
        evaluate(tmp_path, ["naive"])
    file.unlink()
    with pytest.raises(UserError, match=r"task_1\.pt"):
        evaluate(tmp_path, ["naive"])
    file.write_bytes(whole)
    evaluate(tmp_path, ["naive"])

    info = json.loads((tasks / "stream.json").read_text())
    (tasks / "stream.json").write_text(json.dumps({**info, "fingerprint": "f" * 64}))
    with pytest.raises(UserError, match=r"trained on other data .* \(ffffffffffff\); train again"):
        evaluate(tmp_path, ["naive"])


def test_plot_draws_what_is_there_and_says_what_is_not(root, tools, capsys, request) -> None:
    chosen = "pipeline.methods=[naive,ewc,joint,agem]"
    main(tools.invoke(root, SECTIONS, "tracking=none", chosen))
    said = capsys.readouterr().out
    assert "| naive |" in said
    (line,) = [line for line in said.splitlines() if "left out" in line]
    assert line.startswith("plot: not evaluated, and left out: ewc, agem; `dvc repro` makes them")
    assert "`insituml train method=ewc`" in line
    board = pd.read_csv(root / "results/leaderboard.csv")
    assert set(board["method"]) == {"naive", "joint"}
    assert is_png(root / "figures/loss_matrix_joint.png")  # by a process of its own
    request.getfixturevalue("nothing_drawn")
    main(tools.invoke(root, SECTIONS, "tracking=none", "pipeline.methods=[naive,joint]"))
    assert "left out" not in capsys.readouterr().out


def test_a_new_metric_is_a_row_of_the_table(root, monkeypatch, only_shared_drawn) -> None:
    """One place: it is then in every summary, table, figure and tracking store."""
    added = metrics.Metric(
        "worst_error",
        "worst error",
        of_run=lambda run: float(run.matrix[-1].max()),
    )
    monkeypatch.setattr("insituml.metrics.METRICS", (*metrics.METRICS, added))
    with pytest.raises(UserError, match=r"another version .* worst_error\); run .*method=naive"):
        read_summaries(root, METHODS)
    evaluate(root)
    worst = read_matrices(root, "naive", "loss_matrix.csv", "mse")[:, -1].max(axis=1)
    summary = read_summary(root / "evaluations/naive")
    assert [summary.seeds[str(seed)]["worst_error"] for seed in sorted(SEEDS)] == list(worst)
    heard: dict[str, float] = {}
    drawn: list[Any] = []

    class Listener(Tracker):
        def compared(self, identity, numbers, folder) -> None:
            heard.update(numbers)

    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.append(figure))
    markdown = compare(METHODS, root, root, Listener())
    board = pd.read_csv(root / "results/leaderboard.csv").set_index("method")
    assert board.loc["naive", "worst_error"] == pytest.approx(worst.mean())
    assert board.loc["naive", "worst_error_std"] == pytest.approx(worst.std(ddof=1))
    assert markdown.splitlines()[0].endswith("| worst error | against experience replay |")
    best = json.loads((root / "results/metrics.json").read_text())["best"]
    assert best["worst_error"] == board.loc["experience_replay", "worst_error"]
    assert heard["worst_error.naive"] == board.loc["naive", "worst_error"]
    titles = [[axes.get_title() for axes in figure.axes] for figure in drawn]
    shown = ["final average error", "forgetting", "gap closed (to joint)", "memory", "worst error"]
    assert shown in titles


def test_drifts_of_one_comparison_share_their_colours(root, monkeypatch) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.update({path.stem: figure}))
    compare(METHODS, root, root, Tracker())
    names = ["latent_drift_naive", "latent_drift_experience_replay"]
    scales = {drawn[name].axes[0].images[0].get_clim() for name in names}
    means = [
        read_matrices(root, m, "latent_drift.csv", "latent_drift").mean(axis=0)
        for m in ("naive", "experience_replay")
    ]
    assert scales == {(0.0, np.nanmax(means))}
    # Joint's rows are parts of its training: a level, but no curve.
    labels = [text.get_text() for text in drawn["first_task_error"].axes[0].texts]
    (level,) = [
        line for line in drawn["first_task_error"].axes[0].lines if line.get_label() == "joint"
    ]
    assert "joint" in labels
    assert len(set(level.get_ydata())) == 1
    assert drawn["first_task_error"].axes[0].get_ylabel().startswith("normalised MSE")
    titles = [axes.get_title() for axes in drawn["loss_matrices"].axes]
    assert "joint, by parts" in titles

    def said(name: str) -> str:
        return " ".join(reversed([text.get_text() for text in drawn[name].texts]))

    # What is averaged, what 1 is, and that scales are shared, stands on the figures.
    unit = "Normalised: 1 is the variance of the first task's data."
    for name in ("loss_matrix_naive", "loss_matrices", "leaderboard"):
        assert unit in said(name)
        assert "3 seeds" in said(name)
    for name in ("latent_drift_naive", "loss_matrix_joint"):
        assert "All methods' figures share one colour scale." in said(name)
    # Joint's training is there, and said to have another order; its matrix has no diagonal.
    assert {line.get_label() for line in drawn["training_loss"].axes[0].lines} >= {"joint", "naive"}
    assert "Seed 0 alone" in said("training_loss")
    assert "On all tasks at once, not in the order shown: joint." in said("training_loss")
    assert "Outlined" not in said("loss_matrix_joint")
    assert "Outlined" not in said("reconstructions_joint")


def test_a_method_that_takes_more_steps_is_left_out_of_the_training_loss(
    tools, make_run, tmp_path, monkeypatch
) -> None:
    """Its tasks begin elsewhere."""
    tools.make_stream(tools.points_data(), tmp_path)
    methods = ("cumulative", "naive")
    train(tmp_path, make_run, ("naive",), seeds=(0,))
    repeats = {"_target_": "insituml.methods.Cumulative"}
    named = {"method_name": "cumulative", "method": repeats}
    train(tmp_path, make_run, ("naive",), seeds=(0,), **named)
    evaluate(tmp_path, methods)
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(plots, "save", lambda figure, path: drawn.update({path.stem: figure}))
    compare(methods, tmp_path, tmp_path, Tracker())
    assert [t.get_text() for t in drawn["training_loss"].axes[0].texts][-1] == "naive"
    assert len(drawn["training_loss"].axes[0].lines) == 1
    said = " ".join(reversed([text.get_text() for text in drawn["training_loss"].texts]))
    assert "Left out, as they take other steps: cumulative." in said
    board = pd.read_csv(tmp_path / "results/leaderboard.csv").set_index("method")
    assert list(board.loc["cumulative", ["is_bound", "keeps_all_data"]]) == [True, True]
    assert not np.isnan(board.loc["cumulative", "forgetting"])


def summary(errors: dict[str, float], sequential: bool = True, **identity: Any) -> Summary:
    same = {
        "method_name": "any",
        "seed": 0,
        "method": {},
        "data": "d",
        "model": {"latent_size": 2},
        "optimizer": {"lr": 0.1},
        "training": {},
        "code": "c",
        "versions": {},
    }
    numbers = dict.fromkeys(ORDERED, 0.25 if sequential else None)
    return Summary(
        method="any",
        metric="mse",
        generative=False,
        sequential=sequential,
        keeps_all_data=not sequential,
        is_bound=not sequential,
        task_steps=[1, 2],
        identity=Identity(**{**same, **identity}),
        mean={},
        seeds={
            seed: {
                "final_average_error": error,
                **numbers,
                **dict.fromkeys(WORK, 7),
                "memory_bytes": 5,
            }
            for seed, error in errors.items()
        },
        files={},
    )


def write(root: Path, summaries: dict[str, Any]) -> None:
    for method, content in summaries.items():
        folder = root / "evaluations" / method
        folder.mkdir(parents=True)
        content.write(folder)


@pytest.mark.parametrize(
    "key, value", [("training", {"epochs": 2}), ("model", {}), ("optimizer", {}), ("data", "e")]
)
def test_methods_trained_in_different_ways_are_not_compared(key, value, tmp_path) -> None:
    write(tmp_path, {"naive": summary({"0": 1.0}), "ewc": summary({"0": 1.0}, **{key: value})})
    with pytest.raises(UserError, match=f"ewc was trained with another {key} than naive"):
        read_summaries(tmp_path, ["naive", "ewc"])


def board_of(summaries: dict[str, Summary]) -> pd.DataFrame:
    return leaderboard(summaries).set_index("method")


def test_gaps_are_closed_seed_by_seed() -> None:
    board = board_of(
        {
            "naive": summary({"0": 1.0, "1": 3.0}),
            "ewc": summary({"0": 0.5, "1": 2.5}),
            "joint": summary({"0": 0.0, "1": 1.0}, sequential=False),
        }
    )
    assert board.loc["ewc", "gap_closed"] == pytest.approx((0.5 + 0.25) / 2)
    assert board.loc["ewc", "gap_closed_std"] == pytest.approx(np.std([0.5, 0.25], ddof=1))
    assert list(board.index) == ["joint", "ewc", "naive"]


def test_one_seed_has_no_spread_and_a_lone_method_no_gap() -> None:
    board = board_of({"ewc": summary({"0": 0.5}), "naive": summary({"0": 1.0})})
    assert board["gap_closed"].isna().all()
    assert board["final_average_error_std"].isna().all()
    assert board.loc["ewc", "final_average_error"] == 0.5


def test_methods_with_other_seeds_are_not_compared(tmp_path) -> None:
    write(tmp_path, {"naive": summary({"0": 1.0, "1": 2.0}), "ewc": summary({"0": 1.0})})
    with pytest.raises(UserError, match="ewc was trained with another set of seeds than naive"):
        read_summaries(tmp_path, ["naive", "ewc"])


def test_a_summary_of_another_version_is_named(tmp_path) -> None:
    write(tmp_path, {"naive": summary({"0": 1.0})})
    assert read_summary(tmp_path / "evaluations/naive") == summary({"0": 1.0})
    file = tmp_path / "evaluations/naive/summary.json"
    content = json.loads(file.read_text())
    del content["is_bound"]
    file.write_text(json.dumps({**content, "memory_bytes": 5}))
    with pytest.raises(
        UserError, match=r"another version .* is_bound, memory_bytes\); run `insituml evaluate"
    ):
        read_summary(file.parent)
