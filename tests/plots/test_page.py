"""What holds for every figure: it fits a page, its text can be read, nothing is empty or cut."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from insituml import plots

NAMES = ["naive", "ewc", "online_ewc_agem_layerwise_lwf", "experience_replay", "joint"]
RNG = np.random.default_rng(0)
A4 = (8.27, 11.69)


def matrices(methods: int, tasks: int, seeds: int) -> dict[str, np.ndarray]:
    names = [*NAMES, *(f"some_rather_long_method_{k}" for k in range(20))][:methods]
    return {name: RNG.uniform(0.1, 1, size=(seeds, tasks, tasks)) for name in names}


def rows(found: dict[str, np.ndarray]) -> list[dict[str, object]]:
    return [
        {
            "method": name,
            "is_bound": name == "joint",
            "seeds": len(values),
            "final_average_error": values[:, -1].mean(),
            "final_average_error_std": 0.1 if len(values) > 1 else None,
            "forgetting": None if name == "joint" else 0.3,
            "forgetting_std": None,
            "gap_closed": -3.0,
            "gap_closed_std": None,
            "memory_bytes": 12345,
            "flops": 1e12,
            "samples_seen": 640,
            "samples_replayed": 320,
        }
        for name, values in found.items()
    ]


def grid(found: dict[str, np.ndarray], names: list[str]) -> Figure:
    tasks = len(names)
    fields = RNG.normal(size=(tasks, 6, 24))
    guesses = np.stack([0.9 * fields] * tasks, axis=1)
    return plots.reconstruction_grid(
        fields, guesses, row_labels=names, learned_at=range(tasks), unit="V/m", title="a" * 90
    )


def lines(found: dict[str, np.ndarray], names: list[str]) -> Figure:
    fields = RNG.normal(size=(len(names), 24))
    guesses = np.stack([0.9 * fields] * len(names), axis=1)
    return plots.reconstruction_lines(fields, guesses, row_labels=names, title="lines")


def clouds(found: dict[str, np.ndarray], names: list[str]) -> Figure:
    points = RNG.normal(size=(len(names), 24, 2))
    guesses = np.stack([points] * len(names), axis=1)
    return plots.point_clouds(points, guesses, row_labels=names, title="points")


def spectra(found: dict[str, np.ndarray], names: list[str]) -> Figure:
    fields = RNG.uniform(1e18, 1e20, size=(min(len(names), 2), 3, 9))
    return plots.error_spectra(
        1e6 * np.arange(9),
        fields,
        dict.fromkeys(found, 0.1 * fields),
        components=["Ex", "Ey", "Ez"],
        units=["V/m"] * 3,
        task_names=names[:2],
        title="spectra",
    )


def energies(found: dict[str, np.ndarray], names: list[str]) -> Figure:
    when = np.arange(2 * len(names))
    return plots.energy_errors(
        when,
        1.0 + when,
        {method: RNG.uniform(1, 2, size=len(when)) for method in found},
        tasks=np.repeat(np.arange(len(names)), 2).tolist(),
        task_names=names,
        title="energies",
    )


DRAWN: dict[str, Callable[[dict[str, np.ndarray], list[str]], Figure]] = {
    "leaderboard": lambda found, names: plots.leaderboard_figure(rows(found), title="board"),
    "loss_matrices": lambda found, names: plots.loss_matrix_grid(
        {m: r.mean(axis=0) for m, r in found.items()},
        task_names=names,
        title="all",
        unordered=["joint"],
        log=True,
    ),
    "loss_matrix": lambda found, names: plots.loss_matrix_heatmap(
        found["naive"].mean(axis=0), task_names=names, title="one", notes=["One seed."]
    ),
    "latent_drift": lambda found, names: plots.latent_drift_heatmap(
        found["naive"].mean(axis=0), task_names=names
    ),
    "forgetting": lambda found, names: plots.forgetting_curves(found, task_names=names, log=True),
    "first_task": lambda found, names: plots.first_task_error(found, task_names=names, log=True),
    "training": lambda found, names: plots.loss_history(
        {m: RNG.uniform(1, 2, size=(1, 10 * len(names))) for m in found},
        task_boundaries=range(10, 10 * len(names), 10),
        task_names=names,
        title="loss",
    ),
    "reconstructions": grid,
    "lines": lines,
    "points": clouds,
    "spectra": spectra,
    "energies": energies,
}


CASES = [
    *((name, 1, 1, 1) for name in DRAWN),
    *((name, 5, 5, 3) for name in DRAWN),
    *((name, 20, 30, 1) for name in ("leaderboard", "loss_matrices", "forgetting", "training")),
    *((name, 20, 30, 1) for name in ("spectra", "energies")),
]


def written(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return what stands outside of the panels, and where."""
    texts = [*figure.texts, *(t for legend in figure.legends for t in legend.get_texts())]
    return [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text().strip()]


@pytest.mark.parametrize("name, methods, tasks, seeds", CASES)
def test_every_figure_fits_a_page_and_can_be_read(name, methods, tasks, seeds) -> None:
    names = [f"iterations {1000 * k}–{1000 * k + 900}" for k in range(tasks)]
    figure = DRAWN[name](matrices(methods, tasks, seeds), names)
    width, height = figure.get_size_inches()
    assert width <= A4[0]
    assert height <= A4[1]
    figure.draw_without_rendering()
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            assert text.get_fontsize() >= 7, text.get_text()
    page, boxes = figure.bbox, written(figure)
    for place, (words, box) in enumerate(boxes):
        assert box.x0 >= -1, words
        assert box.x1 <= page.x1 + 1, words
        assert box.y0 >= -1, words
        assert box.y1 <= page.y1 + 1, words
        for other, beside in boxes[place + 1 :]:
            apart_x = max(box.x0, beside.x0) >= min(box.x1, beside.x1) - 1
            apart_y = max(box.y0, beside.y0) >= min(box.y1, beside.y1) - 1
            assert apart_x or apart_y, (words, other)
    for axes in figure.axes:
        assert axes.has_data() or axes.texts or axes.get_label() == "<colorbar>", "an empty panel"
