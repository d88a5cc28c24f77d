import pytest

from insituml.plots.units import in_brackets, quantity, scaled_unit


@pytest.mark.parametrize(
    "unit, largest, factor, label",
    [
        ("V/m", 2.6e11, 1e9, "GV/m"),
        ("V/m", 1e12, 1e12, "TV/m"),
        ("V/m", 999.9e9, 1e12, "TV/m"),  # which three digits would write as 1000 GV/m
        ("T", 30.0, 1.0, "T"),
        ("T", 3e4, 1e3, "kT"),
        ("A/m^2", 4e15, 1e15, "PA/m²"),
        ("C/m^3", 2e5, 1e3, "kC/m³"),
        ("C/m^3", 2e-4, 1e-6, "µC/m³"),
        ("s", 93e-15, 1e-15, "fs"),
        ("m", 4e-5, 1e-6, "µm"),
        ("m^-3", 4e24, 1e24, "$10^{24}$ m⁻³"),
        ("kg m^-1 s^-2", 5e6, 1e6, "$10^{6}$ kg m⁻¹ s⁻²"),
        ("", 5e6, 1e6, "$10^{6}$"),
        ("", 0.02, 1.0, ""),
        ("V/m", 0.0, 1.0, "V/m"),
        ("V/m", float("nan"), 1.0, "V/m"),
        ("V/m", 1e40, 1e39, "$10^{39}$ V/m"),
    ],
)
def test_prefixes_where_they_fit(unit: str, largest: float, factor: float, label: str) -> None:
    found, name = scaled_unit(unit, largest)
    assert found == pytest.approx(factor)
    assert name == label


def test_brackets_only_around_a_unit() -> None:
    assert in_brackets("Ex", "GV/m") == "Ex [GV/m]"
    assert in_brackets("x", "") == "x"


@pytest.mark.parametrize(
    "values, unit, words",
    [
        ((0.0,), "s", "0 s"),
        ((2.5e-12,), "s", "2.5 ps"),
        ((-3e-15,), "s", "-3 fs"),
        ((123.4e-15,), "s", "123 fs"),
        ((1.1e-5, 4.1e-5), "m", "11 to 41 µm"),
        ((1e-6, 1e-6), "m", "1 µm"),
        ((3.0,), "", "3"),
    ],
)
def test_quantities_are_written_with_the_prefix_that_fits(values, unit: str, words: str) -> None:
    assert quantity(*values, unit=unit) == words
