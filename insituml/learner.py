"""The base class users inherit: a model that knows its loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from insituml.checkpoint_file import CheckpointFile, write_checkpoint_file
from insituml.constructor_arguments import recorded_arguments, storable_arguments
from insituml.data.manifest import Manifest
from insituml.data.task import Batch
from insituml.gradients import per_sample_losses
from insituml.original_interface import OriginalInterface
from insituml.rebuilding import (
    RebuildError,
    build,
    build_without_memory,
    check_same_parts,
    shared_tensors,
    transient_dtypes,
)
from insituml.reconstruction_loss import LOSSES, reconstruction, sample_errors


class ContinualLearner(OriginalInterface):
    """A model with its loss, which every continual-learning method can train.

    Subclasses define :meth:`encode` and :meth:`decode`; or :meth:`output` and :meth:`objective`;
    or override :meth:`loss` alone. The methods ask for nothing else, except that those which
    compare outputs (distillation) need :meth:`output`, and latent storage the first two.

    Parameters
    ----------
    loss
        Reconstruction loss, ``"mse"``, ``"l1"`` or, of samples with two or three axes of at least 7
        points, ``"l1_ssim"``: :func:`~insituml.reconstruction_loss.l1_ssim`.
    **original
        ``onlineEWC``, ``ewc_lambda``, ``gamma`` of
        :class:`~insituml.original_interface.OriginalInterface`; the methods use none of them.

    Raises
    ------
    ValueError
        If ``loss`` is unknown or ``gamma`` is outside [0, 1].
    """

    constructor_arguments: dict[str, Any]
    metadata: dict[str, Any]

    # Names and shapes of the parts that a constructor was last seen to build again.
    _rebuilt: tuple[dict[str, Any], dict[str, str]] | None = None

    generative = False
    """Whether figures show what :meth:`sample` draws in place of reconstructions."""

    calls_same_modules = False
    """Whether :meth:`loss` calls the same modules in the same order whatever the samples are, and
    :meth:`output` and :meth:`objective` together the same as well: ranks that each hold a part
    (:mod:`insituml.sharding`) wait for each other at each module. It is asked of a class itself,
    not of those that it inherits from."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Remembered so that a checkpoint can build the model again. (deepcopy calls this with no
        # arguments.)
        self = super().__new__(cls)
        self.constructor_arguments = recorded_arguments(cls.__init__, self, args, kwargs)
        self.metadata = {}
        return self

    def __init__(self, *, loss: str = "mse", **original: Any) -> None:
        super().__init__(**original)
        if loss not in LOSSES:
            raise ValueError(f"loss is {loss!r}; expected one of {', '.join(LOSSES)}")
        self.reconstruction_loss = LOSSES[loss]

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
        return sample_errors(reconstruction(self, batch[0]), batch[0])

    def latents(self, batch: Batch) -> Tensor:
        """Return the latents whose drift is measured, ``(n, size)``; by default the encoding."""
        return self.encode(batch[0])

    def decoder_entries(self) -> list[str]:
        """Return the names, in ``state_dict()``, of what :meth:`decode` needs: nothing else.

        Whoever archives latents stores these with them. By default those that begin with
        ``decoder.``; all, where there are none.
        """
        names = list(self.state_dict())
        return [name for name in names if name.startswith("decoder.")] or names

    def decoder_state(self) -> dict[str, Tensor]:
        """Return the values of these entries: a learner may put 0 for numbers it does not use."""
        state = self.state_dict()
        return {name: state[name] for name in self.decoder_entries()}

    # What a subclass may say of itself

    def segments(self) -> list[nn.Module]:
        """Return the modules of which each may keep its inputs alone until the backward pass.

        Such as blocks that are called one after the other; none lies within another. They are
        called twice: they change nothing of their own, and what they draw comes from torch's
        global generator, which is set back for it, and not from a generator of their own. By
        default there are none, and activation checkpointing is refused.
        """
        return []

    # What a subclass may do beside learning by gradients

    def observe(self, batch: Batch) -> None:
        """Look at samples that come for the first time, before the first step on them.

        By default nothing is done. The trainers show each training sample once, whatever the
        method and however often a run was interrupted, with no graph recorded: what a learner
        keeps of them lies in buffers or in parameters that are not trained, so that its
        checkpoints have it.
        """

    # Files

    def description(self) -> dict[str, Any]:
        """Return what builds the same model again: class, constructor arguments, weights.

        Raises
        ------
        ValueError
            If it would not: an argument that a checkpoint cannot hold, or parts that the
            constructor does not build from its arguments.
        """
        cls = type(self)
        arguments, generators = storable_arguments(cls.__qualname__, self.constructor_arguments)
        weights = dict(self.state_dict())
        self._check_rebuilding(arguments, generators, weights)
        return {
            "model_class": f"{cls.__module__}:{cls.__qualname__}",
            "model_arguments": arguments,
            "model_generators": generators,
            "model_frozen": [
                name
                for name, parameter in self.named_parameters(remove_duplicate=False)
                if not parameter.requires_grad
            ],
            "model_transient": transient_dtypes(self),
            "weights": weights,
        }

    def _check_rebuilding(
        self, arguments: dict[str, Any], generators: list[str], weights: dict[str, Any]
    ) -> None:
        """Find out at saving, not at loading, whether the constructor builds this model again."""
        shared = shared_tensors(self)
        parts = {k: w.shape if _has_shape(w) else None for k, w in weights.items()}, shared
        if parts == self._rebuilt:
            return
        cls = type(self)
        try:
            try:
                again = build_without_memory(cls, arguments, generators, entries=len(weights))
            except RebuildError:  # some constructors compute with values, which meta has not
                again = build(cls, arguments, generators)
            check_same_parts(again, weights)
            if shared_tensors(again) != shared:
                raise RebuildError(
                    f"its arguments build a {cls.__qualname__} that shares its parameters "
                    f"otherwise ({shared_tensors(again) or 'none'}) than it does "
                    f"({shared or 'none'})"
                )
        except RebuildError as error:
            raise ValueError(
                f"a checkpoint of this {cls.__qualname__} could not be loaded again: {error}. Let "
                "the constructor take what changed since, such as the number of outputs, or build "
                "a new learner of that size and copy the weights"
            ) from error
        self._rebuilt = parts

    def save_checkpoint(
        self, path: Path | str, name: str, after_task: int, *, manifest: Manifest | None = None
    ) -> Path:
        """Write the model below folder ``path``; :func:`insituml.load_checkpoint` reads it.

        Parameters
        ----------
        path
            Folder of the checkpoints.
        name, after_task
            Of the file; tasks count from 0, and −1 is the untrained model.
        manifest
            What the data mean, which :func:`insituml.encode_field` needs to know; None: what the
            checkpoint said that this learner was loaded from, if anything.

        Returns
        -------
        Path
            The file, ``<path>/<name>_after_task_<after_task>.pt``.
        """
        known = self.metadata.get("manifest") if manifest is None else manifest.to_plain()
        metadata = (
            {"task": after_task} if known is None else {"task": after_task, "manifest": known}
        )
        file = Path(path) / f"{name}_after_task_{after_task}.pt"
        return write_checkpoint_file(file, CheckpointFile(self.description(), metadata))


def _has_shape(value: Any) -> bool:
    return isinstance(value, Tensor) and not is_lazy(value)


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
