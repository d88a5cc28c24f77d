"""The base class users inherit: a model that knows its loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from insituml.data.task import Batch
from insituml.gradients import (
    QuadraticPenalty,
    diagonal_fisher,
    evaluation_mode,
    per_sample_losses,
    project,
    project_layerwise,
    reference_gradient,
)
from insituml.verified_file import write_verified

ReconstructionLoss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, ReconstructionLoss] = {
    "mse": nn.functional.mse_loss,
    "l1": nn.functional.l1_loss,
}


class CallOrderError(RuntimeError):
    """A step was asked for before the one it builds on."""


class ContinualLearner(nn.Module):
    """A model with its loss, which every continual-learning method can train.

    Subclasses define :meth:`encode` and :meth:`decode`; or :meth:`output` and :meth:`objective`;
    or override :meth:`loss` alone. The methods ask for nothing else, except that those which
    compare outputs (distillation) need :meth:`output`, and latent storage the first two.

    Parameters
    ----------
    loss
        Reconstruction loss, ``"mse"`` or ``"l1"``.
    onlineEWC
        Keep one running anchor with decaying Fisher information, not one anchor per task.
    ewc_lambda
        Strength of the penalty, for the caller's ``loss + ewc_lambda * ewc_loss()``.
    gamma
        Decay of the Fisher information in online EWC, in [0, 1].

    Raises
    ------
    ValueError
        If ``loss`` is unknown or ``gamma`` is outside [0, 1].

    Notes
    -----
    What the continual-learning interface below stores (anchors, reference gradients) is not part
    of ``state_dict()``: a checkpoint's weights load strictly into a fresh model.
    """

    constructor_arguments: dict[str, Any]
    metadata: dict[str, Any]

    generative = False
    """Whether figures show what :meth:`sample` draws in place of reconstructions."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Remembered so that a checkpoint can build the model again. A generator only draws the
        # initial weights, which a checkpoint replaces. (deepcopy calls this with no arguments.)
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        bound = signature.bind_partial(self, *args, **kwargs).arguments
        bound.pop(next(iter(bound)))
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                bound.update(bound.pop(parameter.name, {}))
            elif parameter.kind is parameter.VAR_POSITIONAL and args:
                bound = {"*": list(args), **kwargs}
                break
        bound.pop("generator", None)
        self.constructor_arguments = bound
        return self

    def __init__(
        self,
        *,
        loss: str = "mse",
        onlineEWC: bool = False,
        ewc_lambda: float = 1.0,
        gamma: float = 1.0,
    ) -> None:
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"loss is {loss!r}; expected one of {', '.join(LOSSES)}")
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"gamma is {gamma}; expected a decay between 0 and 1")
        self.reconstruction_loss = LOSSES[loss]
        self.onlineEWC = onlineEWC
        self.ewc_lambda = ewc_lambda
        self.gamma = gamma
        self._penalty: QuadraticPenalty | None = None
        self._reference: Tensor | None = None
        self._layerwise_reference: list[Tensor] | None = None

    # What a subclass defines

    def encode(self, x: Tensor) -> Tensor:
        """Map inputs ``(n, ...)`` to latents ``(n, latent_size)``."""
        raise NotImplementedError(f"{type(self).__name__} defines no encode(x)")

    def decode(self, latent: Tensor) -> Tensor:
        """Map latents ``(n, latent_size)`` to reconstructions ``(n, ...)``."""
        raise NotImplementedError(f"{type(self).__name__} defines no decode(latent)")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        """Return ``(encoded, decoded, indices)``; the indices of max-pooling, or None."""
        encoded = self.encode(x)
        return encoded, self.decode(encoded), None

    def output(self, batch: Batch) -> Tensor:
        """Return what the loss is computed from, ``(n, ...)``; by default the reconstruction."""
        return reconstruction(self, batch[0])

    def objective(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean loss of an output, a scalar; by default the reconstruction loss of the inputs."""
        return self.reconstruction_loss(output, batch[0].to(output.device))

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of a batch, a scalar: the :meth:`objective` of its :meth:`output`."""
        return self.objective(self.output(batch), batch)

    def loss_and_output(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both from one forward pass; from two where a subclass overrides :meth:`loss`."""
        if type(self).loss is not ContinualLearner.loss:
            return self.loss(batch), self.output(batch)
        output = self.output(batch)
        return self.objective(output, batch), output

    def sample(self, conditions: Batch, *, generator: torch.Generator) -> Tensor:
        """Draw inputs ``(n, ...)`` from the model, for generative replay.

        Parameters
        ----------
        conditions
            The columns of a batch after its inputs, each ``(n, ...)``.
        generator
            Source of all randomness.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot draw samples; generative replay needs a learner with "
            "sample(conditions, generator=...), such as a conditional flow"
        )

    def errors(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the learner is judged by, ``{metric: (n,)}``: the main metric first.

        Lower is better. By default the mean squared, mean absolute and largest absolute error of
        each sample's reconstruction: ``mse``, ``l1`` and ``linf``.
        """
        decoded = reconstruction(self, batch[0])
        difference = (decoded - batch[0].to(decoded.device)).flatten(start_dim=1)
        return {
            "mse": difference.square().mean(dim=1),
            "l1": difference.abs().mean(dim=1),
            "linf": difference.abs().amax(dim=1),
        }

    def latents(self, batch: Batch) -> Tensor:
        """Return the latents whose drift is measured, ``(n, size)``; by default the encoding."""
        return self.encode(batch[0])

    # The original interface: elastic weight consolidation

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

    # The original interface: averaged gradient episodic memory

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
        self._reference = torch.cat([g.reshape(-1).to(device) for g in gradients])
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
        gradients = gradients_of(trainable_parameters(self))
        pieces = self._reference.split([g.numel() for g in gradients])
        reference = [
            piece.view_as(g).to(g.device) for piece, g in zip(pieces, gradients, strict=True)
        ]
        project(gradients, reference)

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
        return loss

    def overwrite_grad_layerwise(self) -> None:
        """Project each parameter's gradient by itself; see :meth:`overwrite_grad`."""
        if self._layerwise_reference is None:
            raise CallOrderError(
                _missing_call("overwrite_grad_layerwise", "calculate_ref_gradients_layerwise")
            )
        project_layerwise(gradients_of(trainable_parameters(self)), self._layerwise_reference)

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

    # Files

    def description(self) -> dict[str, Any]:
        """Return what builds the same model again: class, constructor arguments, weights."""
        cls = type(self)
        return {
            "model_class": f"{cls.__module__}:{cls.__qualname__}",
            "model_arguments": self.constructor_arguments,
            "weights": dict(self.state_dict()),
        }

    def save_checkpoint(self, path: Path | str, name: str, after_task: int) -> Path:
        """Write the model below folder ``path``; :func:`insituml.load_checkpoint` reads it.

        Returns
        -------
        Path
            The file, ``<path>/<name>_after_task_<after_task>.pt``.
        """
        file = Path(path) / f"{name}_after_task_{after_task}.pt"
        return write_verified(file, {**self.description(), "metadata": {"task": after_task}})


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluate without gradients and in ``eval`` mode; the mode is restored afterwards."""
    with evaluation_mode(module), torch.no_grad():
        yield


def sample_losses(
    learner: ContinualLearner,
    batch: Batch,
    weights: Mapping[str, Tensor] | None = None,
    *,
    batched: bool = True,
) -> Tensor:
    """Return each sample's own loss, ``(n,)``, without a graph; ``weights`` replace its own.

    ``batched=False`` takes the samples one by one, for losses ``vmap`` cannot batch.
    """
    if type(learner).loss is not ContinualLearner.loss:
        return per_sample_losses(learner, _loss, batch, weights, batched=batched)
    # In eval mode no sample's output depends on its neighbours: one pass serves all of them.
    return per_sample_losses(learner, _objective, batch, weights, outputs=_output, batched=batched)


def _loss(learner: nn.Module, batch: Batch) -> Tensor:
    return learner.loss(batch)  # type: ignore[operator]


def _output(learner: nn.Module, batch: Batch) -> Tensor:
    return learner.output(batch)  # type: ignore[operator]


def _objective(learner: nn.Module, batch: Batch) -> Tensor:
    return learner.objective(batch[0], batch[1:])  # type: ignore[operator]


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training changes, in order."""
    return [p for p in module.parameters() if p.requires_grad]


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the parameters' gradients; one that is missing becomes zeros."""
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    return gradients


def reconstruction(learner: nn.Module, x: Tensor) -> Tensor:
    """Return the second of what ``forward(x)`` gives, the reconstruction.

    Raises
    ------
    TypeError
        If it is no tuple: of a bare tensor, ``[1]`` would silently be sample 1.
    """
    output = learner(x)
    if not isinstance(output, tuple):
        raise TypeError(
            f"{type(learner).__name__}.forward returned a {type(output).__name__}; expected "
            "(encoded, decoded, indices or None). Override output(batch) and objective(output, "
            "batch), or loss(batch) alone, for another objective."
        )
    return output[1]


def latent_loss(learner: ContinualLearner, latent: Tensor, loss: ReconstructionLoss) -> Tensor:
    """How far a stored latent z moves on the way round, ``loss(encode(decode(z)), z)``."""
    again = learner.encode(learner.decode(latent))
    return loss(again, latent.to(again.device))


def _inputs(dataset: Dataset[Any] | Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield the x of ``(x, label)`` or ``x`` items in batches; a tensor is a data set of rows."""
    # A loader draws from its generator even when nothing is shuffled: spare the global one.
    own = torch.Generator()
    for batch in DataLoader(dataset, batch_size, generator=own):  # type: ignore[arg-type]
        yield batch if isinstance(batch, Tensor) else batch[0]


def _missing_call(called: str, missing: str) -> str:
    return f"{called}() needs a reference gradient; call {missing}(reference_data) first"
