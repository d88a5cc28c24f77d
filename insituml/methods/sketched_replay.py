"""Replay of samples of which only a latent and a random projection are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch, Task, sent
from insituml.estimates import number_of, numbers_of, sums_over
from insituml.learner import ContinualLearner
from insituml.memory import Memory, ReservoirMemory, Sketch
from insituml.memory.sketch import check_kind, numbers_of_sketch
from insituml.methods.encoding import BATCH, encoded
from insituml.methods.remembering import Remembering
from insituml.methods.sampling import check_sample_count, draw_size


class SketchedReplay(Remembering):
    """Hold the decoder to sketches of past samples, and the encoder to their latents.

    Of a past sample x are kept its latent z, by the model that had just learned its task, and its
    sketch ``s = S_k x``, a few numbers; see :class:`~insituml.memory.Sketch`. For samples drawn of
    these, with ``x̂ = decode(z)``, the loss is ::

        L + alpha · mean ‖S_k x̂ − s‖² / n  +  latent_weight · Σ ‖encode(x̂) − z‖² / Σ ‖z‖²

    The first term is an unbiased estimate of the mean squared error of x̂, whatever the learner's
    own loss. The second moves the encoder alone, x̂ being a constant there: the decoder answers to
    the sketches. Its denominator makes it independent of the latents' scale.

    Parameters
    ----------
    memory_size
        Samples in the memory, each with its latent and its sketch; None: ``memory`` says how many
        bytes it may have.
    replay_size
        Samples drawn with each batch; None: as many as the batch has.
    sketch_size
        Numbers in a sketch: a share of the sample's, above 0 and at most 1.0, or an integer.
    sketch
        ``"transform"`` or ``"gaussian"``, as in :class:`~insituml.memory.Sketch`. Each sample has
        a map S_k of its own: what one does not see, others do.
    alpha, latent_weight
        Weights of the two terms, 0 or more.
    memory
        As in :class:`~insituml.methods.ExperienceReplay`; its ``dtype="float16"`` halves latents
        and sketches.
    batched
        Evaluate losses for the memory by ``vmap``, as in
        :class:`~insituml.methods.ExperienceReplay`.
    generator
        Chooses the maps and the samples stored and drawn.

    Raises
    ------
    ValueError
        If a size or a weight is out of range or ``sketch`` is unknown; when a task begins, if the
        learner defines no ``encode`` and ``decode``.

    References
    ----------
    Simpson, Becker & Doostan, "In situ training of implicit neural compressors for scientific
    simulations via sketch-based regularization", arXiv:2511.02659.

    Notes
    -----
    The paper trains neural fields, whose input for a past snapshot is coordinates and a time,
    known for ever: it needs no latent, and its loss on the past is the first term. An autoencoder's
    input is the sample itself, which is gone, so that the latent stands for it here, and the
    second term is ours. Sketches of a task are taken when it ends, while its samples are at hand;
    in transit, of the sample of the task that the trainer keeps. Where the learner's own look at
    new samples moves its latents, as a running basis does, those stored are encoded anew from what
    they decoded to before: from files once a task, in transit at each arrival.
    """

    def __init__(
        self,
        memory_size: int | None,
        replay_size: int | None = None,
        sketch_size: float = 0.01,
        sketch: str = "transform",
        alpha: float = 1.0,
        latent_weight: float = 1.0,
        memory: Callable[..., Memory] = ReservoirMemory,
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(memory_size, memory, "latent", batched, generator=generator)
        check_sample_count("replay_size", replay_size)
        for name, weight in (("alpha", alpha), ("latent_weight", latent_weight)):
            if weight < 0:
                raise ValueError(f"{name} is {weight}; expected 0 or more")
        check_kind("sketch", sketch)
        numbers_of_sketch(sketch_size, 1)
        self.replay_size = replay_size
        self.sketch_size = sketch_size
        self.sketch = sketch
        self.alpha = alpha
        self.latent_weight = latent_weight
        self._seed = int(torch.randint(2**31, (), generator=generator))
        self._sketched = 0  # samples so far: the number of the next one's map

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        super().begin_task(learner, task)
        cls = type(learner)
        if cls.encode is ContinualLearner.encode or cls.decode is ContinualLearner.decode:
            raise ValueError(
                f"{cls.__name__} defines no encode(x) and decode(latent); sketched replay needs a "
                "learner that reconstructs samples from latents, such as an autoencoder"
            )

    def kept(self, learner: ContinualLearner, samples: Batch) -> Batch:
        """Return latents, sketches and the numbers of their maps."""
        x, device = samples[0], next(learner.parameters()).device
        maps = (self._sketched + numbers_of(samples)).to(torch.int32)
        self._sketched += number_of(samples)
        sketch = self._sketch_of(x)
        parts = zip(x.split(BATCH), maps.split(BATCH), strict=True)
        sketches = [sketch(part.to(device), numbers) for part, numbers in parts]
        return encoded(learner, x), torch.cat(sketches), maps.to(device)

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        if not self.remembers():
            return None
        rows = self.memory.draw(draw_size(self.replay_size, batch))
        latents, *sketched = self.memory.read(rows)
        past = (sent(latents, next(learner.parameters()).device), *sketched)

        def squares(past: Batch) -> list[Tensor]:
            z, sketches, maps = past
            decoded = learner.decode(z)
            missed = self._sketch_of(batch[0])(decoded, maps) - sent(sketches, decoded.device)
            if not self.latent_weight:
                return [missed.square().sum()]
            moved = learner.encode(decoded.detach()) - z
            return [part.square().sum() for part in (missed, moved, z)]

        missed, *of_latents = sums_over(past, squares, terms=3 if self.latent_weight else 1)
        loss = self.alpha * missed / (len(rows) * batch[0].shape[1:].numel())
        if of_latents:
            moved, power = of_latents
            power = power.clamp_min(torch.finfo(latents.dtype).tiny)
            loss = loss + self.latent_weight * (moved / power).to(loss.device)
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seed": self._seed, "sketched": self._sketched}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self._seed, self._sketched = state["seed"], state["sketched"]

    def _sketch_of(self, samples: Tensor) -> Sketch:
        shape = samples.shape[1:]
        size = numbers_of_sketch(self.sketch_size, shape.numel())
        return Sketch(shape, size, self.sketch, self._seed)
