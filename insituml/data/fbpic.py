"""A laser-wakefield accelerator simulated by FBPIC while its output is learned from.

FBPIC is a particle-in-cell code in cylindrical geometry with azimuthal modes: Lehe et al., Comput.
Phys. Commun. 203, 66 (2016). Needs ``pip install 'insituml[fbpic]'``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from insituml.data.constants import SPEED_OF_LIGHT
from insituml.data.openpmd.theta_modes import to_cartesian
from insituml.data.step import Grid, SourceFailedError, Step


@dataclasses.dataclass(kw_only=True, eq=False)
class FBPICSimulation:
    """The electric field of a laser-wakefield simulation that runs as it is iterated over.

    A pulse polarised along x starts at ``z = 0`` and travels along z, up a density ramp, along a
    plateau and down a ramp again. The window moves with it at the speed of light. Each iteration
    over this object simulates anew: the same arguments give the same field up to rounding, about
    1e-7 of its maximum, not always to the bit.

    Parameters
    ----------
    nz, nr, modes
        Cells along z and r, and azimuthal modes (two hold a linearly polarised laser).
    snapshots, steps_per_snapshot
        Number of steps to yield, the initial state first, and time steps between two of them. A
        time step lets light pass one cell along z.
    wavelength, a0, waist, duration
        Of the laser, in metres, dimensionless, metres and seconds: its field is
        ``exp(−r²/waist² − t²/duration²)`` at the focus.
    focus
        Position of the vacuum focus, in metres.
    density
        Electrons per cubic metre on the plateau; ions do not move.
    ramp_start, ramp_length, plateau_length
        Where the density begins to rise, over what length it rises and later falls (as sin²), and
        how long it stays, in metres.
    window_behind, window_ahead, radius
        Extent of the window behind and ahead of the pulse's first centre, and across, in metres.
    half_width, cartesian_points
        Half the extent along x and along y of what is yielded, in metres, and points along each.
    z_points
        Foremost cells along z to yield; at most ``nz``.
    particles_per_cell
        Electrons in each cell along z, r and θ (macroparticles); most of the time goes into them.
    seed
        Of the angles at which the electrons of a ring begin.

    Raises
    ------
    ValueError
        If a number must be positive and is not, or more is to be yielded than is simulated.
    """

    nz: int = 400
    nr: int = 50
    modes: int = 2
    snapshots: int = 129
    steps_per_snapshot: int = 25
    wavelength: float = 0.8e-6
    a0: float = 4.0
    waist: float = 5.0e-6
    duration: float = 16.7e-15
    focus: float = 40.0e-6
    density: float = 4.0e24
    ramp_start: float = 20.0e-6
    ramp_length: float = 50.0e-6
    plateau_length: float = 180.0e-6
    window_behind: float = 30.0e-6
    window_ahead: float = 10.0e-6
    radius: float = 20.0e-6
    half_width: float = 12.0e-6
    cartesian_points: int = 32
    z_points: int = 320
    particles_per_cell: Sequence[int] = (1, 1, 4)
    seed: int = 0

    components = ("Ex", "Ey", "Ez")
    unit = "V/m"

    def __post_init__(self) -> None:
        free = {"a0", "focus", "ramp_start", "seed", "particles_per_cell"}
        for field in dataclasses.fields(self):
            if field.name not in free and not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be positive, not {getattr(self, field.name)}")
        if len(self.particles_per_cell) != 3 or min(self.particles_per_cell) < 1:
            raise ValueError(
                f"particles_per_cell must be three positive numbers, along z, r and theta, not "
                f"{self.particles_per_cell}"
            )
        if self.z_points > self.nz:
            raise ValueError(f"z_points is {self.z_points}, but nz is only {self.nz}")
        self._dz = (self.window_behind + self.window_ahead) / self.nz
        first = self.window_ahead - (self.z_points - 0.5) * self._dz
        across = 2 * self.half_width / self.cartesian_points
        edge = -self.half_width + across / 2
        points = self.cartesian_points
        self.grid = Grid(
            shape=(points, points, self.z_points),
            spacing=(across, across, self._dz),
            origin=(edge, edge, first),
        )
        self._across = edge + across * np.arange(points)
        self._radii = (np.arange(self.nr) + 0.5) * self.radius / self.nr
        corner = math.sqrt(2) * abs(edge)
        if corner > self._radii[-1]:
            raise ValueError(
                f"half_width is {self.half_width:g} m: its corner point at r = {corner:g} m lies "
                f"beyond the last one simulated, at {self._radii[-1]:g} m; make it smaller"
            )

    @property
    def iteration_numbers(self) -> list[int]:
        """The simulation's number of time steps done at each snapshot."""
        return [k * self.steps_per_snapshot for k in range(self.snapshots)]

    def __len__(self) -> int:
        """Return the number of snapshots."""
        return self.snapshots

    def __iter__(self) -> Iterator[Step]:
        """Run the simulation and yield each snapshot as it is reached."""
        return self.steps(range(self.snapshots))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        """Run the simulation and yield only the snapshots at these places.

        A place that lies before its predecessor makes the simulation begin anew.

        Raises
        ------
        SourceFailedError
            If the simulation breaks down: what comes after follows from it.
        """
        try:
            yield from self._simulated(places)
        except ImportError:
            raise
        except Exception as error:
            raise SourceFailedError(
                f"FBPIC broke down ({type(error).__name__}: {error})"
            ) from error

    def _simulated(self, places: Iterable[int]) -> Iterator[Step]:
        numbers = self.iteration_numbers
        run: _Run | None = None
        for place in places:
            if run is None or numbers[place] < run.simulation.iteration:
                run = _Run(self)
            # One snapshot at a time: FBPIC exchanges particles whenever its loop starts.
            while run.simulation.iteration < numbers[place]:
                run.advance(self.steps_per_snapshot)
            yield self._snapshot(run.simulation)

    def _snapshot(self, simulation: Any) -> Step:
        communicator = simulation.comm
        r, t, z = (self._modes(simulation, name) for name in ("Er", "Et", "Ez"))
        values = to_cartesian(r, t, z, self._radii, self._across, self._across)
        _, front = communicator.get_zmin_zmax(local=False, with_damp=False, with_guard=False)
        first = float(front) - (self.z_points - 0.5) * self._dz
        return Step(
            iteration=int(simulation.iteration),
            time=float(simulation.time),
            # Only now: along x and y, the laser's radial and azimuthal parts cancel.
            values=values.astype(np.float32),
            metadata={"grid_origin": (*self.grid.origin[:2], first)},
        )

    def _modes(self, simulation: Any, name: str) -> np.ndarray:
        """Return ``(2 * modes - 1, nr, z_points)`` in the convention of openPMD.

        FBPIC's field is ``Re(F_0 + 2 sum_m F_m exp(-i m theta))``, as its own output says.
        """
        parts = []
        for m, grid in enumerate(simulation.fld.interp):
            # Without guard and damping cells, and only the foremost cells.
            mode = simulation.comm.gather_grid_array(getattr(grid, name))[-self.z_points :].T
            parts += [2 * mode.real, 2 * mode.imag] if m else [mode.real]
        return np.stack(parts)


