"""GEM's quadratic programme: the closest gradient that harms no past task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from insituml.gradients.projection import flat


def project_onto_cone(
    gradients: Sequence[Tensor], references: Sequence[Sequence[Tensor]], margin: float = 0.0
) -> None:
    """Replace g by the closest vector z with ``⟨z, rₖ⟩ ≥ 0`` for every reference, in place.

    Nothing changes where g satisfies all constraints. The dual has one variable a reference,
    ``min_v ½ vᵀ R Rᵀ v + gᵀ Rᵀ v, v ≥ margin``, and ``z = g + Rᵀ v``.

    Parameters
    ----------
    gradients
        Gradients of the new task, one tensor a parameter; overwritten.
    references
        Gradients of the loss on each past task, likewise.
    margin
        Lower bound of the dual variables where g violates a constraint, 0 or more: pushes z
        beyond the cone's edge, towards the past tasks.

    Notes
    -----
    The device is waited for once, for the K × (K + 1) inner products.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, eq. 11.
    """
    past = torch.stack([flat(reference) for reference in references])
    new = flat(gradients).to(past.device)
    products = (past @ torch.cat([past, new[None]]).T).cpu().double().numpy()
    gram, slopes = products[:, :-1], products[:, -1]
    # Infinite ones are left to the trainer, which tells at the end of the epoch.
    if (slopes >= 0).all() or not np.isfinite(products).all():
        return
    weights = nonnegative_minimum(gram, slopes + margin * gram.sum(axis=1)) + margin
    correction = torch.as_tensor(weights, dtype=past.dtype, device=past.device) @ past
    pieces = correction.split([g.numel() for g in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.add_(piece.view_as(gradient).to(gradient.device))


def nonnegative_minimum(gram: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Minimise ``½ vᵀ H v + cᵀ v`` over v ≥ 0.

    Parameters
    ----------
    gram
        H, symmetric and positive semidefinite, ``(K, K)``.
    slopes
        c in the range of H, ``(K,)``.

    Returns
    -------
    ndarray
        v, ``(K,)``.
    """
    from scipy.optimize import nnls

    # A short gradient is a constraint like any other: all are brought to length 1 first.
    norms = np.sqrt(np.diag(gram))
    solution = np.zeros(len(gram))
    used = norms > 0
    norms = norms[used]
    gram = gram[np.ix_(used, used)] / np.outer(norms, norms)
    # As least squares, ‖A v − b‖² with AᵀA = H and Aᵀb = −c; dependent directions drop out.
    lengths, directions = np.linalg.eigh(gram)
    kept = lengths > lengths[-1] * len(gram) * np.finfo(np.float32).eps
    roots, directions = np.sqrt(lengths[kept]), directions[:, kept]
    target = -(directions.T @ (slopes[used] / norms)) / roots
    solution[used] = nnls(roots[:, None] * directions.T, target)[0] / norms
    return solution
