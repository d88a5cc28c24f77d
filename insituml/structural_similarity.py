"""Structural similarity (SSIM) of samples in two and three dimensions, as torchmetrics computes it.

References
----------
Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
Transactions on Image Processing 13 (2004).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

WINDOW = 7
"""Points along each axis of the window of equal weights over which means and variances go."""


def has_similarity(sample_shape: Sequence[int]) -> bool:
    """Return whether samples ``(components, ...)`` have two or three axes that hold the window."""
    return len(sample_shape) in (3, 4) and min(sample_shape[1:]) >= WINDOW


def structural_similarity(decoded: Tensor, original: Tensor, value_range: float = 1.0) -> Tensor:
    """Mean SSIM over the windows of each sample and component; 1 is equality.

    Parameters
    ----------
    decoded, original
        ``(n, components, ...)`` with two or three axes.
    value_range
        Of all values: what is small against it counts as equal. Divide each component by its own
        where they differ.

    Returns
    -------
    Tensor
        ``(n, components)``, differentiable.

    Raises
    ------
    ValueError
        If the samples have another number of axes, or are smaller than the window.
    """
    shape = tuple(original.shape[1:])
    if not has_similarity(shape):
        raise ValueError(
            f"samples of shape {shape} have no structural similarity: it needs (components, ...) "
            f"with two or three axes of at least {WINDOW} points; choose larger chunks"
        )
    # Importing it takes two seconds, which few commands need.
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, everywhere = structural_similarity_index_measure(
        decoded,
        original,
        gaussian_kernel=False,  # 11 × 11 × 11 points of a Gaussian take four times as long
        kernel_size=WINDOW,
        data_range=value_range,
        reduction="none",
        return_full_image=True,
    )
    return everywhere.flatten(start_dim=2).mean(dim=2)
