"""The gradient of each sample's own loss by the network's output, from one pass over a batch.

A loss of a batch need not be the mean of its samples' own losses: classes have weights, targets are
masked or ignored, a sum is no mean. From the outputs of a batch each sample's own loss costs no
further pass through the network: the loss is evaluated once more for every sample alone, with the
sample's part of the output in place of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils import _pytree as pytree

from insituml.gradients.module import LossOf

PLACES = ("output", "forward")
"""Methods of a module behind whose result the loss may be cut off, the first that it calls."""


class NoCut(Exception):
    """The loss is no function of the batch and of outputs with a row for each sample."""


class Outputs:
    """What the network made of a batch in each call, and the losses made of that.

    Attributes
    ----------
    leaves
        The outputs' tensors with a row for each sample, in order.
    """

    def __init__(self, module: nn.Module, loss: LossOf) -> None:
        self._module, self._loss = module, loss
        self._place: str | None = None
        self._calls: list[Any] = []
        self.leaves: list[Tensor] = []

    def evaluate(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the loss of the batch and keep the outputs."""
        with _watched(self._module) as calls:
            value = self._loss(self._module, batch)
        self._place = next((place for place in PLACES if calls[place]), None)
        noted = calls[self._place] if self._place is not None else []
        self._calls = [result for result, _ in noted]
        self.leaves = _tensors(self._calls)
        # Of one sample alone the batch's loss is its own: nothing is cut.
        if len(batch[0]) > 1:
            versions = [version for _, result in noted for version in result]
            self._check(len(batch[0]), versions)
        return value

    def _check(self, count: int, versions: list[int]) -> None:
        if not self.leaves or any(t.dim() == 0 or len(t) != count for t in self.leaves):
            raise NoCut
        if versions != [t._version for t in self.leaves]:
            raise NoCut  # the loss wrote into its network's output

    def own_gradients(
        self, batch: tuple[Tensor, ...], parameters: Sequence[Tensor], restore: Callable[[], None]
    ) -> list[Tensor | None]:
        """Return the gradient of each sample's own loss by its rows of :attr:`leaves`.

        Parameters
        ----------
        batch
            As evaluated.
        parameters
            The module's trainable ones.
        restore
            Undoes what an evaluation left in the module.

        Raises
        ------
        NoCut
            If the loss also depends on the parameters in another way.
        """
        leaves = [t.detach().requires_grad_(t.requires_grad) for t in self.leaves]
        moving = [t for t in leaves if t.requires_grad]

        def one(rows: list[Tensor], sample: tuple[Tensor, ...]) -> Tensor:
            single = tuple(t.unsqueeze(0) for t in sample)
            with self._in_place_of_network([row.unsqueeze(0) for row in rows]):
                return self._loss(self._module, single).reshape(())

        try:
            total = vmap(one, randomness="different")(leaves, batch).sum()
        except (RuntimeError, TypeError, ValueError):
            losses = []
            for n in range(len(batch[0])):
                restore()
                losses.append(one([t[n] for t in leaves], tuple(t[n] for t in batch)))
            total = torch.stack(losses).sum()
        if not total.requires_grad or not (moving or parameters):
            return [None] * len(leaves)
        found = torch.autograd.grad(total, [*moving, *parameters], allow_unused=True)
        if any(g is not None for g in found[len(moving) :]):
            raise NoCut
        gradients = iter(found)
        return [next(gradients) if t.requires_grad else None for t in leaves]

    @contextmanager
    def _in_place_of_network(self, rows: list[Tensor]) -> Iterator[None]:
        own = iter(rows)
        calls = iter(
            pytree.tree_map(
                lambda leaf: next(own) if isinstance(leaf, Tensor) else leaf, self._calls
            )
        )

        def stand_in(*arguments: Any, **options: Any) -> Any:
            try:
                return next(calls)
            except StopIteration:
                raise NoCut from None

        assert self._place is not None
        with _replaced(self._module, self._place, stand_in):
            yield
        if next(calls, None) is not None:
            raise NoCut  # a sample alone asked for fewer outputs than the batch


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]


@contextmanager
def _watched(module: nn.Module) -> Iterator[dict[str, list[Any]]]:
    """Note what calls of the methods in :data:`PLACES` return, with the tensors' versions."""
    calls: dict[str, list[Any]] = {place: [] for place in PLACES}

    def noting(place: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = own(*arguments, **options)
            calls[place].append((result, [t._version for t in _tensors(result)]))
            return result

        return call

    places = [p for p in PLACES if callable(getattr(type(module), p, None))]
    own = {place: getattr(module, place) for place in places}
    with (
        _replaced(module, places[0], noting(places[0], own[places[0]])),
        _replaced(module, places[-1], noting(places[-1], own[places[-1]])),
    ):
        yield calls


@contextmanager
def _replaced(module: nn.Module, name: str, function: Callable[..., Any]) -> Iterator[None]:
    missing = object()
    held = vars(module).get(name, missing)
    vars(module)[name] = function
    try:
        yield
    finally:
        if held is missing:
            vars(module).pop(name, None)
        else:
            vars(module)[name] = held
