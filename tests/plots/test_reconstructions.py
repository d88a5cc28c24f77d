import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insituml import plots

RNG = np.random.default_rng(0)
FIELDS = RNG.normal(size=(2, 4, 32)) * np.array([1.0, 100.0])[:, None, None]
GUESSES = np.stack([FIELDS, 0.5 * FIELDS, 0 * FIELDS], axis=1)


def panels(figure: Figure, columns: int = 4) -> np.ndarray:
    axes = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    return np.array(axes, dtype=object).reshape(-1, columns)


def dashed(axes: Axes) -> bool:
    return axes.spines["left"].get_linestyle() != "solid"


def test_panels_show_the_fields() -> None:
    grid = panels(plots.reconstruction_grid(FIELDS, GUESSES))
    for row in range(2):
        shown = [axes.images[0].get_array() for axes in grid[row]]
        np.testing.assert_allclose(shown[0], FIELDS[row])
        np.testing.assert_allclose(shown[1:], GUESSES[row])


def test_each_row_has_one_scale_symmetric_around_zero() -> None:
    grid = panels(plots.reconstruction_grid(FIELDS, GUESSES))
    for row in range(2):
        limits = {axes.images[0].get_clim() for axes in grid[row]}
        assert len(limits) == 1
        low, high = limits.pop()
        assert low == -high
        assert high == pytest.approx(np.percentile(np.abs(FIELDS[row]), 99.5))
    assert grid[0, 0].images[0].get_clim() != grid[1, 0].images[0].get_clim()


def test_one_hot_point_or_a_blow_up_does_not_change_the_scale() -> None:
    guesses = GUESSES.copy()
    guesses[:, 2] = 1e9
    before = panels(plots.reconstruction_grid(FIELDS, GUESSES))[0, 0].images[0].get_clim()
    after = panels(plots.reconstruction_grid(FIELDS, guesses))[0, 0].images[0].get_clim()
    assert before == after


def test_an_empty_field_still_has_a_scale() -> None:
    figure = plots.reconstruction_grid(np.zeros((1, 2, 4)), np.zeros((1, 1, 2, 4)))
    low, high = panels(figure, 2)[0, 0].images[0].get_clim()
    assert low < 0 < high


def test_axes_are_physical_and_powers_of_ten_join_the_unit() -> None:
    figure = plots.reconstruction_grid(
        1e12 * FIELDS[:1],
        1e12 * GUESSES[:1],
        row_labels=["iterations 0-9"],
        extent=(0, 60, -4, 4),
        axis_labels=("z", "r"),
        unit="V/m",
        component="$E_x$",
        title="field",
    )
    grid = panels(figure)
    assert figure.get_supxlabel() == "z [µm]"
    assert figure.get_supylabel() == "r [µm]"
    assert grid[0, 0].get_xlim() == (0, 60)
    assert grid[0, 0].get_ylim() == (-4, 4)
    assert grid[0, 0].get_ylabel() == "iterations 0-9"
    assert "$E_x$\n[$10^{12}$ V/m]" in [text.get_text() for text in figure.texts]
    assert grid[0, 0].images[0].get_clim()[1] < 10  # in units of that power


def test_each_row_has_its_own_extent() -> None:
    boxes = np.array([(0, 60, -4, 4), (30, 90, -4, 4)])
    grid = panels(plots.reconstruction_grid(FIELDS, GUESSES, extent=boxes))
    for row, box in zip(grid, boxes, strict=True):
        for axes in row:
            assert (*axes.get_xlim(), *axes.get_ylim()) == tuple(box)
            assert axes.get_xticks().size  # of its own
    with pytest.raises(ValueError, match=r"each of 2 rows, got an array of shape \(3, 4\)"):
        plots.reconstruction_grid(FIELDS, GUESSES, extent=[*boxes, boxes[0]])


def test_rows_of_one_extent_share_the_numbers_below() -> None:
    alike = [(0, 60, -4, 4), (0.1, 60.1, -4, 4)]  # less than a pixel apart
    for extent in (None, (0, 60, -4, 4), alike):
        grid = panels(plots.reconstruction_grid(FIELDS, GUESSES, extent=extent))
        assert not any(axes.get_xticks().size for axes in grid[0])
        assert all(axes.get_xticks().size for axes in grid[1])


def test_columns_are_named() -> None:
    grid = panels(plots.reconstruction_grid(FIELDS, GUESSES))
    titles = [axes.get_title().replace("\n", " ") for axes in grid[0]]
    assert titles == ["original", "after task 0", "after task 1", "after task 2"]


def test_tasks_not_yet_seen_are_framed() -> None:
    figure = plots.reconstruction_grid(FIELDS, GUESSES, learned_at=[0, 2])
    marks = [[dashed(axes) for axes in row] for row in panels(figure)]
    assert marks == [[False] * 4, [False, True, True, False]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "row's task not yet seen"
    ]


def test_without_order_nothing_is_framed() -> None:
    figure = plots.reconstruction_grid(FIELDS, GUESSES)
    assert not figure.legends
    assert not any(dashed(axes) for axes in panels(figure).ravel())


