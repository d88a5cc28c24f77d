import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from insituml import plots

RNG = np.random.default_rng(0)
FIELDS = RNG.normal(size=(2, 4, 32)) * np.array([1.0, 100.0])[:, None, None]
GUESSES = np.stack([FIELDS, 0.5 * FIELDS, 0 * FIELDS], axis=1)


def panels(figure: Figure) -> np.ndarray:
    """Return the axes that are panels, by row and column."""
    found = {}
    for axes in figure.axes:
        if axes.get_label().startswith("panel"):
            row, column = map(int, axes.get_label().split()[1:])
            found[row, column] = axes
    rows, columns = (max(place) + 1 for place in zip(*found, strict=True))
    return np.array([[found[row, column] for column in range(columns)] for row in range(rows)])


def outlined(axes: Axes) -> bool:
    return axes.spines["left"].get_linewidth() > 1


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def said(figure: Figure) -> str:
    return " ".join(reversed(texts(figure)))


def test_panels_show_the_fields() -> None:
    grid = panels(plots.reconstruction_grid(FIELDS, GUESSES))
    for row in range(2):
        shown = [axes.images[0].get_array() for axes in grid[row]]
        np.testing.assert_allclose(shown[0], FIELDS[row])
        np.testing.assert_allclose(shown[1:4], GUESSES[row])
        np.testing.assert_allclose(shown[4], GUESSES[row, -1] - FIELDS[row])


def test_rows_of_other_amplitudes_have_scales_of_their_own() -> None:
    figure = plots.reconstruction_grid(FIELDS, GUESSES)
    grid = panels(figure)
    for row in range(2):
        limits = {axes.images[0].get_clim() for axes in grid[row, :-1]}
        assert len(limits) == 1
        low, high = limits.pop()
        assert low == -high
        assert high == pytest.approx(np.percentile(np.abs(FIELDS[row]), 99.5))
        assert grid[row, -1].images[0].get_clim()[1] == pytest.approx(
            np.percentile(np.abs(GUESSES[row, -1] - FIELDS[row]), 99.5)
        )
    assert grid[0, 0].images[0].get_clim() != grid[1, 0].images[0].get_clim()
    assert "Each row has a colour scale of its own." in said(figure)


def test_rows_of_like_amplitudes_share_a_scale_and_one_colour_bar() -> None:
    factor = np.array([1.0, 0.05])[:, None, None]
    fields = factor * FIELDS
    figure = plots.reconstruction_grid(fields, np.stack([fields, 0.9 * fields], axis=1))
    grid = panels(figure)
    for part in (grid[:, :-1], grid[:, -1:]):
        assert len({axes.images[0].get_clim() for axes in part.ravel()}) == 1
    assert grid[0, 0].images[0].get_clim() != grid[0, -1].images[0].get_clim()
    assert len(figure.axes) == grid.size + 2
    assert "All rows share one colour scale: amplitudes can be compared." in said(figure)
    assert grid[0, 0].images[0].get_cmap() != grid[0, -1].images[0].get_cmap()


def test_one_hot_point_or_a_blow_up_does_not_change_the_scale() -> None:
    guesses = GUESSES.copy()
    guesses[:, 2] = 1e9
    before = panels(plots.reconstruction_grid(FIELDS, GUESSES))[0, 0].images[0].get_clim()
    after = panels(plots.reconstruction_grid(FIELDS, guesses))[0, 0].images[0].get_clim()
    assert before == after


def test_an_empty_field_still_has_a_scale() -> None:
    figure = plots.reconstruction_grid(np.zeros((1, 2, 4)), np.zeros((1, 1, 2, 4)))
    low, high = panels(figure)[0, 0].images[0].get_clim()
    assert low < 0 < high


def test_axes_are_physical_and_prefixes_join_the_units() -> None:
    figure = plots.reconstruction_grid(
        1e12 * FIELDS[:1],
        1e12 * GUESSES[:1],
        row_labels=["iterations 0-9"],
        extent=(0, 60e-6, -4e-6, 4e-6),
        axis_labels=("z", "r"),
        unit="V/m",
        component="$E_x$",
        title="field",
    )
    grid = panels(figure)
    assert figure.get_supxlabel() == "z [µm]"
    assert figure.get_supylabel() == "r [µm]"
    np.testing.assert_allclose(grid[0, 0].get_xlim(), (0, 60))
    np.testing.assert_allclose(grid[0, 0].get_ylim(), (-4, 4))
    assert "iterations 0-9" in texts(figure)
    bars = [axes.get_ylabel() for axes in figure.axes] + texts(figure)
    assert "$E_x$ [TV/m]" in [label.replace("\n", " ") for label in bars]
    assert "error of $E_x$ [TV/m]" in [label.replace("\n", " ") for label in bars]
    assert grid[0, 0].images[0].get_clim()[1] < 10  # in units of that power


