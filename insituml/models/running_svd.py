"""A singular value decomposition of rows that come in blocks and are then forgotten.

The update of Brand (2002) and Ross et al. (2008): new rows are split into their part within the
basis so far and a remainder, and a small matrix that holds both is decomposed. Memory does not
grow with the rows. Rows are not centred: normalised fields have a mean of zero.

Scikit-learn's ``IncrementalPCA`` decomposes basis and block, stacked, as a whole: on blocks of 10
rows of 24,576 numbers with 64 components that takes twenty times as long for the same error. It
also keeps float64 throughout, and its first block must hold as many rows as there are components.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

NEGLIGIBLE = 16 * torch.finfo(torch.float32).eps
"""Singular values below this share of the largest are rounding, and count as none."""
SLANTED = 1e-5
"""Overlap with the basis above which a new direction is made orthogonal to it once more."""
STRAIGHTEN_EVERY = 1024
"""Rows after which the basis, by then off by a few roundings, is made orthonormal again."""


@dataclass(frozen=True)
class RunningSVD:
    """What is known of all rows so far: ``singular_values[:, None] * basis``, up to a rotation.

    Parameters
    ----------
    basis
        ``(rank, d)`` float32: right singular vectors, the strongest first; rows of zeros where
        fewer directions than ``rank`` were seen.
    singular_values
        ``(rank,)`` float64, descending; 0 where the basis is.
    count
        int64 scalar: rows seen.
    discarded
        float64 scalar: energy (sum of squares) of all that did not fit the rank, update by update.
        For the matrix A of all rows, 0 ⪯ AᵀA − BᵀS²B, whose trace this is (up to rounding). So
        squared singular values are too small by at most this, and projecting A on the first k
        directions loses at most this more than projecting it on its own first k.
    """

    basis: Tensor
    singular_values: Tensor
    count: Tensor
    discarded: Tensor


def empty(dimension: int, components: int, oversampling: int | None = None) -> RunningSVD:
    """Return the decomposition of no rows.

    Parameters
    ----------
    dimension
        Numbers in a row.
    components
        Directions that are wanted.
    oversampling
        Directions kept beside these, so that one that is weak at first is not lost before it grows
        strong; None: as many again. At most ``dimension`` are kept in all.

    Raises
    ------
    ValueError
        If a number is too small.
    """
    more = components if oversampling is None else oversampling
    if dimension < 1 or components < 1 or more < 0:
        raise ValueError(
            f"dimension is {dimension}, components {components}, oversampling {more}; expected at "
            "least 1, 1 and 0"
        )
    rank = min(components + more, dimension)
    return RunningSVD(
        torch.zeros(rank, dimension),
        torch.zeros(rank, dtype=torch.float64),
        torch.zeros((), dtype=torch.int64),
        torch.zeros((), dtype=torch.float64),
    )


def update(state: RunningSVD, rows: Tensor) -> RunningSVD:
    """Return the decomposition of all rows so far and these.

    Parameters
    ----------
    state
        So far; not changed.
    rows
        ``(n, d)`` float, on the same device. Many at once are taken in parts, as many as the rank
        at a time.

    Raises
    ------
    ValueError
        If they are of another dimension, or hold a value that is not finite.
    """
    rank, dimension = state.basis.shape
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise ValueError(f"rows have shape {tuple(rows.shape)}; expected (n, {dimension})")
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("rows hold NaN or infinity, which would spoil all that was seen before")
    for block in rows.detach().to(state.basis.dtype).split(max(rank, 16)):
        state = _with_block(state, block)
    return state


def _with_block(state: RunningSVD, rows: Tensor) -> RunningSVD:
    basis, rank = state.basis, len(state.basis)
    within = rows @ basis.T
    beside = rows - within @ basis
    # Once more: what rounding left of the basis in the remainder.
    again = beside @ basis.T
    beside = beside - again @ basis
    directions, triangle = torch.linalg.qr(beside.T)
    overlap = basis @ directions
    if bool(overlap.abs().max() > SLANTED):
        # Rows that the basis all but holds leave rounding, whose direction is any.
        again = again + (overlap @ triangle).T
        directions, more = torch.linalg.qr(directions - basis.T @ overlap)
        triangle = more @ triangle
    size = rank + directions.shape[1]
    small = basis.new_zeros(rank + len(rows), size, dtype=torch.float64)
    small[:rank, :rank] = torch.diag(state.singular_values)
    small[rank:, :rank] = within.double() + again.double()
    small[rank:, rank:] = triangle.T
    _, strengths, rotation = torch.linalg.svd(small, full_matrices=False)
    kept = strengths[:rank].clone()
    kept[kept <= NEGLIGIBLE * strengths[0]] = 0
    turn = (rotation[:rank] * (kept > 0)[:, None]).to(basis.dtype)
    turned = turn[:, :rank] @ basis + turn[:, rank:] @ directions.T
    count = state.count + len(rows)
    if int(count) // STRAIGHTEN_EVERY != int(state.count) // STRAIGHTEN_EVERY:
        turned = _straightened(turned, kept > 0)
    discarded = state.discarded + strengths.square().sum() - kept.square().sum()
    return replace(state, basis=turned, singular_values=kept, count=count, discarded=discarded)


def _straightened(basis: Tensor, used: Tensor) -> Tensor:
    """Return an almost orthonormal basis with its error squared: a Newton step."""
    excess = basis @ basis.T - torch.diag(used.to(basis.dtype))
    return basis - 0.5 * excess @ basis


def aligned(new: Tensor, old: Tensor) -> Tensor:
    """Turn a basis within its own span as near to another one as it comes (Procrustes).

    Coordinates on it change no more than the span requires: not at all where it is the old one.

    Parameters
    ----------
    new, old
        ``(k, d)`` each.

    Returns
    -------
    Tensor
        ``(k, d)``: ``R @ new`` with the orthogonal R that makes ‖R @ new − old‖ smallest.
    """
    if new.shape != old.shape:
        raise ValueError(f"new is {tuple(new.shape)}, old {tuple(old.shape)}; expected one shape")
    return turning(new, old) @ new


def turning(new: Tensor, old: Tensor) -> Tensor:
    """Return the orthogonal R, ``(k, k)``, by which :func:`aligned` turns a basis."""
    left, _, right = torch.linalg.svd((old @ new.T).double())
    return (left @ right).to(new.dtype)
