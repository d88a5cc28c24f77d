import numpy as np
import pytest

from insituml import plots

K = 2 * np.pi * np.arange(9) / 4e-6
RNG = np.random.default_rng(0)
FIELDS = RNG.uniform(1e18, 1e20, size=(2, 3, 9))
ERRORS = {name: FIELDS * part for name, part in (("naive", 0.3), ("ewc", 0.1))}
NAMES = {"components": ["Ex", "Ey", "Bz"], "units": ["V/m", "V/m", "T"]}


def test_lines_are_field_and_errors_without_the_mean() -> None:
    figure = plots.error_spectra(K, FIELDS, ERRORS, **NAMES, task_names=["a", "b"], axis="y")
    panels = np.array(figure.axes).reshape(3, 2)
    for (c, task), axes in np.ndenumerate(panels):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        for line, values in zip(axes.lines, [FIELDS, *ERRORS.values()], strict=True):
            np.testing.assert_allclose(line.get_xdata(), K[1:] * 1e-6)
            np.testing.assert_allclose(line.get_ydata(), values[task, c, 1:])
    assert [axes.get_title() for axes in panels[0]] == ["a", "b"]
    heads = [axes.get_ylabel() for axes in panels[:, 0]]
    assert heads[1:] == ["mean square of Ey [(V/m)²]", "mean square of Bz [(T)²]"]
    assert figure.get_supxlabel() == "angular wave number k along y [1/µm]"
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["field", "error of naive", "error of EWC"]


def test_rounding_does_not_stretch_the_axis() -> None:
    fields = FIELDS.copy()
    fields[0, 0, 5] = 1e-20
    figure = plots.error_spectra(K, fields, ERRORS, components=["a", "b", "c"], in_metres=False)
    low, high = figure.axes[0].get_ylim()
    assert high / low < 1e12
    assert figure.get_supxlabel() == "angular wave number k [1/point]"


def test_what_diverged_is_said_and_the_rest_drawn() -> None:
    made = {**ERRORS, "agem": FIELDS * np.nan}
    figure = plots.error_spectra(K, FIELDS, made, **NAMES)
    assert "A-GEM has no finite value." in " ".join(t.get_text() for t in figure.texts)


@pytest.mark.parametrize(
    "fields, errors, components, message",
    [
        (FIELDS[0], {}, ["a"], r"fields must have shape \(tasks, components, 9\)"),
        (FIELDS, {"ewc": FIELDS[:1]}, ["a", "b", "c"], r"errors\['ewc'\] must have the fields'"),
        (FIELDS, {}, ["a"], "components must hold 3 names"),
    ],
)
def test_what_does_not_fit_is_named(fields, errors, components, message) -> None:
    with pytest.raises(ValueError, match=message):
        plots.error_spectra(K, fields, errors, components=components)


WHEN = [2, 7, 12, 17]
ENERGY = [1.0, 2.0, 0.0, 4.0]


def test_energy_errors_are_relative_and_signed() -> None:
    restored = {"naive": [0.5, 2.5, 1.0, 4.0], "ewc": [1.0, 2.0, 0.0, 3.0]}
    figure = plots.energy_errors(WHEN, ENERGY, restored, tasks=[0, 0, 1, 1], task_names=["a", "b"])
    axes = figure.axes[0]
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["naive"], [-0.5, 0.25, np.nan, 0])
    np.testing.assert_array_equal(lines["EWC"], [0, 0, np.nan, -0.25])
    assert axes.get_yscale() == "linear"
    assert axes.yaxis.get_major_formatter()(0.25) == "25 %"
    assert {"a", "b", "naive", "EWC"} <= {text.get_text() for text in axes.texts}
    assert axes.get_ylabel() == "relative error of the field energy"


def test_labels_stand_level_with_the_ends_of_lines() -> None:
    restored = {"naive": [1.5, 3.0, 0.0, 6.0], "ewc": [0.5, 1.0, 0.0, 2.0]}
    figure = plots.energy_errors(WHEN, ENERGY, restored, tasks=[0] * 4)
    axes = figure.axes[0]
    levels = {t.get_text(): t.get_position()[1] for t in axes.texts}
    low, high = axes.get_ylim()
    assert levels["naive"] == pytest.approx((0.5 - low) / (high - low))
    assert levels["EWC"] == pytest.approx((-0.5 - low) / (high - low))


def test_one_that_blows_up_does_not_flatten_the_others() -> None:
    restored = {"naive": [1e6] * 4, "ewc": [1.1] * 4, "agem": [np.nan] * 4}
    axes = plots.energy_errors(WHEN, ENERGY, restored, tasks=[0] * 4).axes[0]
    assert axes.get_yscale() == "symlog"


def test_arrays_of_other_lengths_are_named() -> None:
    with pytest.raises(ValueError, match=r"must all have one shape \(n,\)"):
        plots.energy_errors(WHEN, ENERGY, {"ewc": [1.0]}, tasks=[0] * 4)
