"""Exact diagonal of the empirical Fisher information."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from insituml.gradients.importance import mean_gradient_power
from insituml.gradients.loss_module import LossOf


def diagonal_fisher(
    module: nn.Module,
    loss: LossOf,
    samples: Sequence[Tensor],
    *,
    chunk_size: int = 16,
) -> dict[str, Tensor]:
    """Mean over samples of the squared per-sample gradient.

    ``F_i = 1/N Σ_n (∂ℓ(x_n, θ)/∂θ_i)²``. Squaring the gradient of a batch mean instead would
    shrink F several-fold and make it depend on the batch size.

    Parameters
    ----------
    module, loss, samples, chunk_size
        As in :func:`~insituml.gradients.mean_gradient_power`: linear and convolutional
        layers take a closed form, other parameters ``vmap``; ``chunk_size`` bounds the latter.

    Returns
    -------
    dict
        ``{parameter name: F}`` of every parameter that requires a gradient, on its device.

    Raises
    ------
    ValueError
        If there is no sample, or ``chunk_size`` is below 1.

    References
    ----------
    Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017, eq. 3.
    """
    return mean_gradient_power(module, loss, samples, 2, chunk_size=chunk_size)
