"""A source of fields that somebody wrote for themselves, well-behaved or not; no test in here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from insituml.data import Grid, Step


class Own:
    """Waves of any components on a grid of any number of axes; one iteration may be at fault."""

    def __init__(
        self,
        components: Sequence[str] = ("Bz",),
        unit: str = "T",
        shape: Sequence[int] = (6,),
        iterations: int = 8,
        fault: str | None = None,
        units: Sequence[str] | None = None,
    ) -> None:
        self.components = tuple(components)
        self.unit = unit
        if units is not None:
            self.units = tuple(units)
        labels = ("x", "y", "z")[-len(shape) :]
        self.grid = Grid(tuple(shape), (1e-6,) * len(shape), (0.0,) * len(shape), labels)
        self.iteration_numbers = [10 * k for k in range(iterations)]
        self.fault = fault

    def __len__(self) -> int:
        return len(self.iteration_numbers)

    def __iter__(self) -> Iterator[Step]:
        return self.steps(range(len(self)))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        for place in places:
            number = self.iteration_numbers[place]
            values = self.values(number)
            if place == 3 and self.fault == "raise":
                raise ValueError("there is nothing here")
            if place == 3 and self.fault == "nan":
                values[0] = np.nan
            yield Step(number, 1e-15 * number, values)

    def values(self, number: int) -> np.ndarray:
        """Return components of magnitudes 1, 1000, ..."""
        rng = np.random.default_rng(number)
        fields = [1000.0**k * rng.normal(size=self.grid.shape) for k in range(len(self.components))]
        return np.array(fields, np.float32)
