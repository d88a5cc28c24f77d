import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from insituml import plots

MATRIX = np.array([[0.1, 0.8, 0.9], [0.4, 0.1234, 0.7], [5e-5, 0.2, 0.15]])


def cell_texts(axes: object) -> dict[tuple[int, int], str]:
    return {
        (int(text.get_position()[1]), int(text.get_position()[0])): text.get_text()
        for text in axes.texts  # type: ignore[attr-defined]
    }


def outlines(figure: Figure) -> list[tuple[float, float]]:
    return [
        (patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2)
        for patch in figure.axes[0].patches
        if isinstance(patch, Rectangle) and not patch.get_fill()
    ]


def hatched(figure: Figure) -> list[tuple[float, float]]:
    return [
        (patch.get_y() + 0.5, patch.get_x() + 0.5)
        for patch in figure.axes[0].patches
        if isinstance(patch, Rectangle) and patch.get_hatch()
    ]


def test_cells_show_the_values() -> None:
    texts = cell_texts(plots.loss_matrix_heatmap(MATRIX).axes[0])
    assert len(texts) == MATRIX.size
    for place, text in texts.items():
        assert float(text) == pytest.approx(MATRIX[place], rel=5e-3)


def test_labels_and_title() -> None:
    figure = plots.loss_matrix_heatmap(
        MATRIX,
        task_names=["a", "b", "c"],
        title="EWC",
        metric_label="MSE [V²/m²]",
    )
    axes, bar = figure.axes
    assert axes.get_xlabel() == "evaluated on task"
    assert axes.get_ylabel() == "trained through task"
    assert bar.get_ylabel() == "MSE [V²/m²]"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert figure.get_suptitle() == "EWC"


def test_the_diagonal_is_outlined() -> None:
    centres = outlines(plots.loss_matrix_heatmap(MATRIX))
    np.testing.assert_allclose(centres, [(0, 0), (1, 1), (2, 2)], atol=1e-12)


def test_what_is_not_learned_in_order_has_parts_and_no_diagonal() -> None:
    names = ["a", "b", "c"]
    figure = plots.loss_matrix_heatmap(MATRIX, task_names=names, in_order=False)
    parts = ["part 1 of 3", "part 2 of 3", "part 3 of 3"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == parts
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == names
    assert figure.axes[0].get_ylabel() == "training on all tasks, up to"
    assert outlines(figure) == []

    # In a grid it comes last: what stands to the left of a line is true of all its panels.
    both = {"joint": MATRIX, "ewc": 2 * MATRIX}
    figure = plots.loss_matrix_grid(both, task_names=names, unordered=["joint"])
    assert [axes.get_title() for axes in figure.axes[:2]] == ["EWC", "joint, by parts"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == names
    assert [len(axes.patches) for axes in figure.axes[:2]] == [3, 0]
    short = ["1/3", "2/3", "3/3"]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == short
    said = " ".join(text.get_text() for text in figure.texts)
    assert "Rows 1/3 to 3/3 are parts of the training on all tasks at once." in said
    figure = plots.loss_matrix_grid({"joint": MATRIX}, unordered=["joint"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == short
    assert figure.get_supylabel() == "part of the training"


def test_missing_cells_are_hatched_and_dashed() -> None:
    matrix = MATRIX.copy()
    matrix[0, 1:] = np.nan
    figure = plots.loss_matrix_heatmap(matrix)
    assert hatched(figure) == [(0, 1), (0, 2)]
    texts = cell_texts(figure.axes[0])
    assert texts[0, 1] == texts[0, 2] == "–"
    assert "nan" not in "".join(texts.values())


def test_diverged_cells_are_said() -> None:
    matrix = MATRIX.copy()
    matrix[2, 0] = np.inf
    for figure in (
        plots.loss_matrix_heatmap(matrix, log=True),
        plots.loss_matrix_grid({"ewc": matrix}),
    ):
        assert cell_texts(figure.axes[0])[2, 0] == "∞"
        assert "∞: not finite" in " ".join(text.get_text() for text in figure.texts)
        low, high = figure.axes[0].images[0].get_clim()
        assert np.isfinite([low, high]).all()


def test_the_colour_scale_is_the_one_handed_in() -> None:
    figure = plots.loss_matrix_heatmap(MATRIX, vmin=0.0, vmax=2.0)
    assert figure.axes[0].images[0].get_clim() == (0.0, 2.0)


def test_without_scale_the_ends_are_those_of_the_matrix() -> None:
    figure = plots.loss_matrix_heatmap(MATRIX)
    assert figure.axes[0].images[0].get_clim() == (MATRIX.min(), MATRIX.max())


def test_values_that_are_not_positive_on_a_logarithmic_scale() -> None:
    matrix = MATRIX.copy()
    matrix[1, 1] = 0.0
    figure = plots.loss_matrix_heatmap(matrix, log=True)
    image = figure.axes[0].images[0]
    assert isinstance(image.norm, LogNorm)
    assert image.norm.vmin == 5e-5  # the smallest positive value
    assert not np.ma.getmaskarray(image.get_array()).any()
    assert cell_texts(figure.axes[0])[1, 1] == "0"


@pytest.mark.parametrize("matrix", [np.full((2, 2), np.nan), np.zeros((2, 2)), np.ones((1, 1))])
@pytest.mark.parametrize("log", [False, True])
def test_matrices_without_a_range(matrix: np.ndarray, log: bool) -> None:
    low, high = plots.loss_matrix_heatmap(matrix, log=log).axes[0].images[0].get_clim()
    assert low < high


def test_numbers_contrast_with_their_cells() -> None:
    axes = plots.loss_matrix_heatmap(np.array([[0.0, 1.0], [1.0, 0.0]])).axes[0]
    colors = {place.get_text(): place.get_color() for place in axes.texts}
    assert colors == {"0": "white", "1.00": "black"}


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 3), (0, 0)])
def test_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"matrix must have shape \(K, K\), got \("):
        plots.loss_matrix_heatmap(np.zeros(shape))


