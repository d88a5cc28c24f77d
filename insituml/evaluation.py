"""From checkpoints and held-out data to matrices of error and latent drift."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from insituml.data.task import Batch, Task
from insituml.gradients import evaluation_mode
from insituml.learner import ContinualLearner
from insituml.mean_errors import Errors, batches_of, mean_errors, own_errors
from insituml.physical_errors import PhysicalErrors, PhysicalScale
from insituml.reconstruction_loss import reconstruction, sample_errors


def held_out_errors(
    learner: ContinualLearner,
    task: Task,
    *,
    errors: Errors = own_errors,
    batch_size: int = 256,
) -> dict[str, float]:
    """Mean over a task's held-out samples of each error, in evaluation mode."""
    return mean_errors(learner, task.test, errors=errors, batch_size=batch_size)


def loss_matrix(
    learners: Sequence[ContinualLearner],
    tasks: Sequence[Task],
    *,
    errors: Errors = own_errors,
    batch_size: int = 256,
    progress: Callable[[], object] = lambda: None,
) -> dict[str, np.ndarray]:
    """Error of every learner on every task's held-out data.

    Parameters
    ----------
    learners
        Learner k was trained through task k.
    tasks
        The stream.
    errors
        Errors of each sample; by default those of ``learner.errors``, the main one first.
    batch_size
        Samples evaluated at once.
    progress
        Called after each learner.

    Returns
    -------
    dict
        ``{metric: R}``, R ``(len(learners), len(tasks))`` float64 with R[k, j] the mean error of
        learner k on task j.
    """
    return _matrices(
        (
            [held_out_errors(learner, task, errors=errors, batch_size=batch_size) for task in tasks]
            for learner in learners
        ),
        progress,
    )


def is_judged_by_reconstruction(learner: ContinualLearner) -> bool:
    """Return whether a learner is judged by its reconstructions, and not by errors of its own."""
    return type(learner).errors is ContinualLearner.errors


def held_out_physical_errors(
    learner: ContinualLearner,
    task: Task,
    scale: PhysicalScale,
    *,
    similarity: bool = False,
    batch_size: int = 256,
) -> dict[str, float]:
    """Errors of a task's reconstructions in its unit, then those of :func:`held_out_errors`.

    Parameters
    ----------
    learner
        One that :func:`is_judged_by_reconstruction`.
    task, scale
        The held-out samples, and what they mean.
    similarity
        Whether to compute SSIM, too, which takes several times as long as all the rest.
    batch_size
        Samples evaluated at once.

    Returns
    -------
    dict
        As :meth:`insituml.physical_errors.PhysicalErrors.numbers`; then ``mse``, ``l1`` and
        ``linf`` of the normalised samples, which are means over samples.
    """
    physical = PhysicalErrors(scale, similarity=similarity)

    def errors(learner: ContinualLearner, batch: Batch) -> dict[str, Tensor]:
        decoded = reconstruction(learner, batch[0])
        physical.update(batch[0], decoded)
        return sample_errors(decoded, batch[0])

    normalised = held_out_errors(learner, task, errors=errors, batch_size=batch_size)
    return physical.numbers() | normalised


def physical_loss_matrix(
    learners: Sequence[ContinualLearner],
    tasks: Sequence[Task],
    scales: Sequence[PhysicalScale],
    *,
    similarity: bool = True,
    batch_size: int = 256,
    progress: Callable[[], object] = lambda: None,
) -> dict[str, np.ndarray]:
    """Errors in physical units of every learner on every task's held-out data.

    Parameters
    ----------
    learners, tasks, batch_size, progress
        As for :func:`loss_matrix`; learners that :func:`is_judged_by_reconstruction`.
    scales
        What the samples of each task mean.
    similarity
        Whether to compute SSIM, where samples have it.

    Returns
    -------
    dict
        ``{metric: R}`` as from :func:`loss_matrix`, ``relative_l2`` first. SSIM is known of the
        last learner alone, NaN in the rows before it.
    """
    last = len(learners) - 1
    return _matrices(
        (
            [
                held_out_physical_errors(
                    learner,
                    task,
                    scale,
                    similarity=similarity and k == last,
                    batch_size=batch_size,
                )
                for task, scale in zip(tasks, scales, strict=True)
            ]
            for k, learner in enumerate(learners)
        ),
        progress,
    )


def _matrices(
    cells: Iterable[Sequence[Mapping[str, float]]], progress: Callable[[], object]
) -> dict[str, np.ndarray]:
    """Turn a row of named errors for each learner into a matrix for each name."""
    rows = []
    for row in cells:
        rows.append(row)
        progress()
    return {
        metric: np.array([[cell[metric] for cell in row] for row in rows]) for metric in rows[0][0]
    }


def latent_drift_matrix(
    learners: Sequence[ContinualLearner], tasks: Sequence[Task], *, batch_size: int = 256
) -> np.ndarray:
    """How far the latents of each task's held-out data moved since the task was learned.

    Returns
    -------
    ndarray
        ``(K, K)`` float64: D[k, j] is the root mean square of ``z_k(x) − z_j(x)`` over that of
        ``z_j(x) − mean z_j``; 0 on the diagonal, NaN where task j was not yet learned (k < j).
    """
    drift = np.full((len(tasks), len(tasks)), np.nan)
    for j, task in enumerate(tasks):
        at_home = _latents(learners[j], task, batch_size)
        spread = (at_home - at_home.mean(dim=0)).square().mean().sqrt()
        for k in range(j, len(tasks)):
            moved = (_latents(learners[k], task, batch_size) - at_home).square().mean().sqrt()
            # Without spread, a single sample perhaps, there is nothing to compare with: 0/0.
            drift[k, j] = float(moved / spread) if spread > 0 else np.nan
    return drift


def reconstruct(learner: ContinualLearner, inputs: Tensor, *, batch_size: int = 256) -> Tensor:
    """Reconstruct inputs in evaluation mode, batch by batch; the result is on the CPU."""
    with evaluation_mode(learner), torch.no_grad():
        batches = batches_of(learner, (inputs,), batch_size)
        parts = [reconstruction(learner, x).cpu() for (x,) in batches]
    return torch.cat(parts)


def draw_samples(
    learner: ContinualLearner,
    conditions: Batch,
    *,
    generator: torch.Generator,
    batch_size: int = 256,
) -> Tensor:
    """Draw a sample for each condition, in evaluation mode; the result is on the CPU."""
    with evaluation_mode(learner), torch.no_grad():
        batches = batches_of(learner, conditions, batch_size)
        return torch.cat([learner.sample(part, generator=generator).cpu() for part in batches])


def _latents(learner: ContinualLearner, task: Task, batch_size: int) -> Tensor:
    with evaluation_mode(learner), torch.no_grad():
        batches = batches_of(learner, task.test, batch_size)
        return torch.cat([learner.latents(batch).cpu().double() for batch in batches])