@pytest.mark.parametrize("title", ["", "field"])
@pytest.mark.parametrize("extent", [None, [(0, 60, -4, 4), (30, 90, -4, 4)]])
def test_labels_stay_inside_the_figure(title: str, extent: list[tuple[float, ...]] | None) -> None:
    labels = ["iterations 100-199\niteration 150, 1234 fs"] * 2
    figure = plots.reconstruction_grid(
        FIELDS, GUESSES, row_labels=labels, unit="V/m", title=title, extent=extent
    )
    figure.draw_without_rendering()
    for artist in [*figure.texts, *(axes.yaxis.label for axes in panels(figure)[:, 0])]:
        box = artist.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1


def test_images_share_the_scale_of_the_originals() -> None:
    digits = RNG.uniform(0, 1, size=(2, 8, 8))
    guesses = np.stack([digits, 3 * digits], axis=1)
    figure = plots.image_grid(digits, guesses, row_labels=["0, 1", "2, 3"], learned_at=[0, 1])
    grid = panels(figure, 3)
    assert {axes.images[0].get_clim() for axes in grid.ravel()} == {(digits.min(), digits.max())}
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["0, 1", "2, 3"]
    assert dashed(grid[1, 1])
    assert not grid[0, 0].get_xticks().size


def test_images_in_colour_are_cut_off_where_colours_end() -> None:
    images = RNG.uniform(0, 1, size=(2, 4, 6, 3))
    images[:, 2] = np.nan  # a gap between images
    guesses = np.stack([images, images - 0.4, 2 * images], axis=1)
    grid = panels(plots.image_grid(images, guesses))
    for row in range(2):
        shown = np.array([axes.images[0].get_array() for axes in grid[row]])
        assert (shown[:, 2] == 1).all()
        rest = [0, 1, 3]
        np.testing.assert_array_equal(shown[0, rest], images[row, rest])
        np.testing.assert_array_equal(shown[1:, rest], np.clip(guesses[row][:, rest], 0, 1))
    with pytest.raises(ValueError, match=r"\(n_rows, H, W, 3\), got \(2, 4, 6, 2\)"):
        plots.image_grid(images[..., :2], guesses[..., :2])
    with pytest.raises(ValueError, match=r"K, H, W, 3\) = \(2, K, 4, 6, 3\).*got \(2, 3, 4"):
        plots.image_grid(images, guesses[..., 0])


def test_point_clouds_share_their_axes() -> None:
    points = RNG.normal(size=(2, 50, 2))
    guesses = np.stack([points, points + 1], axis=1)
    figure = plots.point_clouds(points, guesses, axis_labels=("$x_1$", "$x_2$"))
    grid = panels(figure, 3)
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in grid.ravel()}) == 1
    np.testing.assert_array_equal(grid[1, 2].collections[0].get_offsets(), guesses[1, 1])
    assert figure.get_supxlabel() == "$x_1$"
    assert figure.get_supylabel() == "$x_2$"


def test_samples_lie_above_the_originals_of_their_row() -> None:
    points = RNG.normal(size=(2, 50, 2))
    guesses = RNG.normal(size=(2, 3, 20, 2))
    figure = plots.point_clouds(points, guesses, beneath=True, learned_at=[0, 1])
    grid = panels(figure, 4)
    for row in range(2):
        (original,) = grid[row, 0].collections
        np.testing.assert_array_equal(original.get_offsets(), points[row])
        for column in range(3):
            below, above = grid[row, column + 1].collections
            np.testing.assert_array_equal(below.get_offsets(), points[row])
            np.testing.assert_array_equal(above.get_offsets(), guesses[row, column])
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["samples", "originals", "row's task not yet seen"]
    assert not plots.point_clouds(points, guesses).legends


def test_points_outside_are_counted() -> None:
    points = RNG.normal(size=(1, 100, 2))
    guesses = points[:, None].copy()
    guesses[0, 0, :20] = 1e6
    grid = panels(plots.point_clouds(points, guesses), 2)
    assert [text.get_text() for text in grid[0, 1].texts] == ["20 % outside"]
    assert not grid[0, 0].texts


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"originals must have shape \(n_rows, H, W\), got \(4,"):
        plots.reconstruction_grid(FIELDS[0], GUESSES)
    with pytest.raises(ValueError, match=r"= \(2, K, 4, 32\).*got \(2, 3, 4, 31\)"):
        plots.image_grid(FIELDS, GUESSES[..., 1:])
    with pytest.raises(ValueError, match="row_labels must hold 2 names"):
        plots.reconstruction_grid(FIELDS, GUESSES, row_labels=["a"])
    with pytest.raises(ValueError, match="column_labels must hold 3 names"):
        plots.reconstruction_grid(FIELDS, GUESSES, column_labels=["a"])
    with pytest.raises(ValueError, match="learned_at must hold one column for each of 2 rows"):
        plots.reconstruction_grid(FIELDS, GUESSES, learned_at=[0])
    with pytest.raises(ValueError, match=r"\(n_rows, n, 2\), got \(2, 5, 3\)"):
        plots.point_clouds(np.zeros((2, 5, 3)), np.zeros((2, 1, 5, 2)))
    with pytest.raises(ValueError, match=r"n_rows = 2 as the originals, got \(3, 1, 5, 2\)"):
        plots.point_clouds(np.zeros((2, 5, 2)), np.zeros((3, 1, 5, 2)))
