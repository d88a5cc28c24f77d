"""An invertible layer: one half of the features moves as the other half and a condition say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from insituml.models.layers import activation as activation_layer

if TYPE_CHECKING:
    from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform


class Coupling(nn.Module):
    """Conditional coupling: an affine map, then a monotonic rational-quadratic spline.

    ``y_b = spline(exp(a) x_b + t)``, with ``a``, ``t`` and the spline's knots given by a network of
    ``x_a`` and the condition, and ``y_a = x_a``. The spline bends the interval [−5, 5] alone;
    the affine map before it brings there what has drifted away.

    The network is made of ``nn.Linear``, which closed forms of the Fisher information know.

    Parameters
    ----------
    features
        Number of features of x, 1 or more.
    condition_size
        Width of the condition.
    moves_first
        Move the first half of the features, not the second.
    hidden_sizes
        Widths of the network's layers.
    bins
        Pieces of the spline.
    activation
        ``"tanh"``, ``"leaky_relu"`` or ``"relu"``.

    Raises
    ------
    ImportError
        If zuko is not installed.

    References
    ----------
    Dinh et al., "Density estimation using Real NVP", ICLR 2017, eq. 7; Durkan et al., "Neural
    spline flows", NeurIPS 2019, section 3.
    """

    def __init__(
        self,
        features: int,
        condition_size: int,
        *,
        moves_first: bool,
        hidden_sizes: Sequence[int],
        bins: int,
        activation: str,
    ) -> None:
        super().__init__()
        _require_zuko()
        first = features // 2
        moved = first if moves_first else features - first
        self.moves_first = moves_first
        self.halves = (first, features - first)
        # Shift, scale, widths and heights of the bins, slopes at the knots between them.
        self.parts = (1, 1, bins, bins, bins - 1)
        self.moved = moved
        widths = [features - moved + condition_size, *hidden_sizes, moved * sum(self.parts)]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            layers += [nn.Linear(before, after), activation_layer(activation)]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(widths[-2], widths[-1])

    def start_as_identity(self) -> None:
        """Set the last layer to zero, in place: y = x, whatever the condition."""
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Return y ``(n, features)`` and ``log|det ∂y/∂x|`` ``(n,)``."""
        kept, moved = self._split(x)
        affine, spline = self._transforms(kept, condition)
        moved, log_scale = affine.call_and_ladj(moved)
        moved, log_slope = spline.call_and_ladj(moved)
        return self._join(kept, moved), (log_scale + log_slope).sum(dim=-1)

    def inverse(self, y: Tensor, condition: Tensor) -> Tensor:
        """Return the x that :meth:`forward` takes to ``y``."""
        kept, moved = self._split(y)
        affine, spline = self._transforms(kept, condition)
        return self._join(kept, affine.inv(spline.inv(moved)))

    def _transforms(
        self, kept: Tensor, condition: Tensor
    ) -> tuple[MonotonicAffineTransform, MonotonicRQSTransform]:
        from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

        said = self.last(self.hidden(torch.cat([kept, condition], dim=-1))).to(kept.dtype)
        shift, scale, *knots = said.unflatten(-1, (self.moved, -1)).split(self.parts, dim=-1)
        affine = MonotonicAffineTransform(shift.squeeze(-1), scale.squeeze(-1))
        return affine, MonotonicRQSTransform(*knots)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.split(self.halves, dim=-1)
        return (second, first) if self.moves_first else (first, second)

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, kept] if self.moves_first else [kept, moved], dim=-1)


def _require_zuko() -> None:
    try:
        import zuko  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "a conditional flow needs zuko, which is not installed; "
            "install the extra: pip install 'insituml[flow]'"
        ) from error