def test_each_row_has_its_own_extent() -> None:
    boxes = np.array([(0, 60e-6, -4e-6, 4e-6), (30e-6, 90e-6, -4e-6, 4e-6)])
    grid = panels(plots.reconstruction_grid(FIELDS, GUESSES, extent=boxes))
    for row, box in zip(grid, boxes, strict=True):
        for axes in row:
            np.testing.assert_allclose((*axes.get_xlim(), *axes.get_ylim()), 1e6 * box)
            assert axes.get_xticks().size  # of its own
    with pytest.raises(ValueError, match=r"each of 2 rows, got an array of shape \(3, 4\)"):
        plots.reconstruction_grid(FIELDS, GUESSES, extent=[*boxes, boxes[0]])


def test_rows_of_one_extent_share_the_numbers_below() -> None:
    alike = [(0, 60e-6, -4e-6, 4e-6), (0.1e-6, 60.1e-6, -4e-6, 4e-6)]  # less than a pixel apart
    for extent in (None, (0, 60e-6, -4e-6, 4e-6), alike):
        grid = panels(plots.reconstruction_grid(FIELDS, GUESSES, extent=extent))
        assert not any(axes.get_xticks().size for axes in grid[0])
        assert all(axes.get_xticks().size for axes in grid[1])


def test_columns_are_named() -> None:
    heads = [text.replace("\n", " ") for text in texts(plots.reconstruction_grid(FIELDS, GUESSES))]
    for title in ["original", *(f"after task {k}" for k in range(3)), "error: last − original"]:
        assert title in heads


def test_the_panel_right_after_a_task_was_learned_is_outlined() -> None:
    figure = plots.reconstruction_grid(FIELDS, GUESSES, learned_at=[0, 2])
    marks = [[outlined(axes) for axes in row] for row in panels(figure)]
    assert marks == [[False, True, False, False, False], [False, False, False, True, False]]
    assert "Outlined: right after the row's task was learned" in said(figure)


def test_without_order_nothing_is_outlined() -> None:
    figure = plots.reconstruction_grid(FIELDS, GUESSES)
    assert not any(outlined(axes) for axes in panels(figure).ravel())
    assert "Outlined" not in said(figure)


def test_of_many_tasks_some_are_drawn_and_this_is_said() -> None:
    fields = np.ones((30, 2, 8)) * np.arange(1, 31)[:, None, None]
    guesses = np.stack([fields * (1 - k / 100) for k in range(30)], axis=1)
    figure = plots.reconstruction_grid(fields, guesses, learned_at=range(30))
    grid = panels(figure)
    assert grid.shape == (6, 8)
    assert [[outlined(axes) for axes in row[1:7]] for row in grid] == np.eye(6).astype(
        bool
    ).tolist()
    np.testing.assert_allclose(grid[-1, -2].images[0].get_array(), guesses[29, 29])
    np.testing.assert_allclose(grid[0, 1].images[0].get_array(), guesses[0, 0])
    assert "6 of 30 rows are drawn. 6 of 30 columns are drawn." in said(figure)


@pytest.mark.parametrize("share, words", [(1.0, "not finite"), (0.5, "50 %\nnot finite")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_said(share: float, words: str, value: float) -> None:
    guesses = GUESSES.copy()
    guesses[1, 0, :, : int(32 * share)] = value
    grid = panels(plots.reconstruction_grid(FIELDS, guesses))
    said_on = {
        (row, column): [text.get_text() for text in axes.texts]
        for (row, column), axes in np.ndenumerate(grid)
        if axes.texts
    }
    assert said_on == {(1, 1): [words]}


@pytest.mark.parametrize("title", ["", "field"])
@pytest.mark.parametrize("extent", [None, [(0, 60e-6, -4e-6, 4e-6), (30e-6, 90e-6, -4e-6, 4e-6)]])
def test_labels_stay_inside_the_figure(title: str, extent: list[tuple[float, ...]] | None) -> None:
    labels = ["iterations 100-199\niteration 150, 1234 fs"] * 2
    figure = plots.reconstruction_grid(
        FIELDS, GUESSES, row_labels=labels, unit="V/m", title=title, extent=extent
    )
    figure.draw_without_rendering()
    for artist in [*figure.texts, *(axes.yaxis.label for axes in figure.axes)]:
        box = artist.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
        assert box.y1 <= figure.bbox.y1


def test_images_share_the_scale_of_the_originals() -> None:
    digits = RNG.uniform(0, 1, size=(2, 8, 8))
    guesses = np.stack([digits, 3 * digits], axis=1)
    figure = plots.image_grid(digits, guesses, row_labels=["0, 1", "2, 3"], learned_at=[0, 1])
    grid = panels(figure)
    assert {axes.images[0].get_clim() for axes in grid.ravel()} == {(digits.min(), digits.max())}
    assert {"0, 1", "2, 3"} <= set(texts(figure))
    assert [[outlined(axes) for axes in row] for row in grid] == [
        [False, True, False],
        [False, False, True],
    ]
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
    grid = panels(figure)
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in grid.ravel()}) == 1
    np.testing.assert_array_equal(grid[1, 2].collections[0].get_offsets(), guesses[1, 1])
    assert figure.get_supxlabel() == "$x_1$"
    assert figure.get_supylabel() == "$x_2$"


