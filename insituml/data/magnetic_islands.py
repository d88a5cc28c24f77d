"""Chains of magnetic islands in current sheets, in closed form: an ensemble of them an iteration.

A current sheet between opposed magnetic fields tears into a chain of islands, which grow and merge.
Fadeev, Kvabtskhava and Komarov (Nucl. Fusion 5, 202, 1965) gave the equilibrium that such a chain
passes through: in coordinates u across the sheet and v along it, with D = cosh(u/L) + ε cos(v/L),
the vector potential ``A_z = −B0 L ln D`` solves ``∇²A_z = −(B0/L) (1 − ε²) exp(2 A_z / (B0 L))``,
Liouville's equation. So, exactly,

- ``B = (∂A_z/∂v, −∂A_z/∂u)``, free of divergence;
- ``μ0 j_z = B0 (1 − ε²) / (L D²)``, and ``j × B = ∇p`` with ``p = B0² (1 − ε²) / (2 μ0 D²)``.

``ε = 0`` is Harris' sheet (Nuovo Cimento 23, 115, 1962), ``ε → 1`` a row of line currents; islands
lie ``2πL`` apart and reach ``L arccosh(1 + 2ε)`` to either side. Stuart's vortices in a shear layer
(J. Fluid Mech. 29, 417, 1967) are the same formula. That islands grow and merge is written as ε and
L growing with time; each iteration is an equilibrium of its own.

Six numbers say what a window shows: the fields of a sheet, where it lies, how it is turned. But
structures that move make the linear span of the fields wide (its Kolmogorov n-width falls slowly):
few principal components hold little of it, while a nonlinear encoder can find the six numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from insituml.data.constants import VACUUM_PERMEABILITY
from insituml.data.step import Grid, Step


class Sheets(NamedTuple):
    """The current sheets of one iteration, one a window: arrays of length ``windows``.

    Asymptotic field (T), length L (m), ε, angle between v and the window's y (rad), the sheet's
    distance from the window's centre (m), and the phase of its islands there (rad).
    """

    field: np.ndarray
    length: np.ndarray
    epsilon: np.ndarray
    angle: np.ndarray
    offset: np.ndarray
    phase: np.ndarray


@dataclasses.dataclass(kw_only=True, eq=False)
class MagneticIslands:
    """Square windows onto current sheets with magnetic islands, side by side in one field.

    At every iteration each window shows a sheet of its own: turned by any angle, off the centre by
    at most ``offset``, its islands at any phase. The rest scatters, evenly, around what changes
    linearly from the first iteration to the last. A window is a run of its own, of which the field
    is the mosaic: cut it into chunks of one window.

    Parameters
    ----------
    points, windows
        Points along each side of a window; windows along x and along y.
    width
        Of a window, in metres.
    iterations, time_per_iteration
        How many there are, and the seconds between two of them.
    field, field_spread
        Magnetic field B0 far from the sheet, in tesla, and the largest relative deviation from it.
    wavelength, wavelength_spread
        Distance ``2πL`` of neighbouring islands at the first and the last iteration, in metres,
        and the largest relative deviation from it.
    epsilon, epsilon_spread
        Fadeev's ε at the first and the last iteration, and the largest deviation from it: what it
        is in a window must be from 0 to less than 1.
    offset
        Largest distance of a sheet from the centre of its window, in metres.
    seed
        Of all random numbers. Those of an iteration do not depend on which others are asked for.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the points cannot resolve the sheet.
    """

    points: int = 64
    windows: tuple[int, int] = (8, 8)
    width: float = 0.24
    iterations: int = 50
    time_per_iteration: float = 0.2e-6
    field: float = 0.02
    field_spread: float = 0.2
    wavelength: tuple[float, float] = (0.07, 0.1)
    wavelength_spread: float = 0.1
    epsilon: tuple[float, float] = (0.3, 0.8)
    epsilon_spread: float = 0.1
    offset: float = 0.06
    seed: int = 0
    components: tuple[str, ...] = dataclasses.field(default=("Bx", "By", "jz"), init=False)
    unit: str = dataclasses.field(default="T, A/m^2", init=False)
    units: tuple[str, ...] = dataclasses.field(default=("T", "T", "A/m^2"), init=False)
    grid: Grid = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        """Check the parameters, and work out what all iterations share."""
        self._check()
        spacing = self.width / self.points
        along_x, along_y = (int(n) for n in self.windows)
        self.grid = Grid(
            shape=(along_x * self.points, along_y * self.points),
            spacing=(spacing, spacing),
            origin=(spacing / 2, spacing / 2),
            axis_labels=("x", "y"),
        )
        # Points lie at cell centres, counted from the middle of a window.
        self._places = (np.arange(self.points) - (self.points - 1) / 2) * spacing

    def _check(self) -> None:
        """Raise at the first wrong value."""
        counts = (self.points, self.iterations, *self.windows)
        if len(self.windows) != 2 or min(counts) < 1 or self.points < 2:
            raise ValueError(
                f"points={self.points}, windows={tuple(self.windows)}, iterations="
                f"{self.iterations} must be at least 2 points along a side, two numbers of windows "
                "(along x, along y) such as (8, 8), and at least 1 iteration"
            )
        for name in ("width", "time_per_iteration", "field"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}={value} must be finite and above 0, in SI units")
        for name in ("field_spread", "wavelength_spread"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be from 0 to less than 1")
        if not (math.isfinite(self.offset) and self.offset >= 0):
            raise ValueError(f"offset={self.offset} must be finite and 0 or above, in metres")
        for name in ("wavelength", "epsilon"):
            if len(getattr(self, name)) != 2:
                raise ValueError(
                    f"{name}={getattr(self, name)} must be two numbers: at the first iteration and "
                    "at the last"
                )
        low, high = min(self.epsilon), max(self.epsilon)
        if not 0 <= self.epsilon_spread <= low <= high < 1 - self.epsilon_spread:
            raise ValueError(
                f"epsilon={tuple(self.epsilon)} must stay from 0 to less than 1 within "
                f"epsilon_spread={self.epsilon_spread}"
            )
        # Four points across 2L resolve the sheet; its length L is the wavelength over 2π.
        shortest = min(self.wavelength) * (1 - self.wavelength_spread)
        if not (shortest > 0 and math.isfinite(max(self.wavelength))):
            raise ValueError(f"wavelength={tuple(self.wavelength)} must be above 0, in metres")
        needed = math.ceil(4 * math.pi * self.width / shortest)
        if self.points < needed:
            raise ValueError(
                f"{self.points} points on {self.width:g} m do not resolve a sheet whose islands "
                f"lie {shortest:.3g} m apart: give at least {needed}, or longer wavelengths"
            )

    def __len__(self) -> int:
        """Return the number of iterations."""
        return self.iterations

    @property
    def iteration_numbers(self) -> list[int]:
        """The number of each iteration, from 0."""
        return list(range(self.iterations))

    def __iter__(self) -> Iterator[Step]:
        """Yield the iterations in order, each worked out when asked for."""
        return self.steps(range(self.iterations))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        """Yield only the iterations at these places."""
        for iteration in places:
            yield Step(iteration, iteration * self.time_per_iteration, self.mosaic(iteration))

    def sheets(self, iteration: int) -> Sheets:
        """Return the sheets of one iteration, window by window, those along y first."""
        if not 0 <= iteration < self.iterations:
            raise IndexError(f"iteration {iteration} is not among 0 to {self.iterations - 1}")
        generator = np.random.default_rng([self.seed, iteration])
        scatter = generator.uniform(-1, 1, (6, math.prod(self.windows)))
        part = iteration / max(1, self.iterations - 1)
        wavelength, epsilon = (a + part * (b - a) for a, b in (self.wavelength, self.epsilon))
        return Sheets(
            field=self.field * (1 + self.field_spread * scatter[0]),
            length=wavelength * (1 + self.wavelength_spread * scatter[1]) / (2 * math.pi),
            epsilon=epsilon + self.epsilon_spread * scatter[2],
            angle=math.pi * scatter[3],
            offset=self.offset * scatter[4],
            phase=math.pi * scatter[5],
        )

    def mosaic(self, iteration: int) -> np.ndarray:
        """Return all windows of one iteration: ``(3, nx, ny)``, float32, in T, T and A/m²."""
        sheets = Sheets(*(values[:, None, None] for values in self.sheets(iteration)))
        x, y = self._places[:, None], self._places[None, :]
        cosine, sine = np.cos(sheets.angle), np.sin(sheets.angle)
        across = (x * cosine + y * sine - sheets.offset) / sheets.length
        along = (y * cosine - x * sine) / sheets.length + sheets.phase
        # All over cosh, which far from the sheet is too large for a number.
        decay = np.exp(-np.abs(across))
        inverse = 2 * decay / (1 + decay**2)
        islands = sheets.epsilon * inverse
        shape = 1 + islands * np.cos(along)
        b_across = sheets.field * islands * np.sin(along) / shape
        b_along = sheets.field * np.tanh(across) / shape
        current = sheets.field * (1 - sheets.epsilon**2) * (inverse / shape) ** 2
        windows = np.stack(
            [
                b_across * cosine - b_along * sine,
                b_across * sine + b_along * cosine,
                current / (VACUUM_PERMEABILITY * sheets.length),
            ]
        )
        rows = windows.reshape(3, *self.windows, self.points, self.points).swapaxes(2, 3)
        return rows.reshape(3, *self.grid.shape).astype(np.float32)
