"""A laser-wakefield accelerator in closed form: the electric field, one iteration at a time.

A Gaussian laser pulse, polarised along x, travels along y through vacuum, up a density ramp and
into a plateau, and leaves a plasma wave behind. Everything that happens to it is written as a
function of ``y``, the laboratory position, because the pulse passes each position once: what it was
like there decides the wave that remains there. The window moves at the speed of light, so its own
coordinate is ``ξ = y − ct``, with the pulse at ``ξ = 0`` in vacuum.

Textbook scalings, joined so that the field is smooth everywhere: it resembles a particle-in-cell
simulation, it does not replace one. What moves with the window hardly changes: 16 principal
components hold 98 % of the default stream's power, so it is a quick example and no test of what a
network can do beyond linear algebra; :mod:`insituml.data.magnetic_islands` is one. Sources:
Siegman, *Lasers* (1986), ch. 17 (Gaussian beam); Davis, Phys. Rev. A 19, 1177 (1979) (its other
components); Esarey, Schroeder and Leemans, Rev. Mod. Phys. 81, 1229 (2009) (wake amplitude and
wavelength); Lu et al., Phys. Rev. ST Accel. Beams 10, 061301 (2007) (matched spot, etching,
dephasing).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from insituml.data import constants
from insituml.data.constants import REST_ENERGY, SPEED_OF_LIGHT
from insituml.data.lwfa_parameters import checked_window
from insituml.data.step import Grid, Step

STEEPEST = 0.9
"""Upper bound of the sawtooth's steepness: keeps the bubble's rear wall about 0.3 µm thick, so that
any grid that resolves the laser also resolves the wall."""
DAMPING_PERIODS = 2.0
"""Plasma periods after which the wave has fallen to one half."""
BLOCK = 1 << 18
"""Field points, counted by distinct radius, worked out at once: bounds the temporary arrays."""


class Pulse(NamedTuple):
    """The laser pulse as it passes laboratory positions: arrays of their shape.

    Normalised vector potential on axis, 1/e² radius (m), inverse radius of the wavefronts (1/m),
    how far group velocity has set it back in the window (m), and energy spent, as an exponent.
    """

    amplitude: np.ndarray
    spot: np.ndarray
    curvature: np.ndarray
    delay: np.ndarray
    depletion: np.ndarray


@dataclasses.dataclass(kw_only=True, eq=False)
class LwfaField:
    """The field of a laser-wakefield accelerator in a window that moves at the speed of light.

    Parameters
    ----------
    shape
        Points along x, y and z, each at least 2. The default keeps five points per wavelength.
    iterations, distance_per_iteration
        How many there are, and how far the window moves between two of them, in metres.
    wavelength
        Laser wavelength in vacuum, in metres.
    a0
        Peak normalised vector potential at the focus, dimensionless.
    waist, pulse_length
        ``w`` and ``cτ`` of the field ``exp(−r²/w² − ξ²/(cτ)²)`` at the focus, in metres.
    density
        Electrons per cubic metre on the plateau.
    ramp_start, ramp_length
        Where the density begins to rise and over what length, in metres; the pulse starts at 0.
        The density rises as sin², so that the plasma wavenumber rises as sin.
    focus
        Position of the vacuum focus, in metres; None means ``ramp_start``.
    window, half_width
        Rear and front edge along y at the first step; half the extent along x and z; in metres.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the grid cannot resolve the laser.
    """

    shape: tuple[int, int, int] = (16, 256, 16)
    iterations: int = 50
    distance_per_iteration: float = 30e-6
    wavelength: float = 0.8e-6
    a0: float = 4.0
    waist: float = 5e-6
    pulse_length: float = 5e-6
    density: float = 4e24
    ramp_start: float = 90e-6
    ramp_length: float = 60e-6
    focus: float | None = None
    window: tuple[float, float] = (-25e-6, 15e-6)
    half_width: float = 12e-6
    components: tuple[str, ...] = dataclasses.field(default=("Ex", "Ey", "Ez"), init=False)
    unit: str = dataclasses.field(default="V/m", init=False)
    grid: Grid = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Check the parameters, and work out what all iterations share."""
        self._focus = self.ramp_start if self.focus is None else self.focus
        points, extent = checked_window(self, self._focus)
        self._k = 2 * math.pi / self.wavelength
        charge = self.density * constants.ELEMENTARY_CHARGE
        self._kp = math.sqrt(charge / (constants.VACUUM_PERMITTIVITY * REST_ENERGY))
        self._slowing = (self._kp / self._k) ** 2
        self.plasma_wavelength = 2 * math.pi / self._kp
        """On the plateau, in metres."""
        self.rayleigh_length = math.pi * self.waist**2 / self.wavelength
        """Distance from the focus at which the vacuum spot has grown by √2, in metres."""
        self.field_unit = REST_ENERGY * self._k
        """Laser field of normalised amplitude 1, ``m c ω / e``, in V/m."""
        spacing = tuple(length / n for length, n in zip(extent, points, strict=True))
        # Points lie at cell centres; counted from the middle, x and z are exactly symmetric.
        across = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(points, spacing, strict=True)]
        self._x, self._z = across[0], across[2]
        self._xi = self.window[0] + (np.arange(points[1]) + 0.5) * spacing[1]
        origin = (float(self._x[0]), float(self._xi[0]), float(self._z[0]))
        self.grid = Grid(shape=points, spacing=spacing, origin=origin)

        # The field depends on x and z through r² alone, but for a factor x or z: work it out once
        # for each distinct radius. `_where` says which radius belongs to which (x, z).
        radii = self._x[:, None] ** 2 + self._z[None, :] ** 2
        self._r2, where = np.unique(radii, return_inverse=True)
        self._where = where.reshape(radii.shape)

        # The Gouy phase has no closed form once the plasma guides the pulse: tabulate its integral.
        travel = self.distance_per_iteration * (self.iterations - 1)
        low = min(self.window[0], self._focus)
        high = max(self.window[1] + travel, self._focus)
        y = np.linspace(low, high, 2 + math.ceil(200 * (high - low) / self.rayleigh_length))
        rate = 2 / (self._k * self.spot(y) ** 2)
        gouy = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(y))])
        self._gouy = (y, gouy - np.interp(self._focus, y, gouy))

    def __len__(self) -> int:
        """Return the number of steps."""
        return self.iterations

    @property
    def iteration_numbers(self) -> list[int]:
        """The number of each step, from 0."""
        return list(range(self.iterations))

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps in order, each worked out when asked for."""
        return self.steps(range(self.iterations))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        """Yield only the steps at these places."""
        for iteration in places:
            moved = iteration * self.distance_per_iteration
            origin = (self.grid.origin[0], self.grid.origin[1] + moved, self.grid.origin[2])
            known = {"grid_origin": origin}
            yield Step(iteration, moved / SPEED_OF_LIGHT, self.field(iteration), known)

    def local_wavenumber(self, y: np.ndarray) -> np.ndarray:
        """Return the plasma wavenumber (1/m) at laboratory positions ``y`` (m)."""
        up = np.clip((y - self.ramp_start) / self.ramp_length, 0, 1)
        return self._kp * np.sin(math.pi / 2 * up)

    def plasma_path(self, y: np.ndarray) -> np.ndarray:
        """Return the integral of density over plateau density up to ``y``, in metres."""
        up = (y - self.ramp_start) / self.ramp_length
        rising = np.clip(up, 0, 1)
        ramp = rising / 2 - np.sin(math.pi * rising) / (2 * math.pi)
        return self.ramp_length * (ramp + np.maximum(up - 1, 0))

    def spot(self, y: np.ndarray) -> np.ndarray:
        """Return the pulse's 1/e² radius (m) as it passes ``y`` (m).

        In vacuum the Gaussian beam's. In plasma it settles, breathing, to the matched spot of a
        pulse of the same power, ``kp w = 2 √a``, if the power exceeds the critical one.
        """
        vacuum = self.waist**2 * (1 + ((y - self._focus) / self.rayleigh_length) ** 2)
        path = self.plasma_path(y)
        matched = (4 * self.a0 * self.waist / self._kp**2) ** (2 / 3)
        breathing_length = math.pi * self._k * matched / 2
        misfit = (matched - self.waist**2) / (matched + self.waist**2)
        power = (self.a0 * self._kp * self.waist) ** 2 / 32
        free = np.exp(-path / self.rayleigh_length * power**2 / (1 + power**2))
        breathing = misfit / 4 * (1 - free) * np.sin(2 * math.pi * path / breathing_length)
        guided = matched * (1 + breathing) * np.exp(-self._depletion(path) / 3)
        return np.sqrt(guided + (vacuum - guided) * free)

    def _depletion(self, path: np.ndarray) -> np.ndarray:
        """Length etched off the front of the pulse over its length; a weak pulse is spared."""
        strong = self.a0**2 / (1 + self.a0**2)
        return strong * path * self._slowing / self.pulse_length

    def pulse(self, y: np.ndarray) -> Pulse:
        """Return what the laser pulse is like as it passes laboratory positions ``y`` (m)."""
        path = self.plasma_path(y)
        depletion = self._depletion(path)
        spot = self.spot(y)
        h = 1e-3 * self.rayleigh_length
        return Pulse(
            amplitude=self.a0 * self.waist / spot * np.exp(-depletion / 2),
            spot=spot,
            curvature=(self.spot(y + h) - self.spot(y - h)) / (2 * h * spot),
            delay=path * self._slowing / 2,
            depletion=depletion,
        )

    def field(self, iteration: int) -> np.ndarray:
        """Return the field at one iteration, from 0: ``(3, nx, ny, nz)``, float32, V/m."""
        if not 0 <= iteration < self.iterations:
            raise IndexError(f"iteration {iteration} is not among 0 to {self.iterations - 1}")
        moved = iteration * self.distance_per_iteration
        x = self._x.astype(np.float32)[:, None, None]
        z = self._z.astype(np.float32)[None, None, :]
        values = np.empty((3, *self.grid.shape), dtype=np.float32)
        rows = max(1, BLOCK // self._r2.size)
        for start in range(0, self._xi.size, rows):
            part = slice(start, start + rows)
            xi = self._xi[part, None]
            pulse = self.pulse(xi + moved)
            laser, along, aside = (self._spread(part) for part in self._laser(xi, moved, pulse))
            wake, outward = (self._spread(part) for part in self._wake(xi, moved, pulse))
            values[0, :, part] = laser + x * outward
            values[1, :, part] = wake + x * along
            values[2, :, part] = z * (outward + x * aside)
        return values

    def _spread(self, table: np.ndarray) -> np.ndarray:
        """Turn ``(rows, radii)`` into ``(nx, rows, nz)``."""
        return np.take(table.astype(np.float32), self._where, axis=1).swapaxes(0, 1)

    def _laser(self, xi: np.ndarray, moved: float, pulse: Pulse) -> tuple[np.ndarray, ...]:
        """Paraxial pulse: Ex, Ey / x, and Ez / (x z), each ``(rows, radii)``, V/m (per m, m²)."""
        ahead = (xi + pulse.delay) / self.pulse_length
        front = (1 + np.tanh(ahead)) / 2
        envelope = np.exp(-((ahead * (1 + pulse.depletion * front)) ** 2))
        red = 0.5 * (1 - np.exp(-pulse.depletion))  # the front loses photon energy, the tail not
        stretched = red * self.pulse_length / 2 * np.logaddexp(0, 2 * ahead)
        gouy = np.interp(xi + moved, *self._gouy)
        phase = self._k * (xi - pulse.delay - stretched) - gouy
        profile = 1 / pulse.spot**2 - 0.5j * self._k * pulse.curvature
        axis = self.field_unit * pulse.amplitude * envelope * np.exp(1j * phase)
        beam = axis * np.exp(-profile * self._r2)
        # div E = 0 to lowest order gives Ey = (i/k) ∂x Ex; the next order Ez = ∂x ∂z Ex / k².
        slope = 2 * profile / self._k
        return beam.real, (-1j * slope * beam).real, (slope**2 * beam).real

    def _wake(self, xi: np.ndarray, moved: float, pulse: Pulse) -> tuple[np.ndarray, ...]:
        """Plasma wave: Ey, and the radial field over r, each ``(rows, radii)``, V/m (per m)."""
        kp = self.local_wavenumber(xi + moved)
        length = kp * self.pulse_length
        resonance = math.sqrt(math.pi / 2) * length * np.exp(-(length**2) / 8)
        drive = pulse.amplitude**2 / 4 * resonance * np.exp(-2 * self._r2 / pulse.spot**2)
        # Wave-breaking units: drive for a weak pulse, √drive for a strong one (1-D nonlinear).
        strength = drive / np.sqrt(1 + drive)
        stretch = np.sqrt(1 + 3 / 8 * strength**2)
        k = kp / stretch

        # The wave follows the pulse's front, which group velocity and etching set back: together
        # 3/2 kp²/k² per length for a strong pulse, the dephasing rate.
        behind = -pulse.delay - pulse.depletion * self.pulse_length - xi
        switch = (1 + np.tanh(behind / (0.6 * self.pulse_length))) / 2
        steepness = STEEPEST * strength / np.sqrt(0.3 + strength**2) * switch
        angle = math.pi / 2 - k * behind
        # One period of sin φ / √(1 + 2 s cos φ + s²) is a sine at s = 0, a sawtooth as s → 1, and
        # has maximum 1 throughout; minus its integral is (2 cos φ + s) / (1 + √...).
        cosine = np.cos(angle)
        root = np.sqrt(1 + 2 * steepness * cosine + steepness**2)
        damped = 1 + (k * behind / (2 * math.pi * DAMPING_PERIODS)) ** 2
        volts = REST_ENERGY * switch / damped
        wave = np.sin(angle) / root
        potential = (2 * cosine + steepness) / (1 + root)
        across = drive * (1 + drive / 2) / (1 + drive) ** 1.5 * 4 / pulse.spot**2
        return volts * kp * strength * wave, volts * stretch * across * potential
