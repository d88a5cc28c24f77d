"""From a loss matrix to numbers. R[k, j]: error on task j after training through task k.

Errors, not accuracies: lower is better throughout.
"""

from __future__ import annotations

import numpy as np

Matrix = np.ndarray


def final_average_error(matrix: Matrix) -> float:
    """Mean error over all tasks at the end, ``mean_j R[K-1, j]``."""
    return float(_checked(matrix)[-1].mean())


def forgetting(matrix: Matrix) -> float:
    """Mean over tasks j < K-1 of the final error minus the best since the task was learned.

    ``R[K-1, j] − min_{k ≥ j} R[k, j]``: never negative, 0 for a single task.

    References
    ----------
    Chaudhry et al., "Riemannian walk for incremental learning", ECCV 2018, eq. 3, for a loss.
    """
    matrix = _checked(matrix)
    earlier = range(len(matrix) - 1)
    return _mean([matrix[-1, j] - matrix[j:, j].min() for j in earlier])


def backward_transfer(matrix: Matrix) -> float:
    """Mean over tasks j < K-1 of ``R[K-1, j] − R[j, j]``; positive: learned, then lost.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, eq. 3.
    """
    matrix = _checked(matrix)
    return _mean([matrix[-1, j] - matrix[j, j] for j in range(len(matrix) - 1)])


def forward_transfer(matrix: Matrix, untrained: np.ndarray) -> float:
    """Mean over tasks j ≥ 1 of ``R[j-1, j] − b_j``; negative: earlier tasks helped.

    Parameters
    ----------
    matrix
        ``(K, K)``.
    untrained
        ``(K,)``, the error b_j of the untrained model on each task.

    References
    ----------
    Lopez-Paz & Ranzato, "Gradient episodic memory for continual learning", NeurIPS 2017, eq. 4.
    """
    matrix = _checked(matrix)
    if untrained.shape != matrix.shape[:1]:
        raise ValueError(
            f"untrained has shape {untrained.shape}; expected one error a task, {matrix.shape[:1]}"
        )
    return _mean([matrix[j - 1, j] - untrained[j] for j in range(1, len(matrix))])


def gap_closed(error: float, naive: float, joint: float) -> float:
    """``(naive − error) / (naive − joint)``: 0 is no help, 1 as good as joint training.

    NaN where joint training is no better than naive: there is no gap to close.
    """
    gap = naive - joint
    return (naive - error) / gap if gap > 0 else float("nan")


def _checked(matrix: Matrix) -> Matrix:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"the loss matrix has shape {matrix.shape}; expected one row and one column a task"
        )
    return matrix


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
