"""Orthonormal bases of what layers have seen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def condensed(parts: Iterable[Tensor]) -> Tensor:
    """Return a matrix X with the same ``X Xᵀ`` as all parts side by side, in float64.

    Parameters
    ----------
    parts
        ``(features, columns)`` each, at least one; only one is held at a time.

    Returns
    -------
    Tensor
        ``(features, columns)``, with no more columns than features.
    """
    total: Tensor | None = None
    for part in parts:
        part = part.double()
        total = part if total is None else torch.cat([total, part], dim=1)
        if total.shape[1] > total.shape[0]:
            # Xᵀ = Q R, so X Xᵀ = Rᵀ R: nothing is squared, and small directions survive.
            total = torch.linalg.qr(total.mT, mode="r").R.mT
    if total is None:
        raise ValueError("there is nothing to condense; pass at least one matrix")
    return total


def extended_basis(basis: Tensor, columns: Tensor, threshold: float, limit: int) -> Tensor:
    """Add the fewest directions with which the basis holds a share of the columns' energy.

    With ``‖·‖`` the Frobenius norm, M the basis and X the columns, the leading k left singular
    vectors U of ``X − M Mᵀ X`` are added, with the smallest k such that
    ``‖M Mᵀ X‖² + ‖U Uᵀ X‖² ≥ threshold ‖X‖²``.

    Parameters
    ----------
    basis
        ``(features, size)``, orthonormal columns; the size may be 0.
    columns
        ``(features, m)``.
    threshold
        In (0, 1]; 1 spans the columns entirely.
    limit
        Largest size of the new basis; one that is larger already stays as it is.

    Returns
    -------
    Tensor
        ``(features, new size)``, float64.

    References
    ----------
    Saha, Garg & Roy, "Gradient projection memory for continual learning", ICLR 2021, eq. 5 and 9.
    """
    basis, columns = basis.double(), columns.double()
    residual = columns - basis @ (basis.mT @ columns)
    directions, singular, _ = torch.linalg.svd(residual, full_matrices=False)
    total = columns.square().sum()
    # Directions that are rounding would freeze what no sample has used.
    noise = torch.finfo(torch.float64).eps * max(columns.shape) * total.sqrt()
    energy = singular.square()
    held = total - energy.sum()
    missing = held + energy.cumsum(0) - energy < threshold * total
    count = int((missing & (singular > noise)).sum())
    count = max(0, min(count, limit - basis.shape[1]))
    if count == 0:
        return basis
    # Once more orthogonal to the old basis, which rounding may have spoilt.
    added = directions[:, :count]
    added = torch.linalg.qr(added - basis @ (basis.mT @ added)).Q
    return torch.cat([basis, added], dim=1)
