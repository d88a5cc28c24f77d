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


def test_bands_are_one_standard_deviation() -> None:
    axes = plots.forgetting_curves(MATRICES).axes[0]
    vertices = axes.collections[0].get_paths()[0].vertices
    column = MATRICES["naive"][:, :, 0]
    mean, spread = column.mean(axis=0), column.std(axis=0, ddof=1)
    assert vertices[:, 1].min() == pytest.approx((mean - spread).min())
    assert vertices[:, 1].max() == pytest.approx((mean + spread).max())


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
    assert axes.get_ylabel() == "MSE on\nthe first task (a)"
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


def said(figure) -> str:
    return " ".join(reversed([text.get_text() for text in figure.texts]))


@pytest.mark.parametrize("draw", [plots.forgetting_curves, plots.first_task_error])
def test_the_spread_is_explained(draw) -> None:
    assert "Lines are means over 3 seeds, bands ± one standard deviation." in said(draw(MATRICES))
    one = {name: matrix[:1] for name, matrix in MATRICES.items()}
    assert "One seed: there is no spread to show." in said(draw(one))
    mixed = {**one, "naive": MATRICES["naive"]}
    assert "over 1 to 3 seeds" in said(draw(mixed))


def test_of_many_methods_no_band_is_drawn_and_this_is_said() -> None:
    many = {f"method_{k}": MATRICES["naive"] for k in range(11)}
    figure = plots.first_task_error(many)
    assert not figure.axes[0].collections
    assert "of so many methods no spread is drawn" in said(figure)


@pytest.mark.parametrize("draw", [plots.forgetting_curves, plots.first_task_error])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_diverged_is_said(draw, value) -> None:
    broken = {**MATRICES, "ewc": np.full((3, 4, 4), value), "agem": MATRICES["agem"].copy()}
    broken["agem"][1] = value
    words = said(draw(broken))
    assert "EWC has no finite value." in words
    assert "A-GEM is not finite in 1 of 3 seeds: left out of its mean." in words
    assert "naive" not in words
    alone = draw({"ewc": np.full((3, 4, 4), value)})
    assert "no finite value" in [text.get_text() for axes in alone.axes for text in axes.texts]


def test_a_level_is_said_to_be_one() -> None:
    joint = np.full((3, 4, 4), np.nan)
    joint[:, -1] = 0.2
    words = said(plots.first_task_error({**MATRICES, "joint": joint}))
    assert "Measured once, at the end, and drawn as a level: joint." in words
    assert "finite" not in words


def test_of_many_tasks_ten_are_drawn() -> None:
    figure = plots.forgetting_curves({"ewc": RNG.uniform(1, 2, size=(2, 30, 30))})
    assert len(figure.axes[0].lines) == len(figure.legends[0].get_texts()) == 10
    assert "10 of 30 tasks are drawn." in said(figure)


def test_one_task_is_a_point() -> None:
    figure = plots.forgetting_curves({"ewc": np.ones((2, 1, 1))})
    assert "There is one task: nothing could be forgotten." in said(figure)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0"]


@pytest.mark.parametrize("draw", [plots.forgetting_curves, plots.first_task_error])
def test_wrong_shapes(draw: object) -> None:
    with pytest.raises(ValueError, match=r"'ewc'.*\(seeds, K, K\), got \(3, 4, 5\)"):
        draw({"ewc": np.zeros((3, 4, 5))})  # type: ignore[operator]
    with pytest.raises(ValueError, match="task_names must hold 4 names"):
        draw(MATRICES, task_names=["a"])  # type: ignore[operator]