def test_samples_lie_above_the_originals_of_their_row() -> None:
    points = RNG.normal(size=(2, 50, 2))
    guesses = RNG.normal(size=(2, 3, 20, 2))
    figure = plots.point_clouds(points, guesses, beneath=True, learned_at=[0, 1])
    grid = panels(figure)
    for row in range(2):
        (original,) = grid[row, 0].collections
        np.testing.assert_array_equal(original.get_offsets(), points[row])
        for column in range(3):
            below, above = grid[row, column + 1].collections
            np.testing.assert_array_equal(below.get_offsets(), points[row])
            np.testing.assert_array_equal(above.get_offsets(), guesses[row, column])
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["originals", "samples", "the row's originals"]
    (legend,) = plots.point_clouds(points, guesses).legends
    assert [text.get_text() for text in legend.get_texts()] == ["originals", "reconstructions"]


def test_points_outside_are_counted() -> None:
    points = RNG.normal(size=(1, 100, 2))
    guesses = points[:, None].copy()
    guesses[0, 0, :20] = 1e6
    grid = panels(plots.point_clouds(points, guesses))
    assert [text.get_text() for text in grid[0, 1].texts] == ["20 % outside"]
    assert not grid[0, 0].texts


LINES = np.sin(np.linspace(0, 6, 40)) * np.array([1.0, 3.0])[:, None]
LINE_GUESSES = np.stack([0.5 * LINES, 0.9 * LINES], axis=1)


def test_lines_show_original_reconstruction_and_error() -> None:
    figure = plots.reconstruction_lines(
        1e9 * LINES,
        1e9 * LINE_GUESSES,
        learned_at=[0, 1],
        extent=(0, 80e-6),
        axis_label="z",
        unit="V/m",
        component="Ez",
    )
    grid = panels(figure)
    assert grid.shape == (2, 3)
    for row in range(2):
        for column in range(2):
            original, guess = grid[row, column].lines
            np.testing.assert_allclose(original.get_ydata(), LINES[row])
            np.testing.assert_allclose(guess.get_ydata(), LINE_GUESSES[row, column])
            np.testing.assert_allclose(guess.get_xdata(), np.arange(1, 80, 2))
        error = grid[row, 2].lines[-1]
        np.testing.assert_allclose(error.get_ydata(), LINE_GUESSES[row, 1] - LINES[row])
    assert figure.get_supxlabel() == "z [µm]"
    assert figure.get_supylabel() == "Ez [GV/m]"
    for part in (grid[:, :2], grid[:, 2:]):
        assert len({axes.get_ylim() for axes in part.ravel()}) == 1
    assert [[outlined(axes) for axes in row] for row in grid] == [
        [True, False, False],
        [False, True, False],
    ]
    assert "All rows share one vertical axis" in said(figure)


def test_lines_that_leave_their_panel_or_are_no_numbers_say_so() -> None:
    guesses = LINE_GUESSES.copy()
    guesses[0, 0] *= 1000
    guesses[1, 1] = np.nan
    grid = panels(plots.reconstruction_lines(LINES, guesses))
    words = [[[text.get_text() for text in axes.texts] for axes in row] for row in grid]
    assert words == [[["off the scale"], [], []], [[], ["not finite"], ["not finite"]]]


def test_lines_of_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(n_rows, n\), got \(40,\)"):
        plots.reconstruction_lines(LINES[0], LINE_GUESSES)
    with pytest.raises(ValueError, match=r"= \(2, K, 40\).*got \(2, 2, 39\)"):
        plots.reconstruction_lines(LINES, LINE_GUESSES[..., 1:])
    with pytest.raises(ValueError, match=r"extent must be \(left, right\).*\(4,\)"):
        plots.reconstruction_lines(LINES, LINE_GUESSES, extent=(0, 1, 2, 3))


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
