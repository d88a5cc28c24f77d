"""Linear reconstruction from the principal components of all samples seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from insituml.data.task import Batch
from insituml.learner import ContinualLearner
from insituml.models.running_svd import RunningSVD, aligned, empty, update

USUAL_SIZE = 32


class PrincipalComponents(ContinualLearner):
    """Encode samples by their coordinates on a basis, which follows the samples as they come.

    Nothing is learned by gradients: :meth:`observe` updates a running singular value decomposition
    in one pass, and :class:`~insituml.methods.IncrementalPCA` is the method for it. The mean is not
    taken off: normalised fields have none. Before anything was observed the reconstruction is zero.

    The basis is turned, within its span, towards the one before, so that latents change no more
    than the span does: they are those of principal components up to a rotation.

    Parameters
    ----------
    input_shape
        Shape of one sample, of any number of axes.
    latent_size
        Components, at most as many as there are numbers in a sample; None: 32.
    oversampling
        Further directions that are followed, see :func:`~insituml.models.running_svd.empty`; None:
        as many again.

    Raises
    ------
    ValueError
        If a number is below 1, or 0 for ``oversampling``.
    """

    singular_basis: Tensor
    singular_values: Tensor
    count: Tensor
    discarded: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_size: int | None = None,
        oversampling: int | None = None,
    ) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        numbers = math.prod(self.input_shape)
        state = empty(numbers, USUAL_SIZE if latent_size is None else latent_size, oversampling)
        self.latent_size = min(USUAL_SIZE if latent_size is None else latent_size, numbers)
        self.basis = nn.Parameter(torch.zeros(self.latent_size, numbers), requires_grad=False)
        self.register_buffer("singular_basis", state.basis)
        self.register_buffer("singular_values", state.singular_values)
        self.register_buffer("count", state.count)
        self.register_buffer("discarded", state.discarded)

    @property
    def running(self) -> RunningSVD:
        """The decomposition of all samples so far."""
        return RunningSVD(self.singular_basis, self.singular_values, self.count, self.discarded)

    def observe(self, batch: Batch) -> None:
        """Take samples into the decomposition, and renew the basis."""
        state = update(self.running, batch[0].flatten(start_dim=1))
        with torch.no_grad():
            self.basis.copy_(aligned(state.basis[: self.latent_size], self.basis))
            self.singular_basis.copy_(state.basis)
            self.singular_values.copy_(state.singular_values)
            self.count.copy_(state.count)
            self.discarded.copy_(state.discarded)

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(start_dim=1) @ self.basis.T

    def decode(self, latent: Tensor) -> Tensor:
        return (latent @ self.basis).unflatten(1, self.input_shape)

    def decoder_entries(self) -> list[str]:
        return ["basis"]
