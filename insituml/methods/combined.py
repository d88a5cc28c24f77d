"""Several methods at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from insituml.data.mixing import IterationMixing
from insituml.data.task import Batch, Task
from insituml.learner import ContinualLearner
from insituml.methods.base import Method, NextEpoch


class Combined(Method):
    """Run methods side by side, such as EWC with replay, or A-GEM with distillation.

    Each hook runs method by method in the order given: batches are joined one after the other,
    penalties added up, gradients corrected in turn. Where a correction must have the last word,
    its method stands last.

    Parameters
    ----------
    methods
        Functions of ``generator`` that make the methods, as ``functools.partial(EWC, 100.0)``.
    generator
        Shared by all of them, in order.

    Raises
    ------
    ValueError
        If there is no method, more than one decides what is trained on (Joint, Cumulative), or one
        does not learn by gradients, which are what the others correct.
    """

    def __init__(
        self, methods: Sequence[Callable[..., Method]], *, generator: torch.Generator
    ) -> None:
        super().__init__(generator=generator)
        if not methods:
            raise ValueError("methods is empty; expected at least one to combine")
        self.methods = [make(generator=generator) for make in methods]
        schedulers = [m for m in self.methods if type(m).schedule is not Method.schedule]
        if len(schedulers) > 1:
            names = " and ".join(type(m).__name__ for m in schedulers)
            raise ValueError(f"{names} each decide what to train on; combine at most one of them")
        for method in self.methods:
            if not method.learns_by_gradient:
                raise ValueError(
                    f"{type(method).__name__} takes no gradients: it cannot be combined with "
                    "methods that correct them; train it alone"
                )
        self.scheduler = schedulers[0] if schedulers else self.methods[0]
        self.sequential = all(m.sequential for m in self.methods)
        self.keeps_all_data = any(m.keeps_all_data for m in self.methods)
        self.is_baseline = False
        self.is_bound = any(m.is_bound for m in self.methods)
        self.keeps_to_budget = all(m.keeps_to_budget for m in self.methods)
        self.learns_in_transit = all(m.learns_in_transit for m in self.methods)
        self.converges = any(m.converges for m in self.methods)
        self.needs_output = any(m.needs_output for m in self.methods)
        self.learns_sharded = all(m.learns_sharded for m in self.methods)
        self.encodes_at_end = any(m.encodes_at_end for m in self.methods)

    @property
    def samples_replayed(self) -> int:
        return sum(method.samples_replayed for method in self.methods)

    @property
    def note(self) -> str:
        return "; ".join(method.note for method in self.methods if method.note)

    def schedule(self, tasks: Sequence[Task], epochs: int) -> Iterator[tuple[Task, int]]:
        return self.scheduler.schedule(tasks, epochs)

    def mix_replayed(self, mix: IterationMixing) -> None:
        for method in self.methods:
            method.mix_replayed(mix)

    def begin_task(self, learner: ContinualLearner, task: Task) -> None:
        for method in self.methods:
            method.begin_task(learner, task)

    @contextmanager
    def observing(self, learner: ContinualLearner) -> Iterator[None]:
        with ExitStack() as stack:
            for method in self.methods:
                stack.enter_context(method.observing(learner))
            yield

    def join(self, learner: ContinualLearner, batch: Batch) -> Batch:
        for method in self.methods:
            batch = method.join(learner, batch)
        return batch

    def penalty(
        self, learner: ContinualLearner, batch: Batch, output: Tensor | None
    ) -> Tensor | None:
        total: Tensor | None = None
        for method in self.methods:
            added = method.penalty(learner, batch, output if method.needs_output else None)
            if added is not None:
                if not method.ties_parameters:
                    self.note_use(added)
                total = added if total is None else total + added.to(total.device)
        return total

    def note_use(self, value: Tensor) -> None:
        for method in self.methods:
            method.note_use(value)

    def spare_unused(self, learner: ContinualLearner) -> None:
        for method in self.methods:
            method.spare_unused(learner)

    def correct_gradients(self, learner: ContinualLearner) -> None:
        self.spare_unused(learner)
        for method in self.methods:
            method.correct_gradients(learner)

    def after_step(self, learner: ContinualLearner) -> None:
        for method in self.methods:
            method.after_step(learner)

    def take_one_task(self) -> None:
        for method in self.methods:
            method.take_one_task()

    def of_simulation(self, simulation: int) -> None:
        for method in self.methods:
            method.of_simulation(simulation)

    def observe(self, learner: ContinualLearner, batch: Batch) -> None:
        for method in self.methods:
            method.observe(learner, batch)

    def end_epoch(self, learner: ContinualLearner, task: Task) -> NextEpoch:
        asked = [method.end_epoch(learner, task) for method in self.methods]
        return NextEpoch(math.prod(a.rate_factor for a in asked), any(a.ended for a in asked))

    def end_task(self, learner: ContinualLearner, task: Task) -> None:
        for method in self.methods:
            method.end_task(learner, task)

    def state_dict(self) -> dict[str, Any]:
        states = [method.state_dict() for method in self.methods]
        for state in states:
            del state["generator"]
        return {**super().state_dict(), "methods": states}

    def load_state_dict(self, state: dict[str, Any], learner: ContinualLearner) -> None:
        for method, own in zip(self.methods, state["methods"], strict=True):
            method.load_state_dict({**own, "generator": state["generator"]}, learner)
        super().load_state_dict(state, learner)
