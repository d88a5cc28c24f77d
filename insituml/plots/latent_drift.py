"""How far the latent of each task moves while later tasks are learned."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from insituml.plots.arrays import square_matrix
from insituml.plots.loss_matrix import loss_matrix_heatmap


def latent_drift_heatmap(
    drift: ArrayLike,
    *,
    task_names: Sequence[str] | None = None,
    title: str = "",
    metric_label: str = "relative change of the latent",
    vmin: float | None = 0.0,
    vmax: float | None = None,
    log: bool = False,
    notes: Sequence[str] = (),
) -> Figure:
    """Draw the latent drift of one method, as its loss matrix is drawn.

    Parameters
    ----------
    drift
        ``(K, K)``: how far the latents of task j (column) have moved after training through task
        k (row) from where they were when task j had just been learned. The diagonal is 0; before
        that, k < j, there is nothing to compare with: NaN.
    task_names
        K names; numbers from 0 without.
    title
        Above the figure.
    metric_label
        What the values are, with their unit.
    vmin, vmax
        Ends of the colour scale; hand in the same for several methods to compare them.
    log
        Logarithmic colours; needs ``vmin`` above 0 or None.
    notes
        Sentences below the figure.

    Raises
    ------
    ValueError
        If ``drift`` is not square, the names do not fit it or the colour scale is impossible.
    """
    drift = square_matrix(drift, "drift")
    return loss_matrix_heatmap(
        drift,
        task_names=task_names,
        title=title,
        metric_label=metric_label,
        vmin=vmin,
        vmax=vmax,
        log=log,
        column_label="latents of task",
        notes=notes,
    )
