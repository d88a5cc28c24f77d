"""Several simulations in one stream: who they are, and one number for each of their iterations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from insituml.data.windows import TaskWindows, Window

TASKS = ("time", "simulation", "none")
"""What the tasks of an ensemble are cut by."""


@dataclass(frozen=True)
class Simulation:
    """One of the simulations of an ensemble.

    Parameters
    ----------
    name
        What messages and tables call it.
    parameters
        What it was run with: numbers by name, such as ``{"a0": 4.0}``.
    """

    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)

    def title(self, names: Collection[str]) -> str:
        """Return the name, with these of the parameters."""
        words = in_words({n: v for n, v in self.parameters.items() if n in names})
        return f"{self.name} ({words})" if words else self.name


@dataclass(frozen=True)
class Ensemble:
    """The simulations of a stream, and how their iterations are numbered together.

    Iterations of different simulations have the same numbers; files, tasks and resume points need
    one number for each. Where tasks are simulations, simulation ``s`` has the numbers from
    ``s * stride`` on; else iteration ``n`` of all simulations has those from ``n * stride`` on. So
    the numbers of one task lie together.

    Parameters
    ----------
    stride
        Where tasks are simulations, more than their last iteration; else, the number of simulations
        at most.
    by_simulation
        Whether tasks are simulations.
    simulations
        In the order of their numbers; those that have joined.
    """

    stride: int
    by_simulation: bool
    simulations: tuple[Simulation, ...] = ()

    def titles(self) -> list[str]:
        """Return what tables call each simulation: its name, with the parameters that differ."""
        every = [simulation.parameters for simulation in self.simulations]
        names = dict.fromkeys(name for parameters in every for name in parameters)
        differ = [n for n in names if len({parameters.get(n) for parameters in every}) > 1]
        return [simulation.title(differ) for simulation in self.simulations]

    def number(self, simulation: int, iteration: int) -> int:
        """Return the one number of an iteration of a simulation.

        Raises
        ------
        ValueError
            If there are not so many simulations, or iterations.
        """
        inner = iteration if self.by_simulation else simulation
        if not 0 <= inner < self.stride:
            what = "iteration" if self.by_simulation else "simulation"
            raise ValueError(f"{what} {inner} is outside the ensemble, which has {self.stride}")
        return (simulation if self.by_simulation else iteration) * self.stride + inner

    def place(self, number: int) -> tuple[int, int]:
        """Return simulation and iteration of such a number."""
        outer, inner = divmod(number, self.stride)
        return (outer, inner) if self.by_simulation else (inner, outer)


def in_words(parameters: Mapping[str, float]) -> str:
    """Return parameters as ``a0=4, density=4e+24``."""
    return ", ".join(f"{name}={value:g}" for name, value in parameters.items())


def numbered(most: int, last: int, tasks: str) -> Ensemble:
    """Return how so many simulations are numbered, none of which has joined yet.

    Parameters
    ----------
    most
        Simulations at most.
    last
        Their last iteration.
    tasks
        One of :data:`TASKS`.
    """
    by_simulation = tasks == "simulation"
    return Ensemble(last + 1 if by_simulation else most, by_simulation)


def ensemble_windows(
    one: TaskWindows, ensemble: Ensemble, most: int, names: Sequence[str] = ()
) -> TaskWindows:
    """Return the tasks of an ensemble from those of one of its simulations.

    Each simulation holds out the same iterations.

    Parameters
    ----------
    one
        Of one simulation; where tasks are simulations, a single one.
    ensemble
        Numbers the iterations.
    most
        Simulations at most.
    names
        Of the simulations, for those tasks.
    """

    def numbers(iterations: Sequence[int], simulations: Sequence[int]) -> tuple[int, ...]:
        return tuple(ensemble.number(s, n) for n in iterations for s in simulations)

    def window(task: Window, name: str, simulations: Sequence[int]) -> Window:
        parts = (task.iterations, task.held_out, task.validation)
        return Window(name, *(numbers(part, simulations) for part in parts))

    if not ensemble.by_simulation:
        return TaskWindows([window(task, task.name, range(most)) for task in one.windows])
    (task,) = one.windows
    called = [*names, *(f"simulation {s}" for s in range(len(names), most))]
    return TaskWindows([window(task, called[s], [s]) for s in range(most)])
