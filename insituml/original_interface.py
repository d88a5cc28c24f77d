"""The interface of the older framework: EWC and A-GEM called by hand, on the learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from insituml.data.task import Batch
from insituml.gradients import (
    QuadraticPenalty,
    as_real,
    dense_gradients,
    diagonal_fisher,
    moving_parameters,
    project,
    project_layerwise,
    reference_gradient,
    trainable_parameters,
)
from insituml.reconstruction_loss import LOSSES, ReconstructionLoss, latent_loss, reconstruction


class CallOrderError(RuntimeError):
    """A step was asked for before the one it builds on."""


class OriginalInterface(nn.Module):
    """Abstract: what a learner can be asked to do by hand; the methods use the same functions.

    The parameters are attributes too: ``model.onlineEWC = True`` does as well.

    Parameters
    ----------
    onlineEWC
        Keep one running anchor with decaying Fisher information, not one anchor per task.
    ewc_lambda
        Strength of the penalty, for the caller's ``loss + ewc_lambda * ewc_loss()``.
    gamma
        Decay of the Fisher information in online EWC, in [0, 1].

    Raises
    ------
    ValueError
        If ``gamma`` is outside [0, 1].

    Notes
    -----
    What is stored here (anchors, reference gradients) is not part of ``state_dict()``: a
    checkpoint's weights load strictly into a fresh model.
    """

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]

    # Plain attributes, so no part of the weights; set on the instance by the first call.
    _penalty: QuadraticPenalty | None = None
    _reference: Tensor | None = None
    _reference_shapes: dict[str, torch.Size] | None = None
    _layerwise_reference: list[Tensor] | None = None
    _layerwise_shapes: dict[str, torch.Size] | None = None

    def __init__(
        self, *, onlineEWC: bool = False, ewc_lambda: float = 1.0, gamma: float = 1.0
    ) -> None:
        super().__init__()
        self.onlineEWC = onlineEWC
        self.ewc_lambda = ewc_lambda
        self.gamma = gamma

    @property
    def gamma(self) -> float:
        """Decay of the Fisher information in online EWC."""
        return self._gamma

    @gamma.setter
    def gamma(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"gamma is {value}; expected a decay between 0 and 1")
        self._gamma = value

    # Elastic weight consolidation

    def estimate_fisher(
        self,
        dataset: Dataset[Any] | Tensor,
        loss_func: ReconstructionLoss,
        is_mlp: bool = False,
        *,
        chunk_size: int = 16,
    ) -> dict[str, Tensor]:
        """Estimate the Fisher information on a task just learned and set an anchor here.

        Parameters
        ----------
        dataset
            Items are ``(x, label)`` or ``x``; labels are not used.
        loss_func
            ``loss_func(reconstruction, x) -> scalar``.
        is_mlp
            Flatten each x to a vector first.
        chunk_size
            As in :func:`~insituml.gradients.diagonal_fisher`.

        Returns
        -------
        dict
            ``{parameter name: tensor}``: the mean of squared per-sample gradients.

        Raises
        ------
        ValueError
            If the data set is empty.
        """
        parts = list(_inputs(dataset, batch_size=256))
        if not parts:
            raise ValueError("the data set is empty; estimate_fisher needs at least one sample")
        x = torch.cat(parts)
        if is_mlp:
            x = x.flatten(start_dim=1)

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            decoded = reconstruction(model, batch[0])
            return loss_func(decoded, batch[0].to(decoded.device))

        fisher = diagonal_fisher(self, loss, [x], chunk_size=chunk_size)
        self.consolidate(fisher)
        return fisher

    def consolidate(self, fisher: dict[str, Tensor]) -> None:
        """Anchor the parameters where they are, weighted by ``fisher``."""
        parameters = dict(self.named_parameters())
        # What the task did not use is held by nothing; a gradient of zeros would move it by
        # momentum and weight decay.
        fisher = {name: value for name, value in fisher.items() if bool(value.any())}
        if self._penalty is None:
            self._penalty = QuadraticPenalty.at_anchor(fisher, parameters)
        elif self.onlineEWC:
            self._penalty = self._penalty.with_moved_anchor(fisher, parameters, self.gamma)
        else:
            self._penalty = self._penalty.with_anchor(fisher, parameters)

    def ewc_loss(self) -> Tensor:
        """``½ Σ F (θ − θ*)²`` over all anchors; 0 before the first estimate."""
        if self._penalty is None:
            return torch.zeros((), device=next(self.parameters()).device)
        return self._penalty.value(dict(self.named_parameters()))

    # Averaged gradient episodic memory

    def calculate_ref_gradients(
        self,
        reference_data: Dataset[Any] | Tensor,
        loss_func: ReconstructionLoss = LOSSES["mse"],
        b_size: int = 64,
        store_encoded: bool = False,
    ) -> Tensor:
        """Store the gradient of the loss on samples of past tasks as one flat vector.

        Parameters
        ----------
        reference_data
            Items are ``(x, label)`` or ``x``; latents when ``store_encoded``.
        loss_func
            ``loss_func(reconstruction, x) -> scalar``.
        b_size
            Samples per forward pass.
        store_encoded
            The data are latents z: compare ``encode(decode(z))`` with z.

        Returns
        -------
        Tensor
            The mean loss on the reference data, detached.
        """
        loss, gradients = self._reference_of(reference_data, loss_func, b_size, store_encoded)
        device = gradients[0].device
        self._reference_shapes = self._trainable_shapes()
        self._reference = torch.cat([as_real(g).reshape(-1).to(device) for g in gradients])
        return loss

    def overwrite_grad(self) -> None:
        """Project ``p.grad`` in place when it conflicts with the stored reference gradient.

        Raises
        ------
        CallOrderError
            If :meth:`calculate_ref_gradients` was not called before.
        """
        if self._reference is None:
            raise CallOrderError(_missing_call("overwrite_grad", "calculate_ref_gradients"))
        shapes = list((self._reference_shapes or {}).values())
        pieces = self._reference.split([shape.numel() for shape in shapes])
        parts = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        self._project(project, parts)

    def calculate_ref_gradients_layerwise(
        self,
        reference_data: Dataset[Any] | Tensor,
        loss_func: ReconstructionLoss = LOSSES["mse"],
        b_size: int = 64,
        store_encoded: bool = False,
    ) -> Tensor:
        """Store the reference gradient per parameter; see :meth:`calculate_ref_gradients`."""
        loss, self._layerwise_reference = self._reference_of(
            reference_data, loss_func, b_size, store_encoded
        )
        self._layerwise_shapes = self._trainable_shapes()
        return loss

    def overwrite_grad_layerwise(self) -> None:
        """Project each parameter's gradient by itself; see :meth:`overwrite_grad`."""
        if self._layerwise_reference is None:
            raise CallOrderError(
                _missing_call("overwrite_grad_layerwise", "calculate_ref_gradients_layerwise")
            )
        self._project(project_layerwise, self._layerwise_reference, layerwise=True)

    def _trainable_shapes(self) -> dict[str, torch.Size]:
        # Complex parameters count as two real ones.
        return {n: as_real(p).shape for n, p in self.named_parameters() if p.requires_grad}

    def _project(
        self,
        projection: Callable[[list[Tensor], list[Tensor]], None],
        parts: list[Tensor],
        *,
        layerwise: bool = False,
    ) -> None:
        """Project the gradients of moving parameters for which there is a reference."""
        shapes = (self._layerwise_shapes if layerwise else self._reference_shapes) or {}
        reference = {name: as_real(r) for name, r in zip(shapes, parts, strict=True)}
        named = dict(self.named_parameters())
        names = {id(p): name for name, p in named.items() if name in reference}
        moving = [p for p in moving_parameters(named.values()) if id(p) in names]
        for parameter in moving:
            name = names[id(parameter)]
            if as_real(parameter).shape != reference[name].shape:
                raise ValueError(
                    f"parameter {name} has shape {tuple(parameter.shape)}, its reference gradient "
                    f"{tuple(reference[name].shape)}; calculate the reference gradients again"
                )
        with dense_gradients(moving) as gradients:
            projection(gradients, [reference[names[id(p)]] for p in moving])

    def _reference_of(
        self,
        reference_data: Dataset[Any] | Tensor,
        loss_func: ReconstructionLoss,
        b_size: int,
        store_encoded: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        parameters = trainable_parameters(self)
        device = parameters[0].device

        def loss(batch: Batch) -> Tensor:
            if store_encoded:
                return latent_loss(self, batch[0], loss_func)
            decoded = reconstruction(self, batch[0])
            return loss_func(decoded, batch[0].to(decoded.device))

        batches = ((x.to(device),) for x in _inputs(reference_data, b_size))
        return reference_gradient(loss, parameters, batches)


def _inputs(dataset: Dataset[Any] | Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield the x of ``(x, label)`` or ``x`` items in batches; a tensor is a data set of rows.

    A loader gives its own batches.
    """
    if isinstance(dataset, DataLoader):
        for batch in dataset:
            yield batch if isinstance(batch, Tensor) else batch[0]
        return
    # A loader draws from its generator even when nothing is shuffled: spare the global one.
    own = torch.Generator()
    for batch in DataLoader(dataset, batch_size, generator=own):  # type: ignore[arg-type]
        yield batch if isinstance(batch, Tensor) else batch[0]


def _missing_call(called: str, missing: str) -> str:
    return f"{called}() needs a reference gradient; call {missing}(reference_data) first"
