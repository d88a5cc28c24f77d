"""Spectra and energies of fields that are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from insituml.field_energy import field_energy, has_energy
from insituml.power_spectrum import power_spectrum, wave_numbers


@pytest.mark.parametrize("points", [1, 2, 15, 16])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_sum_over_wave_numbers_is_the_mean_square(points, axis) -> None:
    grid = [3, 4, 5]
    grid[axis] = points
    values = np.random.default_rng(0).normal(size=(2, *grid)).astype(np.float32)
    power = power_spectrum(values, axis)
    assert power.shape == (2, points // 2 + 1) == (2, len(wave_numbers(points, 1e-7)))
    mean_squares = (values.astype(float) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(power.sum(axis=1), mean_squares, rtol=1e-12)


@pytest.mark.parametrize("waves, points", [(0, 32), (5, 32), (16, 32), (7, 31)])
def test_a_plane_wave_is_at_its_wave_number(waves, points) -> None:
    spacing, amplitude = 2e-8, 3e10
    k = 2 * math.pi * waves / (points * spacing)
    y = np.arange(points) * spacing
    values = amplitude * np.cos(k * y)[None, None, :, None] * np.ones((1, 2, 1, 3))
    power = power_spectrum(values, axis=1)[0]
    numbers = wave_numbers(points, spacing)
    assert numbers[power.argmax()] == pytest.approx(k)
    square = amplitude**2 * (1 if waves in (0, points / 2) else 0.5)
    assert power.max() == pytest.approx(square)
    assert power.sum() == pytest.approx(square)


def test_energy_of_a_plane_wave_in_vacuum() -> None:
    """Half is electric, half magnetic: ε₀E²/2 on average over a wavelength, times the volume."""
    c, epsilon, amplitude = 299_792_458.0, 8.8541878e-12, 2e11
    phase = 2 * np.pi * np.arange(24) / 24
    wave = np.broadcast_to(np.sin(phase)[None, :, None], (4, 24, 5))
    spacing = (1e-6, 2e-8, 3e-6)
    volume = 4e-6 * (24 * 2e-8) * 15e-6
    electric, magnetic = amplitude * wave, amplitude / c * wave
    expected = epsilon * amplitude**2 / 4 * volume
    assert field_energy(electric[None], ["V/m"], spacing) == pytest.approx(expected)
    assert field_energy(magnetic[None], ["T"], spacing) == pytest.approx(expected)
    both = np.stack([electric, magnetic, 1e30 * wave])  # a density has no energy of its own
    units = ["V/m", "T", "m^-3"]
    assert field_energy(both, units, spacing) == pytest.approx(2 * expected)
    assert field_energy(np.float32(both), units, spacing) == pytest.approx(2 * expected)


@pytest.mark.parametrize(
    "units, has", [(("V/m",), True), (("m^-3", "T"), True), (("m^-3",), False), ((), False)]
)
def test_only_fields_have_energy(units, has) -> None:
    assert has_energy(units) == has
