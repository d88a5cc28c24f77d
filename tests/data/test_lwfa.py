"""The closed-form wakefield obeys the formulas it is named after."""

import math
from itertools import pairwise

import numpy as np
import pytest

from insituml.data import lwfa
from insituml.data.lwfa import LwfaField

FAR = 1.0  # metres: a ramp that the pulse never reaches
# Rest energy over charge, times the wavenumber: the field of a0 = 1, from SI constants.
FIELD_UNIT = 9.1093837e-31 * 299792458.0**2 / 1.602176634e-19 * 2 * math.pi / 0.8e-6


def analytic(signal: np.ndarray) -> np.ndarray:
    """Complex signal without negative frequencies, whose real part is the given one."""
    spectrum = np.fft.fft(signal)
    spectrum[signal.size // 2 + 1 :] = 0
    spectrum[1 : signal.size // 2] *= 2
    return np.fft.ifft(spectrum)


def envelope(signal: np.ndarray) -> np.ndarray:
    return np.abs(analytic(signal))


def positions(field: LwfaField, axis: int) -> np.ndarray:
    grid = field.grid
    return grid.origin[axis] + grid.spacing[axis] * np.arange(grid.shape[axis])


def zero_crossings(y: np.ndarray, values: np.ndarray) -> np.ndarray:
    at = np.nonzero(np.signbit(values[1:]) != np.signbit(values[:-1]))[0]
    return y[at] - values[at] * (y[at + 1] - y[at]) / (values[at + 1] - values[at])


def wake_on_axis(field: LwfaField, iteration: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions behind the pulse and Ey there, on the axis, where the laser has no Ey."""
    y = positions(field, 1)
    middle = field.grid.shape[0] // 2
    behind = y < -2 * field.pulse_length
    return y[behind], field.field(iteration)[1, middle, behind, field.grid.shape[2] // 2]


@pytest.fixture(scope="module")
def run() -> np.ndarray:
    """The default run on a coarse transverse grid, ``(50, 3, 8, 256, 8)``."""
    return np.stack([step.values for step in LwfaField(shape=(8, 256, 8))])


@pytest.mark.parametrize("iteration", [0, 2, 4, 7])
def test_vacuum_pulse_spreads_as_a_gaussian_beam(iteration: int) -> None:
    field = LwfaField(shape=(3, 800, 3), ramp_start=FAR, focus=100e-6, half_width=4e-6)
    values = field.field(iteration)[0]
    rayleigh = math.pi * field.waist**2 / field.wavelength
    y = iteration * field.distance_per_iteration
    width = field.waist * math.hypot(1, (y - 100e-6) / rayleigh)
    on_axis, beside = envelope(values[1, :, 1]), envelope(values[0, :, 1])
    assert on_axis.max() == pytest.approx(4 * FIELD_UNIT * field.waist / width, rel=3e-3)
    peak = on_axis.argmax()
    offset = positions(field, 0)[0]
    assert beside[peak] / on_axis[peak] == pytest.approx(
        math.exp(-((offset / width) ** 2)), rel=1e-2
    )


@pytest.mark.parametrize("iteration", [0, 3, 5, 9])
def test_vacuum_wavefronts_have_the_gouy_phase_and_curvature(iteration: int) -> None:
    field = LwfaField(shape=(3, 801, 3), ramp_start=FAR, focus=100e-6, half_width=6e-6)
    values = field.field(iteration)[0]
    xi = positions(field, 1)
    wavenumber = 2 * math.pi / field.wavelength
    from_focus = iteration * field.distance_per_iteration + xi - 100e-6
    rayleigh = math.pi * field.waist**2 / field.wavelength
    carrier = np.exp(1j * wavenumber * xi)
    centre = np.abs(xi) < 3e-6
    on_axis = analytic(values[1, :, 1]) / carrier
    gouy = np.exp(-1j * np.arctan(from_focus / rayleigh))
    assert np.abs(np.angle(on_axis / gouy))[centre].max() < 2e-2
    offset = positions(field, 0)[0]
    curvature = from_focus / (from_focus**2 + rayleigh**2)
    bend = np.exp(0.5j * wavenumber * offset**2 * curvature)
    beside = analytic(values[0, :, 1]) / analytic(values[1, :, 1])
    assert np.abs(np.angle(beside / bend))[centre].max() < 2e-2


def test_field_unit_is_the_field_of_a0_equal_to_one() -> None:
    field = LwfaField(shape=(3, 800, 3), a0=1, ramp_start=FAR, focus=0.0)
    assert field.field_unit == pytest.approx(FIELD_UNIT, rel=1e-6)
    assert envelope(field.field(0)[0, 1, :, 1]).max() == pytest.approx(FIELD_UNIT, rel=1e-3)


@pytest.mark.parametrize("wavelength", [0.8e-6, 1.0e-6])
def test_carrier_wavelength_is_the_parameter(wavelength: float) -> None:
    field = LwfaField(shape=(3, 1000, 3), wavelength=wavelength, waist=50e-6, ramp_start=FAR)
    power = np.abs(np.fft.rfft(field.field(0)[0, 1, :, 1])) ** 2
    frequency = np.fft.rfftfreq(1000, field.grid.spacing[1])
    assert 1 / np.average(frequency, weights=power) == pytest.approx(wavelength, rel=1e-3)


def test_vacuum_pulse_has_no_divergence() -> None:
    field = LwfaField(shape=(49, 800, 49), ramp_start=FAR, focus=0.0)
    ex, ey, ez = field.field(3).astype(np.float64)
    along_x, along_y, along_z = (
        np.gradient(part, step, axis=axis)[8:-8, 8:-8, 8:-8]
        for axis, (part, step) in enumerate(zip((ex, ey, ez), field.grid.spacing, strict=True))
    )
    assert (along_x + along_y + along_z).std() < 0.1 * along_x.std()


def test_vacuum_pulse_has_the_cross_component_of_the_next_order() -> None:
    field = LwfaField(shape=(49, 400, 49), ramp_start=FAR, focus=0.0)
    ex, _, ez = field.field(3).astype(np.float64)
    dx, _, dz = field.grid.spacing
    expected = np.gradient(np.gradient(ex, dx, axis=0), dz, axis=2)
    expected *= (field.wavelength / (2 * math.pi)) ** 2
    inner = (slice(8, -8), slice(None), slice(8, -8))
    assert (ez - expected)[inner].std() < 0.05 * expected[inner].std()


def test_weak_wake_is_a_cosine_behind_the_pulse() -> None:
    field = LwfaField(shape=(3, 1000, 3), a0=0.02, waist=50e-6, ramp_start=0.0)
    y = positions(field, 1)
    wake = field.field(10)[1, 1, :, 1]
    behind = -y / field.plasma_wavelength  # in periods; the pulse's centre has slipped by 0.02
    near = (behind > 0.1) & (behind < 1)
    crossings = zero_crossings(behind[near], wake[near])
    assert np.sort(crossings) == pytest.approx([0.27, 0.77], abs=0.02)
    assert wake[np.argmin(np.abs(behind - 0.5))] < 0


def test_weak_wake_oscillates_at_the_plasma_wavelength() -> None:
    field = LwfaField(
        shape=(3, 2000, 3), a0=0.02, waist=50e-6, window=(-100e-6, 20e-6), ramp_start=0.0
    )
    crossings = zero_crossings(*wake_on_axis(field, 20))
    assert len(crossings) >= 9
    assert 2 * np.diff(crossings) == pytest.approx(field.plasma_wavelength, rel=3e-3)
    plasma_frequency = math.sqrt(4e24 * 1.602176634e-19**2 / (8.8541878e-12 * 9.1093837e-31))
    wavelength = 2 * math.pi * 299792458.0 / plasma_frequency
    assert field.plasma_wavelength == pytest.approx(wavelength, rel=1e-6)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_wake_in_the_ramp_follows_the_local_density(share: float) -> None:
    ramp = 40e-3
    field = LwfaField(
        shape=(3, 2000, 3),
        a0=0.02,
        waist=200e-6,
        window=(-100e-6, 20e-6),
        ramp_start=0.0,
        ramp_length=ramp,
        iterations=2,
        distance_per_iteration=share * ramp,
        density=8e24,
    )
    density = 8e24 * math.sin(math.pi / 2 * share) ** 2
    local = LwfaField(density=density).plasma_wavelength
    delay = field.pulse(np.array(share * ramp)).delay
    y, wake = wake_on_axis(field, 1)
    near = y < -2 * field.pulse_length - delay
    crossings = zero_crossings(y[near], wake[near])
    assert 2 * np.diff(crossings)[-2:] == pytest.approx(local, rel=2e-2)


def test_weak_wake_is_the_gradient_of_a_potential() -> None:
    field = LwfaField(shape=(3, 1000, 65), a0=0.1, waist=12e-6, ramp_start=0.0)
    _, ey, ez = field.field(5)[:, 1].astype(np.float64)  # x = 0: no laser in Ey and Ez
    along_y = np.gradient(ez, field.grid.spacing[1], axis=0)
    along_z = np.gradient(ey, field.grid.spacing[2], axis=1)
    part = (positions(field, 1) < -8e-6) & (positions(field, 1) > -16e-6)
    along_y, along_z = along_y[part, 1:-1], along_z[part, 1:-1]
    assert (along_y - along_z).std() < 0.1 * along_z.std()


def test_no_wake_before_the_ramp() -> None:
    field = LwfaField(shape=(5, 256, 5), ramp_start=200e-6)
    middle = 2
    for iteration in range(6):  # the window's front is at 15 µm + 30 µm an iteration
        values = field.field(iteration)
        assert np.abs(values[0]).max() > 0
        assert not values[1, middle].any()  # the laser's own Ey and Ez vanish at x = 0
        assert not values[2, middle].any()
    later = field.field(12)
    assert np.abs(later[1, middle]).max() > 1e10
    assert np.abs(later[2, middle]).max() > 1e10


def test_symmetries() -> None:
    field = LwfaField(shape=(6, 256, 8))
    ex, ey, ez = field.field(0)
    assert np.array_equal(ex, ex[::-1])
    assert np.array_equal(ey, -ey[::-1])
    assert np.array_equal(ez, -ez[::-1])
    for iteration in (0, 5, 30):
        ex, ey, ez = field.field(iteration)
        assert np.array_equal(ex, ex[..., ::-1])
        assert np.array_equal(ey, ey[..., ::-1])
        assert np.array_equal(ez, -ez[..., ::-1])
    wake = field.field(30)[1]
    assert not np.array_equal(wake, -wake[::-1])  # the plasma's Ey is even in x


def test_strong_wake_is_a_sawtooth_and_a_weak_one_a_sine() -> None:
    ratios = []
    for a0 in (0.05, 4.0):
        field = LwfaField(shape=(3, 1000, 3), a0=a0, waist=10e-6, window=(-40e-6, 15e-6))
        _, wake = wake_on_axis(field, 10)
        slope = np.diff(wake)
        ratios.append(-slope.min() / slope.max())
    assert ratios[0] == pytest.approx(1, abs=0.3)  # damping: the fall comes first
    assert ratios[1] > 4


def test_strong_wake_is_longer_than_the_plasma_wavelength() -> None:
    # Distance of the first two rear zeros of a strong wake, against Esarey's 1-D formula's range.
    field = LwfaField(shape=(3, 1000, 3), waist=10e-6, window=(-60e-6, 15e-6))
    crossings = zero_crossings(*wake_on_axis(field, 10))
    period = crossings[2] - crossings[0]
    assert 1.1 < period / field.plasma_wavelength < 2


def test_pulse_depletes_slows_and_reddens() -> None:
    field = LwfaField(shape=(3, 800, 3), waist=8.2e-6)
    y = positions(field, 1)
    frequency = np.fft.rfftfreq(800, field.grid.spacing[1])
    centres, energies, colours = [], [], []
    for iteration in (5, 20, 35, 49):
        signal = field.field(iteration)[0, 1, :, 1].astype(np.float64)
        power = np.abs(np.fft.rfft(signal)) ** 2
        centres.append(np.average(y, weights=signal**2))
        energies.append((signal**2).sum() * field.spot(np.array(iteration * 30e-6)) ** 2)
        colours.append(1 / np.average(frequency, weights=power))
    assert all(a > b for a, b in pairwise(centres))
    assert all(a > b for a, b in pairwise(energies))
    assert all(a < b for a, b in pairwise(colours))
    assert colours[-1] > 1.05 * field.wavelength
    # Group velocity alone: half of (kp/k)² per length.
    travelled = field.plasma_path(np.array(49 * 30e-6))
    slip = travelled * (field.wavelength / field.plasma_wavelength) ** 2 / 2
    assert -centres[-1] == pytest.approx(slip, rel=0.5)


def test_every_fifth_differs_from_the_one_before(run: np.ndarray) -> None:
    scaled = run / run[:10].std(axis=(0, 2, 3, 4), keepdims=True)
    fifths = scaled.reshape(5, 10, -1)
    for before, after in pairwise(fifths):
        within = np.linalg.norm(after - after.mean(axis=0), axis=1).mean()
        change = np.linalg.norm(after.mean(axis=0) - before.mean(axis=0))
        assert change > 0.5 * within
    for component in range(3):
        means = run[:, component].reshape(5, 10, -1).mean(axis=1)
        for before, after in pairwise(means):
            assert np.linalg.norm(after - before) > 0.2 * np.linalg.norm(before)


def test_no_component_outgrows_the_first_fifth(run: np.ndarray) -> None:
    spread = run.astype(np.float64).reshape(5, 10, 3, -1).std(axis=(1, 3))
    assert (spread[0] > [5e11, 1e10, 5e9]).all()
    assert (spread[0] < [2e12, 1e11, 5e10]).all()
    assert (spread / spread[0] < 2).all()
    assert (spread / spread[0] > 0.3).all()


def test_field_does_not_depend_on_the_sampling() -> None:
    coarse = LwfaField(shape=(4, 200, 2)).field(20)
    fine = LwfaField(shape=(12, 600, 6)).field(20)
    scale = np.abs(coarse).max(axis=(1, 2, 3), keepdims=True)
    assert (np.abs(fine[:, 1::3, 1::3, 1::3] - coarse) < 1e-5 * scale).all()


def test_field_does_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    field = LwfaField(shape=(6, 200, 5))
    whole = field.field(20)
    monkeypatch.setattr(lwfa, "BLOCK", 50)
    assert np.array_equal(field.field(20), whole)


@pytest.mark.parametrize(
    "extreme",
    [{"pulse_length": 1e-8}, {"a0": 1e-4}, {"a0": 100.0}, {"density": 1e20}, {"density": 1e27}],
)
def test_extreme_parameters_stay_finite(extreme: dict) -> None:
    field = LwfaField(shape=(3, 256, 2), **extreme)
    for iteration in (0, 10, 49):
        assert np.isfinite(field.field(iteration)).all()


def test_iteration_is_lazy_and_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    field = LwfaField(shape=(4, 128, 4), iterations=4)
    asked = []
    original = field.field
    monkeypatch.setattr(field, "field", lambda i: asked.append(i) or original(i))
    steps = iter(field)
    assert asked == []
    next(steps)
    assert asked == [0]
    first = list(field)
    second = list(LwfaField(shape=(4, 128, 4), iterations=4))
    assert len(first) == len(field) == 4
    assert [step.iteration for step in first] == [0, 1, 2, 3]
    assert first[3].time == pytest.approx(3 * 30e-6 / 299792458.0)
    for a, b in zip(first, second, strict=True):
        assert a.values.dtype == np.float32
        assert a.values.shape == (3, 4, 128, 4)
        assert a.values.tobytes() == b.values.tobytes()


def test_chosen_steps_are_those_of_the_run() -> None:
    field = LwfaField(shape=(2, 128, 2), iterations=4)
    run = list(field)
    assert field.iteration_numbers == [0, 1, 2, 3]
    for place, step in zip([3, 0, 3], field.steps([3, 0, 3]), strict=True):
        assert (step.iteration, step.time) == (run[place].iteration, run[place].time)
        assert np.array_equal(step.values, run[place].values)


def test_grid_covers_the_window() -> None:
    grid = LwfaField(shape=(4, 256, 8), half_width=10e-6, window=(-30e-6, 10e-6)).grid
    assert grid.shape == (4, 256, 8)
    assert grid.spacing == pytest.approx((5e-6, 40e-6 / 256, 2.5e-6))
    assert grid.origin == pytest.approx((-7.5e-6, -30e-6 + 20e-6 / 256, -8.75e-6))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"a0": 0.0}, "a0=0.0 must be finite and above 0"),
        ({"density": float("nan")}, "density=nan"),
        ({"waist": -5e-6}, "waist=-5e-06"),
        ({"shape": (16, 256)}, "three numbers of points"),
        ({"shape": (1, 256, 16)}, "each at least 2"),
        ({"shape": (16, 90, 16)}, "at least 250 points"),
        ({"iterations": 0}, "iterations=0"),
        ({"window": (15e-6, -25e-6)}, "rear < front"),
        ({"ramp_start": math.inf}, "ramp_start=inf"),
    ],
)
def test_wrong_parameters_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LwfaField(**wrong)


@pytest.mark.parametrize("iteration", [-1, 50])
def test_iteration_out_of_range(iteration: int) -> None:
    with pytest.raises(IndexError, match="not among 0 to 49"):
        LwfaField().field(iteration)


def test_the_default_stream_is_almost_linear() -> None:
    """As its description says: what a network can do beyond linear algebra needs another stream."""
    field = LwfaField(
        shape=(12, 256, 12), distance_per_iteration=40e-6, ramp_start=120e-6, ramp_length=80e-6
    )
    run = np.stack([step.values for step in field])
    run /= run[:10].std(axis=(0, 2, 3, 4), keepdims=True)
    chunks = run.reshape(50, 3, 12, 8, 32, 12).transpose(0, 3, 1, 2, 4, 5).reshape(400, -1)
    held_out = np.repeat(np.arange(50) % 5 == 2, 8)
    _, _, basis = np.linalg.svd(chunks[~held_out], full_matrices=False)
    held = chunks[held_out] @ basis[:16].T
    assert (held**2).sum() > 0.98 * (chunks[held_out] ** 2).sum()
