"""Points in eight clusters with one-hot labels, and points on circles."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

# Clockwise from the upper left: the corners of a regular octagon, 2.4142 = 1 + √2.
CENTRES = (
    (-2.4142, 1.0),
    (-1.0, 2.4142),
    (1.0, 2.4142),
    (2.4142, 1.0),
    (2.4142, -1.0),
    (1.0, -2.4142),
    (-1.0, -2.4142),
    (-2.4142, -1.0),
)
NCLUSTERS = len(CENTRES)

LABELS = {
    "all": (0, 1, 2, 3, 4, 5, 6, 7),
    "some": (0, 0, 0, 0, 1, 1, 2, 3),
    "none": (0, 0, 0, 0, 0, 0, 0, 0),
}
"""The label of each centre, in the order of ``CENTRES``."""


def generate_toy8(
    label_kind: str,
    npoints: int,
    scale: float = 0.04,
    seed: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Draw the same number of points from each of eight Gaussians on a regular octagon.

    The points come shuffled, so that every batch mixes the clusters. They are drawn on the CPU
    from a generator of their own: the global random state stays as it is, and one seed gives the
    same bits for every device.

    Parameters
    ----------
    label_kind
        ``"all"``: each cluster has its own label, 0 to 7, clockwise from the upper left;
        ``"some"``: in the same order 0, 0, 0, 0, 1, 1, 2, 3; ``"none"``: all have label 0.
    npoints
        Points in all; a multiple of 8.
    scale
        Variance of each Gaussian along each axis.
    seed
        None: fresh entropy in every call.
    device
        Where the returned tensors live.

    Returns
    -------
    X : Tensor
        Positions, float32, shape ``(npoints, 2)``.
    Y : Tensor
        One-hot labels, float32, shape ``(npoints, 8)`` for every ``label_kind``.

    Raises
    ------
    ValueError
        If ``label_kind`` is none of the above, ``npoints`` is no positive multiple of 8, or
        ``scale`` is negative.
    """
    if label_kind not in LABELS:
        raise ValueError(f"label_kind is {label_kind!r}; expected one of {', '.join(LABELS)}")
    if npoints < 1 or npoints % NCLUSTERS:
        nearest = max(1, round(npoints / NCLUSTERS)) * NCLUSTERS
        raise ValueError(
            f"npoints is {npoints}; expected a positive multiple of {NCLUSTERS}, the same number "
            f"of points in each cluster: try {nearest}"
        )
    if scale < 0:
        raise ValueError(f"scale is {scale}; expected a variance, 0 or more")
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)

    cluster = torch.randperm(npoints, generator=generator) % NCLUSTERS
    noise = torch.randn(npoints, 2, generator=generator)
    X = torch.tensor(CENTRES)[cluster] + math.sqrt(scale) * noise
    Y = one_hot(torch.tensor(LABELS[label_kind])[cluster], NCLUSTERS).float()
    return X.to(device), Y.to(device)


def points_on_circle(radius: float, npoints: int) -> Tensor:
    """Return points at equal distances on a circle around the origin.

    Parameters
    ----------
    radius
        Radius of the circle.
    npoints
        Number of points; the first is ``(radius, 0)``, the others follow anticlockwise, none
        twice.

    Returns
    -------
    Tensor
        Positions, float32, shape ``(npoints, 2)``.
    """
    angle = torch.arange(npoints) * (2 * math.pi) / npoints
    return radius * torch.stack([angle.cos(), angle.sin()], dim=1)


def generate_fake_toy(npoints: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Lay points on a small circle around each of the eight centres: no randomness at all.

    A stand-in for ``generate_toy8("all", npoints)`` in tests and plots. The circles have radius
    0.4, two standard deviations of the default Gaussians. Point i belongs to cluster i modulo 8:
    every batch mixes the clusters, and any number of points will do.

    Parameters
    ----------
    npoints
        Points in all.
    device
        Where the returned tensors live.

    Returns
    -------
    X : Tensor
        Positions, float32, shape ``(npoints, 2)``.
    Y : Tensor
        One-hot labels, float32, shape ``(npoints, 8)``.
    """
    point = torch.arange(npoints)
    cluster = point % NCLUSTERS
    circle = points_on_circle(0.4, math.ceil(npoints / NCLUSTERS))
    X = torch.tensor(CENTRES)[cluster] + circle[point // NCLUSTERS]
    return X.to(device), one_hot(cluster, NCLUSTERS).float().to(device)