def test_wrong_names() -> None:
    with pytest.raises(ValueError, match="task_names must hold 3 names, got 2"):
        plots.loss_matrix_heatmap(MATRIX, task_names=["a", "b"])


def test_impossible_scales() -> None:
    with pytest.raises(ValueError, match="vmin <= vmax, got vmin=2, vmax=1"):
        plots.loss_matrix_heatmap(MATRIX, vmin=2, vmax=1)
    with pytest.raises(ValueError, match="0 < vmin"):
        plots.loss_matrix_heatmap(MATRIX, vmin=0, log=True)


def test_grid_shares_one_scale_and_one_bar() -> None:
    matrices = {"naive": MATRIX, "ewc": 2 * MATRIX, "agem": MATRIX / 2, "other_one": MATRIX}
    figure = plots.loss_matrix_grid(matrices, metric_label="MSE")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["naive", "EWC", "A-GEM", "other one"]
    expected = (MATRIX.min() / 2, 2 * MATRIX.max())
    assert {axes.images[0].get_clim() for axes in panels} == {expected}
    assert len(figure.axes) == len(panels) + 1
    assert figure.axes[-1].get_ylabel() == "MSE"
    assert figure.get_supxlabel() == "evaluated on task"
    assert figure.get_supylabel() == "trained through task"


def test_grid_shows_each_methods_values() -> None:
    matrices = {"naive": MATRIX, "ewc": 2 * MATRIX}
    figure = plots.loss_matrix_grid(matrices)
    for axes, matrix in zip(figure.axes, matrices.values(), strict=False):
        texts = cell_texts(axes)
        assert len(texts) == matrix.size
        for place, text in texts.items():
            assert float(text) == pytest.approx(matrix[place], rel=0.05)


def test_latent_drift_is_drawn_like_a_loss_matrix() -> None:
    drift = np.array([[0, np.nan], [0.25, 0]])
    figure = plots.latent_drift_heatmap(drift, metric_label="drift")
    assert figure.axes[0].get_xlabel() == "latents of task"
    assert figure.axes[0].images[0].get_clim() == (0, 0.25)
    assert cell_texts(figure.axes[0]) == {(0, 0): "0", (0, 1): "–", (1, 0): "0.250", (1, 1): "0"}
    with pytest.raises(ValueError, match=r"drift must have shape \(K, K\), got \(2, 3\)"):
        plots.latent_drift_heatmap(np.zeros((2, 3)))
