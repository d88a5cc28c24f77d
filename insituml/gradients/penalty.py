"""The quadratic penalty that ties parameters to where earlier tasks left them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from insituml.gradients.growth import grown, old_part, wide_copy
from insituml.gradients.precision import as_real, wide
from insituml.gradients.projection import dot


@dataclass(frozen=True)
class QuadraticPenalty:
    """``½ Σₖ Σᵢ Fₖᵢ (θᵢ − θₖᵢ)²`` over any number of anchors θₖ, at the cost of one.

    A sum of parabolas is a parabola: with ``A = Σₖ Fₖ`` and ``B = Σₖ Fₖ θₖ`` it is
    ``½ [Σᵢ Aᵢ (θᵢ − μᵢ)² + c]``, where ``μ = B / A`` and c is what the anchors disagree by. Held
    this way, and not as ⟨A, θ²⟩ − 2⟨B, θ⟩ + c, nothing large cancels near the anchors.

    A parameter that has grown is held in its old entries, which come first; one that is gone is not
    held. Of a complex parameter ``|θ − μ|²`` counts. Numbers are of float32 at least.

    Parameters
    ----------
    precision
        A, by parameter name.
    centre
        μ, by parameter name.
    constant
        c, a float64 scalar; it has no gradient.
    """

    precision: dict[str, Tensor]
    centre: dict[str, Tensor]
    constant: Tensor

    @classmethod
    def at_anchor(
        cls, importance: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> QuadraticPenalty:
        """Start with one anchor: the parameters as they are now."""
        return cls(
            precision={name: value.detach().clone() for name, value in importance.items()},
            centre={name: wide_copy(parameters[name]) for name in importance},
            constant=torch.zeros((), dtype=torch.float64),
        )

    def with_anchor(
        self, importance: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
    ) -> QuadraticPenalty:
        """Add an anchor: EWC with one anchor per task."""
        # A parameter frozen since keeps what held it; one thawed since was held by nothing.
        precision, centre, constant = {**self.precision}, {**self.centre}, self.constant
        for name, added in importance.items():
            where = wide_copy(parameters[name])
            held = self.precision.get(name, torch.zeros_like(added)).to(added.device)
            before = self.centre.get(name, where).to(added.device)
            held, before = (grown(name, t, added.shape) for t in (held, before))
            total = held + added
            # Where no anchor holds a parameter, its centre is of no consequence.
            share = torch.where(total > 0, added / total, torch.zeros_like(total))
            offset = where - before
            precision[name] = total
            centre[name] = before + share * offset
            squares = offset.abs().square() if offset.is_complex() else offset.square()
            constant = constant + (held * share * squares).sum(dtype=torch.float64).cpu()
        return QuadraticPenalty(precision, centre, constant)

    def with_moved_anchor(
        self, importance: Mapping[str, Tensor], parameters: Mapping[str, Tensor], gamma: float
    ) -> QuadraticPenalty:
        """Replace the anchor and decay what was held: online EWC, ``F ← γ F + F_new``.

        References
        ----------
        Schwarz et al., "Progress & Compress", ICML 2018, section 4.
        """
        decayed = {name: gamma * held for name, held in self.precision.items()}
        for name, new in importance.items():
            if name in decayed:
                new = grown(name, decayed[name].to(new.device), new.shape) + new
            decayed[name] = new
        precision, centre = {}, {}
        for name, value in decayed.items():
            if name in parameters:  # else it is gone
                precision[name] = value.detach().clone()
                centre[name] = wide_copy(old_part(name, parameters[name], value.shape))
        return QuadraticPenalty(precision, centre, torch.zeros((), dtype=torch.float64))

    def value(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Evaluate the penalty, differentiable in ``parameters``; on the first one's device."""
        names, *tensors = self._beside(parameters)
        if not names:
            first = next(iter(parameters.values()))
            return (0.5 * self.constant).to(first.device, torch.float32)
        value: Tensor = _Parabola.apply(*tensors)
        return value + (0.5 * self.constant).to(value)

    @torch.no_grad()
    def slopes(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the penalty's gradient, ``Aᵢ (θᵢ − μᵢ)``, by name.

        Those of complex parameters are real, ``(..., 2)``; new entries of grown ones have none.
        """
        names, precision, centre, *where = self._beside(parameters)
        if not names:
            return {}
        slopes = torch._foreach_mul(torch._foreach_sub(where, centre), precision)
        return {
            name: grown(name, slope, as_real(parameters[name]).shape)
            for name, slope in zip(names, slopes, strict=True)
        }

    def _beside(self, parameters: Mapping[str, Tensor]) -> tuple[Any, ...]:
        """Return names, precisions, centres and then what is held of each parameter.

        All real, of float32 at least and on the parameters' devices.
        """
        names = [name for name in self.precision if name in parameters]
        precision, centre, where = [], [], []
        for name in names:
            parameter, held = parameters[name], self.precision[name]
            parameter = old_part(name, parameter, held.shape)
            centre.append(wide(self.centre[name].to(parameter.device)))
            held = held.to(parameter.device)
            precision.append(held.unsqueeze(-1) if parameter.is_complex() else held)
            where.append(wide(parameter))
        return names, precision, centre, *where

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and dictionaries of tensors only."""
        return {
            "precision": self.precision,
            "centre": self.centre,
            "constant": self.constant,
        }

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Any], parameters: Mapping[str, Tensor]
    ) -> QuadraticPenalty:
        """Restore, each tensor on the device of the parameter it belongs to."""

        def place(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: value.to(parameters[name].device) if name in parameters else value
                for name, value in tensors.items()
            }

        return cls(place(state["precision"]), place(state["centre"]), state["constant"])


class _Parabola(torch.autograd.Function):
    """``½ Σᵢ Aᵢ (θᵢ − μᵢ)²`` as one node: its gradient ``A (θ − μ)`` is known on the way."""

    @staticmethod
    def forward(ctx: Any, precision: list[Tensor], centre: list[Tensor], *where: Tensor) -> Tensor:
        offsets = torch._foreach_sub(where, centre)
        ctx.slopes = torch._foreach_mul(offsets, precision)
        ctx.save_for_backward(*where)
        ctx.precision, ctx.centre = precision, centre
        return 0.5 * dot(offsets, ctx.slopes)

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> Any:
        slopes = ctx.slopes
        if torch.is_grad_enabled():  # a second derivative is wanted
            terms = zip(ctx.saved_tensors, ctx.precision, ctx.centre, strict=True)
            slopes = [a * (p - c) for p, a, c in terms]
        elif len({s.device for s in slopes}) == 1:
            return None, None, *torch._foreach_mul(slopes, factor)
        return None, None, *(slope * factor.to(slope.device) for slope in slopes)
