"""The quadratic penalty of a Kronecker-factored precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from insituml.gradients.growth import old_part, wide_copy
from insituml.gradients.kronecker import KroneckerBlock, KroneckerFisher, nearest_kronecker
from insituml.gradients.layer_statistics import parameter_name
from insituml.gradients.penalty import QuadraticPenalty


@dataclass(frozen=True)
class KroneckerPenalty:
    """``½ Σ tr(ΔWᵀ R ΔW C)`` over layers, and ``½ Σ F Δθ²`` over all other parameters.

    Parameters
    ----------
    blocks
        R and C, by layer name.
    centre
        Weights and biases of these layers, by parameter name, from which Δ is measured.
    diagonal
        Penalty of all other parameters; None where there are none.

    Notes
    -----
    A layer that has grown is held in its old rows and columns, which come first; one that is gone
    is not held.
    """

    blocks: dict[str, KroneckerBlock]
    centre: dict[str, Tensor]
    diagonal: QuadraticPenalty | None

    @classmethod
    def at_anchor(
        cls, fisher: KroneckerFisher, parameters: Mapping[str, Tensor]
    ) -> KroneckerPenalty:
        """Anchor the parameters where they are now."""
        centre = {}
        for layer, block in fisher.blocks.items():
            for name in _names(layer, block, parameters):
                centre[name] = wide_copy(parameters[name])
        diagonal = None
        if fisher.diagonal:
            diagonal = QuadraticPenalty.at_anchor(fisher.diagonal, parameters)
        return cls(dict(fisher.blocks), centre, diagonal)

    def with_moved_anchor(
        self, fisher: KroneckerFisher, parameters: Mapping[str, Tensor], gamma: float
    ) -> KroneckerPenalty:
        """Replace the anchor; the precision becomes ``γ`` times the old plus ``fisher``.

        The sum of two Kronecker products is none: the nearest one is kept.
        """
        new = KroneckerPenalty.at_anchor(fisher, parameters)
        blocks, centre, diagonal = {**new.blocks}, {**new.centre}, new.diagonal
        for layer, held in self.blocks.items():
            weight = parameter_name(layer, "weight")
            if weight not in parameters:
                continue
            decayed = KroneckerBlock(gamma * held.rows, held.columns)
            old = {n: self.centre[n].shape for n in _names(layer, held, self.centre)}
            parts = {n: old_part(n, parameters[n], shape) for n, shape in old.items()}
            if layer not in new.blocks:
                blocks[layer] = decayed
                centre |= {name: wide_copy(part) for name, part in parts.items()}
                continue
            added = new.blocks[layer]
            inputs = _inputs(weight, old[weight], centre[weight].shape)
            grown = KroneckerBlock(
                _resized(decayed.rows.to(added.rows), len(added.rows), len(decayed.rows)),
                _resized(decayed.columns.to(added.columns), len(added.columns), *inputs),
            )
            blocks[layer] = nearest_kronecker(grown, added)
        if self.diagonal is not None:
            diagonal = self.diagonal.with_moved_anchor(fisher.diagonal, parameters, gamma)
        return KroneckerPenalty(blocks, centre, diagonal)

    def value(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Evaluate the penalty, differentiable in ``parameters``."""
        terms = []
        for layer, block in self.blocks.items():
            names = _names(layer, block, self.centre)
            if names[0] not in parameters:
                continue
            offsets = []
            for name in names:
                where = old_part(name, parameters[name], self.centre[name].shape)
                offset = where.to(block.rows.dtype) - self.centre[name]
                offsets.append(offset.flatten(1) if name == names[0] else offset.unsqueeze(1))
            terms.append(_Form.apply(block.rows, block.columns, torch.cat(offsets, dim=1)))
        if self.diagonal is not None:
            terms.append(self.diagonal.value(parameters))
        first = next(iter(parameters.values()))
        if not terms:
            return torch.zeros((), device=first.device)
        return torch.stack([term.to(first.device) for term in terms]).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and dictionaries of tensors only."""
        return {
            "rows": {name: block.rows for name, block in self.blocks.items()},
            "columns": {name: block.columns for name, block in self.blocks.items()},
            "centre": self.centre,
            "diagonal": None if self.diagonal is None else self.diagonal.state_dict(),
        }

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Any], parameters: Mapping[str, Tensor]
    ) -> KroneckerPenalty:
        """Restore, each tensor on the device of the parameter it belongs to."""
        blocks = {}
        for name, rows in state["rows"].items():
            like = parameters.get(parameter_name(name, "weight"), rows)
            columns = state["columns"][name]
            blocks[name] = KroneckerBlock(rows.to(like.device), columns.to(like.device))
        centre = {
            name: value.to(parameters.get(name, value).device)
            for name, value in state["centre"].items()
        }
        diagonal = None
        if state["diagonal"] is not None:
            diagonal = QuadraticPenalty.from_state_dict(state["diagonal"], parameters)
        return cls(blocks, centre, diagonal)


def _names(layer: str, block: KroneckerBlock, tensors: Mapping[str, Tensor]) -> list[str]:
    weight = parameter_name(layer, "weight")
    with_bias = len(block.columns) > tensors[weight][0].numel()
    return [weight, parameter_name(layer, "bias")] if with_bias else [weight]


def _inputs(weight: str, old: torch.Size, new: torch.Size) -> tuple[int, int]:
    """Return how many inputs a layer had and has, patch entries for a convolution."""
    if old[2:] != new[2:]:
        raise ValueError(
            f"the kernel of parameter {weight} is {tuple(new[2:])}, but was {tuple(old[2:])} in a "
            "past task; a layer may get more inputs and outputs, but no other kernel"
        )
    return old[1:].numel(), new[1:].numel()


def _resized(factor: Tensor, size: int, inputs: int, now: int | None = None) -> Tensor:
    """Return a factor of another size, zero where nothing held: the bias, if any, is last.

    A bias frozen since stays where it is; one thawed since was held by nothing.
    """
    rows = list(range(inputs))
    places = list(rows)
    if now is not None and len(factor) > inputs and size > now:
        rows, places = [*rows, inputs], [*places, now]
    result = factor.new_zeros(size, size)
    result[torch.tensor(places)[:, None], torch.tensor(places)] = factor[
        torch.tensor(rows)[:, None], torch.tensor(rows)
    ]
    return result


class _Form(torch.autograd.Function):
    """``½ tr(Δᵀ R Δ C)`` as one node: its gradient ``R Δ C`` is known on the way."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, offset: Tensor) -> Tensor:
        slope = rows @ offset @ columns
        ctx.save_for_backward(slope, offset)
        ctx.rows, ctx.columns = rows, columns
        return 0.5 * (slope * offset).sum()

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> Any:
        slope, offset = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            slope = ctx.rows @ offset @ ctx.columns
        return None, None, slope * factor
