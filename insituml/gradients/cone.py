"""GEM's quadratic programme: the closest gradient that harms no past task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from insituml.gradients.precision import as_real


def project_onto_cone(
    gradients: Sequence[Tensor], references: Sequence[Sequence[Tensor]], margin: float = 0.0
) -> None:
    """Replace g by the closest vector z with ``⟨z, rₖ⟩ ≥ 0`` for every reference, in place.

    Nothing changes where g satisfies all constraints. The dual has one variable a reference,
    ``min_v ½ vᵀ R Rᵀ v + gᵀ Rᵀ v, v ≥ margin``, and ``z = g + Rᵀ v``. With a margin, that is the
    projection of ``g + margin Σ rₖ``.

    Parameters
    ----------
    gradients
        Gradients of the new task, one tensor a parameter; overwritten. Complex ones count as two
        real ones.
    references
        Gradients of the loss on each past task, likewise.
    margin
        Lower bound of the dual variables where g violates a constraint, 0 or more: pushes z
        beyond the cone's edge, towards the past tasks.

    Notes
    -----
    In float64 and without squaring R: nearly opposite references leave R Rᵀ without digits. The
    device is waited for once, for a triangle of K + 1 rows.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, eq. 11.
    """
    past = torch.stack([_flat(reference) for reference in references], dim=1)
    new = _flat(gradients).to(past.device)
    # Of length 1 each: a short gradient is a constraint like any other.
    sizes = past.abs().amax(dim=0)
    past = past / sizes.clamp(min=torch.finfo(past.dtype).tiny)
    lengths = past.norm(dim=0)
    past = past / lengths.clamp(min=torch.finfo(past.dtype).tiny)
    unit = new.abs().max()
    new = new / unit.clamp(min=torch.finfo(past.dtype).tiny)
    shifted = new
    if margin > 0:
        shifted = new + past @ (margin * (sizes / unit) * lengths)
    slopes = past.T @ new
    basis, triangle = torch.linalg.qr(torch.cat([past, shifted[:, None]], dim=1))
    numbers = torch.cat([slopes, triangle.flatten()]).cpu().numpy()
    # Infinite ones are left to the trainer, which tells at the end of the epoch.
    if not np.isfinite(numbers).all() or (numbers[: len(references)] >= 0).all():
        return
    small = numbers[len(references) :].reshape(triangle.shape)
    nearest = nearest_in_dual_cone(small[:, :-1], small[:, -1])
    result = basis @ torch.from_numpy(nearest).to(basis) * unit
    places = [as_real(g) for g in gradients]
    for place, piece in zip(places, result.split([p.numel() for p in places]), strict=True):
        place.copy_(piece.view_as(place))


def nearest_in_dual_cone(references: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return the z closest to a vector with ``⟨z, rₖ⟩ ≥ 0`` for every column r.

    Parameters
    ----------
    references
        ``(d, K)``, columns of length 1 or 0.
    vector
        ``(d,)``.

    Returns
    -------
    ndarray
        z, ``(d,)``; no longer than the vector.
    """
    from scipy.optimize import nnls

    weights = nnls(references, -vector, maxiter=1000 * (1 + references.shape[1]))[0]
    # z is the part of the vector at right angles to what holds it back. References that are
    # nearly opposite have large weights, of whose difference few digits would be left.
    active = references[:, weights > 0]
    directions, lengths, _ = np.linalg.svd(active, full_matrices=False)
    kept = directions[:, lengths > np.finfo(float).eps * max(references.shape)]
    residual = vector - kept @ (kept.T @ vector)
    nearest: np.ndarray = residual - kept @ (kept.T @ residual)
    return nearest


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return all tensors as one float64 vector on the first one's device."""
    device = tensors[0].device
    parts = [as_real(t).to(device, torch.float64).reshape(-1) for t in tensors]
    return torch.cat(parts)
