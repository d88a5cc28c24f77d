import numpy as np
import pytest
from matplotlib.colors import same_color

from insituml import plots

RNG = np.random.default_rng(0)
MATRICES = {name: RNG.uniform(0.1, 1, size=(3, 4, 4)) for name in ("naive", "ewc", "agem")}


def test_lines_are_the_means_from_when_a_task_was_learned() -> None:
    figure = plots.forgetting_curves(MATRICES)
    for axes, matrix in zip(figure.axes, MATRICES.values(), strict=True):
        assert len(axes.lines) == 4
        for task, line in enumerate(axes.lines):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(task, 4))
            np.testing.assert_allclose(line.get_ydata(), matrix[:, task:, task].mean(axis=0))


def test_bands_span_the_seeds() -> None:
    axes = plots.forgetting_curves(MATRICES).axes[0]
    vertices = axes.collections[0].get_paths()[0].vertices
    column = MATRICES["naive"][:, :, 0]
    assert vertices[:, 1].min() == pytest.approx(column.min(axis=0).min())
    assert vertices[:, 1].max() == pytest.approx(column.max(axis=0).max())


def test_panels_share_axes_and_are_named() -> None:
    figure = plots.forgetting_curves(
        MATRICES, task_names=["a", "b", "c", "d"], metric_label="MSE", title="all"
    )
    assert [axes.get_title() for axes in figure.axes] == ["naive", "EWC", "A-GEM"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert figure.get_supxlabel() == "trained through task"
    assert figure.get_supylabel() == "MSE"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["0: a", "1: b", "2: c", "3: d"]


def test_every_panel_column_has_numbers_below() -> None:
    matrices = {f"method_{index}": MATRICES["naive"] for index in range(5)}  # 3 + 2 panels
    figure = plots.forgetting_curves(matrices)
    shown = [axes.xaxis.get_tick_params()["labelbottom"] for axes in figure.axes]
    assert shown == [False, False, True, True, True]


def test_first_task_lines_are_the_means() -> None:
    axes = plots.first_task_error(MATRICES).axes[0]
    for line, (name, matrix) in zip(axes.lines, MATRICES.items(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), matrix[:, :, 0].mean(axis=0))
        assert same_color(line.get_color(), plots.method_styles([name])[name].color)
    assert [text.get_text() for text in axes.texts] == ["naive", "EWC", "A-GEM"]


def test_first_task_axes_are_labelled() -> None:
    axes = plots.first_task_error(
        MATRICES, task_names=["a", "b", "c", "d"], metric_label="MSE", log=True
    ).axes[0]
    assert axes.get_xlabel() == "trained through task"
    assert axes.get_ylabel() == "MSE on the first task (a)"
    assert axes.get_yscale() == "log"


def test_logarithmic_axes_have_plain_numbers() -> None:
    narrow = {"ewc": np.linspace(0.2, 0.9, 16).reshape(1, 4, 4)}
    for figure in (
        plots.first_task_error(narrow, log=True),
        plots.forgetting_curves(narrow, log=True),
    ):
        axis = figure.axes[0].yaxis
        texts = [label.get_text() for label in axis.get_ticklabels(which="both")]
        assert "0.4" in texts
        assert not any("10" in text for text in texts)


def test_a_method_measured_once_is_a_level() -> None:
    joint = np.full((3, 4, 4), np.nan)
    joint[:, -1] = 0.2
    axes = plots.first_task_error({**MATRICES, "joint": joint}).axes[0]
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), [0.2] * 4)


def test_labels_stand_in_the_order_of_the_ends() -> None:
    matrices = {f"method_{index}": np.full((1, 2, 2), 0.5 + 1e-4 * index) for index in range(12)}
    texts = plots.first_task_error(matrices).axes[0].texts
    heights = [text.get_position()[1] for text in texts]
    assert np.diff(heights).min() > 0.02


@pytest.mark.parametrize("draw", [plots.forgetting_curves, plots.first_task_error])
def test_wrong_shapes(draw: object) -> None:
    with pytest.raises(ValueError, match=r"'ewc'.*\(seeds, K, K\), got \(3, 4, 5\)"):
        draw({"ewc": np.zeros((3, 4, 5))})  # type: ignore[operator]
    with pytest.raises(ValueError, match="task_names must hold 4 names"):
        draw(MATRICES, task_names=["a"])  # type: ignore[operator]
