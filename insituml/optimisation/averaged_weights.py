"""An exponential moving average of the weights, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from insituml.gradients import wide_copy


class AveragedWeights:
    """The average of a learner's weights over the last steps, beside the weights themselves.

    After n steps weights wₖ count in proportion to ``decay^(n − k)``: what stood there before the
    first step counts for nothing, and after few steps the average is that of these. It goes on
    from task to task. Training does not depend on it.

    ``torch.optim.swa_utils.AveragedModel`` is not used: it begins with the first weights as if
    they had always been there, copies the whole model, and pairs parameters by their order, which
    changes where a model grows.

    Parameters
    ----------
    decay
        Share that each step leaves of the average, in (0, 1); about ``1 / (1 − decay)`` steps
        count.

    Raises
    ------
    ValueError
        If ``decay`` is out of its range.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"averaging is {decay}; expected above 0 and below 1, such as 0.999")
        self.decay = decay
        self._counts: dict[str, int] = {}  # of steps, by name of a parameter
        self._means: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, learner: nn.Module) -> None:
        """Take in the weights after a step; what is not trained is left out.

        A parameter that is new, or has another shape than before, begins where it is.
        """
        for name, parameter in _named(learner):
            mean = self._means.get(name)
            if not parameter.requires_grad:
                self._means.pop(name, None)
            elif mean is None or mean.shape != parameter.shape:
                self._begin(name, parameter)
            else:
                self._counts[name] += 1
                share = (1 - self.decay) / (1 - self.decay ** self._counts[name])
                mean.lerp_(parameter.detach().to(mean), share)

    def _begin(self, name: str, parameter: Tensor) -> None:
        self._means[name], self._counts[name] = wide_copy(parameter), 1

    def of(self, weights: dict[str, Any]) -> dict[str, Any]:
        """Return the learner's ``state_dict`` with averages where there are any."""
        mean = {n: m.to(weights[n].dtype) for n, m in self._means.items() if n in weights}
        return {**weights, **mean}

    @contextmanager
    def begun_anew_where_changed(self, learner: nn.Module) -> Iterator[None]:
        """Begin the average anew where weights are set otherwise than by steps meanwhile.

        What a method gives the learner at the end of a task is what is to be evaluated.
        """
        before = {name: p.detach().clone() for name, p in _named(learner)}
        yield
        for name, parameter in _named(learner):
            if name in self._means and not _same(before.get(name), parameter):
                self._begin(name, parameter)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {"counts": dict(self._counts), "means": dict(self._means)}

    def load_state_dict(self, state: dict[str, Any], learner: nn.Module) -> None:
        """Go on from what :meth:`state_dict` returned; ``learner`` tells the devices."""
        devices = {name: p.device for name, p in _named(learner)}
        self._counts = dict(state["counts"])
        self._means = {name: mean.to(devices[name]) for name, mean in state["means"].items()}


def _named(learner: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield shared parameters under all their names, as they stand in a ``state_dict``."""
    return learner.named_parameters(remove_duplicate=False)


def _same(before: Tensor | None, parameter: Tensor) -> bool:
    return before is not None and before.shape == parameter.shape and before.equal(parameter)
