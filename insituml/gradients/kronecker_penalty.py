"""The quadratic penalty of a Kronecker-factored precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

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
                centre[name] = parameters[name].detach().clone()
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
        blocks = {
            name: KroneckerBlock(gamma * held.rows, held.columns)
            for name, held in self.blocks.items()
        }
        for name, new in fisher.blocks.items():
            if name in blocks:
                old = KroneckerBlock(
                    blocks[name].rows.to(new.rows.device),
                    _resized(blocks[name].columns.to(new.columns.device), len(new.columns)),
                )
                new = nearest_kronecker(old, new)
            blocks[name] = new
        diagonal = dict(fisher.diagonal)
        if self.diagonal is not None:
            for name, held in self.diagonal.precision.items():
                decayed = gamma * held
                if name in diagonal:
                    decayed = decayed.to(diagonal[name].device) + diagonal[name]
                diagonal[name] = decayed
        return KroneckerPenalty.at_anchor(KroneckerFisher(blocks, diagonal), parameters)

    def value(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Evaluate the penalty, differentiable in ``parameters``."""
        terms = []
        for layer, block in self.blocks.items():
            names = _names(layer, block, parameters)
            offsets = [(parameters[n] - self.centre[n]).flatten(1) for n in names[:1]]
            offsets += [(parameters[n] - self.centre[n]).unsqueeze(1) for n in names[1:]]
            terms.append(_Form.apply(block.rows, block.columns, torch.cat(offsets, dim=1)))
        if self.diagonal is not None:
            terms.append(self.diagonal.value(parameters))
        first = next(iter(parameters.values()))
        if not terms:
            return first.new_zeros(())
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
            device = parameters[parameter_name(name, "weight")].device
            blocks[name] = KroneckerBlock(rows.to(device), state["columns"][name].to(device))
        centre = {
            name: value.to(parameters[name].device) for name, value in state["centre"].items()
        }
        diagonal = None
        if state["diagonal"] is not None:
            diagonal = QuadraticPenalty.from_state_dict(state["diagonal"], parameters)
        return cls(blocks, centre, diagonal)


def _names(layer: str, block: KroneckerBlock, parameters: Mapping[str, Tensor]) -> list[str]:
    weight = parameter_name(layer, "weight")
    with_bias = len(block.columns) > parameters[weight][0].numel()
    return [weight, parameter_name(layer, "bias")] if with_bias else [weight]


def _resized(columns: Tensor, size: int) -> Tensor:
    # A bias frozen since stays where it is; one thawed since was held by nothing.
    change = size - len(columns)
    return F.pad(columns, (0, change, 0, change))


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