class _Run:
    """One run of a simulation, with random numbers of its own."""

    def __init__(self, source: FBPICSimulation) -> None:
        self._random = np.random.RandomState(source.seed).get_state()
        with self._alone():
            self.simulation = _build(source)

    def advance(self, steps: int) -> None:
        """Do this many time steps."""
        with self._alone():
            self.simulation.step(steps, show_progress=False)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Work on one thread, as threads slow small grids down, and leave no trace.

        FBPIC draws from NumPy's global random state: lend it ours, and give the user's back.
        """
        # Read by numba when it is imported; later only `set_num_threads` is heard.
        if "numba" not in sys.modules:
            os.environ["NUMBA_NUM_THREADS"] = "1"
        try:
            import numba
            from threadpoolctl import threadpool_limits
        except ImportError as error:
            raise _not_installed(error) from error
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        users = np.random.get_state()  # noqa: NPY002
        np.random.set_state(self._random)  # noqa: NPY002
        try:
            with warnings.catch_warnings(), threadpool_limits(limits=1, user_api="blas"):
                warnings.simplefilter("ignore")  # that there is neither MPI nor a GPU
                yield
        finally:
            self._random = np.random.get_state()  # noqa: NPY002
            np.random.set_state(users)  # noqa: NPY002
            numba.set_num_threads(threads)


def _build(source: FBPICSimulation) -> Any:
    """Make the ``fbpic.main.Simulation`` that the source describes, at iteration 0."""
    try:
        import pyfftw
        from fbpic.lpa_utils.laser import GaussianLaser, add_laser_pulse
        from fbpic.main import Simulation
        from scipy.constants import e, m_e
    except ImportError as error:
        raise _not_installed(error) from error

    def profile(z: np.ndarray, r: np.ndarray) -> np.ndarray:
        rising = (z - source.ramp_start) / source.ramp_length
        falling = 2 + source.plateau_length / source.ramp_length - rising
        return np.sin(math.pi / 2 * np.clip(np.minimum(rising, falling), 0, 1)) ** 2

    along_z, along_r, along_theta = source.particles_per_cell
    laser = GaussianLaser(
        source.a0, source.waist, source.duration, 0.0, zf=source.focus, lambda0=source.wavelength
    )
    with contextlib.redirect_stdout(io.StringIO()):
        simulation = Simulation(
            source.nz,
            source.window_ahead,
            source.nr,
            source.radius,
            source.modes,
            source._dz / SPEED_OF_LIGHT,
            zmin=-source.window_behind,
            boundaries={"z": "open", "r": "reflective"},
            use_all_mpi_ranks=False,
            verbose_level=0,
        )
        simulation.add_new_species(
            q=-e,
            m=m_e,
            n=source.density,
            dens_func=profile,
            p_nz=along_z,
            p_nr=along_r,
            p_nt=along_theta,
            p_zmin=source.ramp_start,
        )
        add_laser_pulse(simulation, laser)
        simulation.set_moving_window(v=SPEED_OF_LIGHT)
    # FFTW else measures which plan is the fastest, and plans differ in their last bits.
    for transformer in simulation.fld.trans:
        buffers = [np.zeros_like(transformer.spect_buffer_r) for _ in range(2)]
        for name, direction in {"fft": "FFTW_FORWARD", "ifft": "FFTW_BACKWARD"}.items():
            plan = pyfftw.FFTW(
                *buffers,
                axes=(0,),
                direction=direction,
                flags=("FFTW_ESTIMATE", "FFTW_UNALIGNED"),
                threads=1,
            )
            setattr(transformer.fft, name, plan)
    return simulation


def _not_installed(error: ImportError) -> ImportError:
    return ImportError(
        f"the simulation needs FBPIC, which cannot be imported ({error}); "
        "pip install 'insituml[fbpic]'"
    )
