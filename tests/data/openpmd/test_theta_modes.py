"""Azimuthal modes on a Cartesian grid, against closed forms."""

import numpy as np
import pytest

from insituml.data.openpmd.theta_modes import scalar_to_cartesian, to_cartesian

R = 0.1 * (np.arange(20) + 0.5)
"""Radii as FBPIC places them: half a cell off the axis."""
X = np.linspace(-1.3, 1.3, 9)
Y = np.linspace(-1.2, 1.3, 6)
FIELDS = {
    # name: (Er, Et) by mode index, as functions of r; (Ex, Ey) as functions of x, y
    "uniform along x": ({1: 1.0}, {2: -1.0}, lambda x, y: (1, 0)),
    "uniform along y": ({2: 1.0}, {1: 1.0}, lambda x, y: (0, 1)),
    "radial": ({0: R}, {}, lambda x, y: (x, y)),
    "rotating": ({}, {0: R}, lambda x, y: (-y, x)),
    "quadrupole": ({3: R}, {4: -R}, lambda x, y: (x, -y)),
    "skew quadrupole": ({4: R}, {3: R}, lambda x, y: (y, x)),
}


def modes(by_index: dict) -> np.ndarray:
    """Return five modes at three z, with the z-th multiplied by z + 1."""
    out = np.zeros((5, len(R), 3))
    for index, of_r in by_index.items():
        out[index] = np.multiply.outer(of_r * np.ones_like(R), [1, 2, 3])
    return out


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("points", [(X, Y), (np.array([0.0, 0.01]), np.array([-0.02, 0.0]))])
def test_fields_linear_in_x_and_y_are_exact(name: str, points: tuple) -> None:
    radial, azimuthal, expected = FIELDS[name]
    x, y = points
    out = to_cartesian(modes(radial), modes(azimuthal), modes({0: 7.0}), R, x, y)
    assert out.shape == (3, len(x), len(y), 3)
    plane = np.broadcast_arrays(*expected(x[:, None], y), np.empty((len(x), len(y))))[:2]
    for component, values in zip(out, [*plane, 7 * np.ones_like(plane[0])], strict=True):
        np.testing.assert_allclose(component, np.multiply.outer(values, [1, 2, 3]), atol=1e-12)


def test_a_plane_wave_in_x_converges_with_the_square_of_the_spacing() -> None:
    def error(radii: int) -> float:
        r = (np.arange(radii) + 0.5) * 2 / radii
        theta = 2 * np.pi * np.arange(64) / 64
        wave = np.sin(r[:, None] * np.cos(theta) + 0.3)  # F(x) = sin(x + 0.3), all along z
        spectrum = np.fft.rfft(wave, axis=1) / 64
        stored = [spectrum[:, 0].real]
        for m in range(1, 20):
            stored += [2 * spectrum[:, m].real, -2 * spectrum[:, m].imag]
        out = scalar_to_cartesian(np.array(stored)[:, :, None], r, X, Y)
        return float(np.abs(out[..., 0] - np.sin(X + 0.3)[:, None]).max())

    coarse, fine = error(20), error(80)
    assert 0 < fine < coarse / 10 < 1e-3


def test_radii_that_begin_on_the_axis() -> None:
    r = np.arange(20) * 0.1
    stored = np.zeros((3, 20, 1))
    stored[0, :, 0], stored[2, :, 0] = 5.0, r
    out = scalar_to_cartesian(stored, r, X, Y)
    np.testing.assert_allclose(out[..., 0], np.broadcast_to(5 + Y, (9, 6)), atol=1e-12)


def test_outside_is_zero_and_the_edge_is_not() -> None:
    edge = np.array([R[-1], 2.0])
    out = to_cartesian(modes({0: 1.0}), modes({}), modes({0: 1.0}), R, edge, np.zeros(1))
    assert out[0, :, 0, 0].tolist() == [1.0, 0.0]
    assert out[2, :, 0, 0].tolist() == [1.0, 0.0]


def test_single_precision_stays() -> None:
    parts = [modes({0: R}).astype(np.float32)] * 3
    assert to_cartesian(*parts, R, X, Y).dtype == np.float32
    assert scalar_to_cartesian(parts[0], R, X, Y).dtype == np.float32


@pytest.mark.parametrize(
    "shape, r, message",
    [
        ((4, 20, 3), R, "do not fit 20 radii"),
        ((5, 19, 3), R, "do not fit 20 radii"),
        ((5, 20, 3), R[::-1], "ascend"),
        ((5, 20, 3), R - 1, "ascend"),
    ],
)
def test_modes_and_radii_that_do_not_fit(shape: tuple, r: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scalar_to_cartesian(np.zeros(shape), r, X, Y)


def test_components_of_different_shapes() -> None:
    with pytest.raises(ValueError, match="expected one shape for all"):
        to_cartesian(modes({}), modes({})[:3], modes({}), R, X, Y)
