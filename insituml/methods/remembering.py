"""What methods share that keep samples of past tasks in a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from insituml.data.task import Batch, Task
from insituml.learner import ContinualLearner
from insituml.memory import Memory
from insituml.methods.base import Method
from insituml.methods.copying import copied
from insituml.methods.encoding import encoded, features, follow, losses


class Remembering(Method):
    """Abstract: offer the samples of each task to a memory, whatever its kind.

    Each kind takes what it wants of them: batch by batch as they are observed, or from the whole
    task when it ends.

    Parameters
    ----------
    memory_size
        Samples in the memory; None: ``memory`` says how many bytes it may have.
    memory
        Makes the memory from ``memory_size`` and ``generator``: one of the kinds in
        :mod:`insituml.memory`, as ``functools.partial(LossAwareMemory, exponent=2.0)``.
    store
        ``"input"``: samples as they are. ``"latent"``: their latents at the end of their task;
        where the learner's own observation of new samples moves its latents, these go along.
    batched
        Evaluate losses for the memory by ``vmap``; False takes samples one by one, where ``vmap``
        cannot batch the loss.
    generator
        Chooses the samples stored and drawn.

    Raises
    ------
    ValueError
        If ``store`` is unknown, and as in the memory.
    """

    def __init__(
        self,
        memory_size: int | None,
        memory: Callable[..., Memory],
        store: str = "input",
        batched: bool = True,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__(generator=generator)
        if store not in ("input", "latent"):
            raise ValueError(f"store is {store!r}; expected input or latent")
        self.memory = memory(memory_size, generator=generator)
        self.store = store
        self.batched = batched
        self.waits = store == "latent"
        """Whether samples are offered when their task ends, not as they are observed."""
        self.task = 0
        """Task that is being learned; between tasks, the next one."""

        self.replays_own_task = False
        """Whether replay begins within a task, not after it: where one is all there is."""

    @property
    def samples_replayed(self) -> int:
        return self.memory.samples_drawn

    def kept(self, learner: ContinualLearner, samples: Batch) -> Batch:
        """Return what is stored of samples: themselves, or their latents."""
        return (encoded(learner, samples[0]),) if self.store == "latent" else samples

    def remembers(self) -> bool:
        """Tell whether something may be replayed; nothing is in the first task, as a rule."""
        return (self.task > 0 or self.replays_own_task) and len(self.memory) > 0

    def past(self, size: int | None) -> Batch | None:
        """Return a draw from the samples of past tasks, as :meth:`Memory.sample` does.

        None where there are none: a small memory may have dropped all of them.
        """
        own = None if self.replays_own_task else self.task
        rows = self.memory.draw(size, without_task=own)
        return self.memory.read(rows) if len(rows) else None

    def past_tasks(self) -> list[int]:
        """Return the past tasks of which samples are stored, in order."""
        return [task for task in self.memory.counts() if task != self.task]

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        self.task = task.index

    @contextmanager
    def observing(self, learner: ContinualLearner) -> Iterator[None]:
        """Take stored latents along where what the learner observes moves its latents."""
        moves = type(learner).observe is not ContinualLearner.observe
        if self.store != "latent" or not moves or len(self.memory) == 0:
            yield
            return
        before = copied(learner)
        yield
        follow(self.memory, before, learner)

    def take_one_task(self) -> None:
        self.replays_own_task = True

    def of_simulation(self, simulation: int) -> None:
        self.memory.of_simulation(simulation)

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        if not self.waits:
            needed = self._losses(learner, batch)
            self.memory.add(self.kept(learner, batch), self.task, needed)

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        kept = self.kept(learner, task.train)
        if self.waits:
            self.memory.add(kept, task.index, self._losses(learner, task.train))
        described = features(learner, task.train) if self.memory.needs_features else None
        self.memory.finish_task(kept, task.index, described)
        self.task = task.index + 1

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "memory": self.memory.state_dict(), "task": self.task}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        super().load_state_dict(state, learner)
        self.memory.load_state_dict(state["memory"])
        self.task = state["task"]

    def _losses(self, learner: ContinualLearner, samples: Batch) -> Tensor | None:
        if not self.memory.needs_losses:
            return None
        return losses(learner, samples, batched=self.batched)
