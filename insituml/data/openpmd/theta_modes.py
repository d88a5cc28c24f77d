"""From azimuthal modes on a cylindrical grid (openPMD's thetaMode) to a Cartesian grid.

A field is stored as ``F(r, theta, z) = F_0 + sum_m (C_m cos(m theta) + S_m sin(m theta))``, in the
order ``F_0, C_1, S_1, C_2, S_2, ...``: openPMD standard 1.1, mesh attribute ``geometry``; Lifschitz
et al. 2009, "Particle-in-Cell modelling of laser-plasma interaction using Fourier decomposition".
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

EDGE = 1e-9
"""Part of the outermost radius by which rounding may put a point outside."""


def to_cartesian(
    modes_r: np.ndarray,
    modes_t: np.ndarray,
    modes_z: np.ndarray,
    r: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Put a vector field's cylindrical components onto a Cartesian grid, linear in the radius.

    Nearer to the axis than the innermost point, the field is interpolated to that point's mirror
    image beyond the axis. A field linear in x and y is exact.

    Parameters
    ----------
    modes_r, modes_t, modes_z
        Modes of the radial, azimuthal and longitudinal component, each ``(2 * modes - 1, nr, nz)``.
    r
        Radii of the points, ``(nr,)``, ascending, not negative.
    x, y
        Where the field is wanted: ``(nx,)`` and ``(ny,)``, in r's unit.

    Returns
    -------
    numpy.ndarray
        ``(3, nx, ny, nz)``: components x, y, z, in modes_r's dtype; 0 outside the largest radius.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or r is not ascending from 0 or above.
    """
    if not modes_r.shape == modes_t.shape == modes_z.shape:
        raise ValueError(
            f"modes of components r, t, z have shapes {modes_r.shape}, {modes_t.shape}, "
            f"{modes_z.shape}; expected one shape for all"
        )
    theta = np.arctan2(y, x[:, None]).ravel()
    # A unit vector along r or theta points the other way beyond the axis, one along z does not.
    transverse = _weights(modes_r, r, x, y, mirrored=-1.0)
    to_x, to_y = np.cos(theta)[:, None], np.sin(theta)[:, None]
    out = np.empty((3, x.size * y.size, modes_r.shape[2]), dtype=modes_r.dtype)
    radial, azimuthal = _apply(transverse, modes_r), _apply(transverse, modes_t)
    np.subtract(to_x * radial, to_y * azimuthal, out=out[0], casting="same_kind")
    np.add(to_y * radial, to_x * azimuthal, out=out[1], casting="same_kind")
    out[2] = _apply(_weights(modes_z, r, x, y, mirrored=1.0), modes_z)
    return out.reshape(3, x.size, y.size, -1)


def scalar_to_cartesian(
    modes: np.ndarray, r: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Put a scalar field, or the component along z alone, onto a Cartesian grid.

    Parameters and errors are those of :func:`to_cartesian`.

    Returns
    -------
    numpy.ndarray
        ``(nx, ny, nz)``, in the modes' dtype.
    """
    values = _apply(_weights(modes, r, x, y, mirrored=1.0), modes)
    return values.reshape(x.size, y.size, -1).astype(modes.dtype, copy=False)


def _weights(
    modes: np.ndarray, r: np.ndarray, x: np.ndarray, y: np.ndarray, mirrored: float
) -> csr_array:
    """Return what each stored value of one z contributes to each point: ``(nx * ny, modes * nr)``.

    ``mirrored`` is the sign that the component's unit vector gets beyond the axis.
    """
    count, radii, _ = modes.shape
    if count % 2 == 0 or r.shape != (radii,):
        raise ValueError(
            f"modes of shape {modes.shape} do not fit {r.size} radii; expected "
            f"(2 * modes - 1, {r.size}, nz)"
        )
    if radii < 2 or r[0] < 0 or np.any(np.diff(r) <= 0):
        raise ValueError(f"radii must be two or more and ascend from 0 or above; got {r}")
    distance = np.hypot(x[:, None], y).ravel()
    inside = distance <= r[-1] * (1 + EDGE)
    # Place 0 is the innermost point's mirror image.
    place = np.clip(np.searchsorted(r, distance, side="right"), 0, radii - 1)
    if r[0] == 0:
        place = np.maximum(place, 1)  # the axis is a point of its own
    points = np.concatenate([-r[:1], r])
    lower, upper = points[place], points[place + 1]
    share = (distance - lower) / (upper - lower)
    theta = np.arctan2(y, x[:, None]).ravel()
    values, columns = [], []
    for index in range(count):
        m = (index + 1) // 2
        turn = np.sin(m * theta) if index and index % 2 == 0 else np.cos(m * theta)
        turn = np.where(inside, turn, 0.0)
        beyond = np.where(place == 0, mirrored * (-1.0) ** m, 1.0)
        values += [turn * beyond * (1 - share), turn * share]
        columns += [index * radii + np.maximum(place - 1, 0), index * radii + place]
    rows = np.tile(np.arange(distance.size), len(values))
    entries = np.concatenate(values).astype(modes.dtype, copy=False)
    return csr_array(
        (entries, (rows, np.concatenate(columns))), shape=(distance.size, count * radii)
    )


def _apply(weights: csr_array, modes: np.ndarray) -> np.ndarray:
    """Sum the modes at each point: ``(points, nz)``."""
    return np.asarray(weights @ modes.reshape(-1, modes.shape[2]))
