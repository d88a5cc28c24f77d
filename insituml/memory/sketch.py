"""Sketches: random linear maps to few numbers that keep inner products in expectation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from insituml.data.task import sent

KINDS = ("transform", "gaussian")

BLOCK = 1 << 20
"""Entries of a Gaussian matrix that exist at a time."""


class Sketch:
    """A family of maps ``S_k: ℝⁿ → ℝᵐ`` with ``E S_kᵀ S_k = 1``, made anew at each use.

    No map is stored: a seed and its number k give it again, on any device. Inner products are
    kept in expectation, ``E⟨S_k x, S_k y⟩ = ⟨x, y⟩``; for ``"gaussian"`` with the variance
    ``(‖x‖²‖y‖² + ⟨x, y⟩²) / m``, at most ``2 ‖x‖²‖y‖² / m``.

    Parameters
    ----------
    shape
        Of one sample, n numbers in all.
    size
        m, the numbers in a sketch, from 1 to n.
    kind
        ``"transform"``: ``√(n/m) R H D``, that is random signs D, an orthonormal transform H and
        a random choice R of m among its n coefficients; n log n operations. H is the discrete
        Hartley transform: real, its own inverse, for any n. ``"gaussian"``: independent normal
        entries of variance 1/m; m·n operations, and as many random numbers for each map.
    seed
        Tells families apart.

    Raises
    ------
    ValueError
        If ``size`` is outside 1 to n or ``kind`` is unknown; when called, if samples are complex
        or of another shape.

    References
    ----------
    Ailon & Chazelle, "The fast Johnson-Lindenstrauss transform and approximate nearest
    neighbors", SIAM Journal on Computing 2009.
    """

    def __init__(
        self, shape: Sequence[int], size: int, kind: str = "transform", seed: int = 0
    ) -> None:
        self.shape = tuple(shape)
        self.numbers = math.prod(self.shape)
        check_kind("kind", kind)
        if not 1 <= size <= self.numbers:
            raise ValueError(
                f"size is {size} for samples of {self.numbers} numbers; expected 1 to "
                f"{self.numbers}"
            )
        self.size = size
        self.kind = kind
        self.seed = seed

    def __call__(self, samples: Tensor, maps: Tensor) -> Tensor:
        """Return the sketch of each sample by the map that it is given.

        Parameters
        ----------
        samples
            ``(b, *shape)``; half precision counts as float32.
        maps
            ``(b,)``: the number k of the map for each sample.

        Returns
        -------
        Tensor
            ``(b, m)``, differentiable in the samples.
        """
        if samples.shape[1:] != self.shape:
            raise ValueError(
                f"samples of shape {tuple(samples.shape[1:])} do not fit a sketch of {self.shape}"
            )
        flat = _at_least_float32(samples).reshape(len(samples), self.numbers)
        if self.kind == "gaussian":
            return _map_by_map(flat, maps, self.size, self._gaussian)
        signs, chosen = self._signs_and_choices(maps, flat)
        return math.sqrt(self.numbers / self.size) * hartley(flat * signs).gather(1, chosen)

    def adjoint(self, sketches: Tensor, maps: Tensor) -> Tensor:
        """Return the back-projections ``S_kᵀ s`` of sketches ``(b, m)``, as ``(b, *shape)``."""
        sketches = _at_least_float32(sketches)
        if self.kind == "gaussian":
            flat = _map_by_map(sketches, maps, self.numbers, self._gaussian_adjoint)
        else:
            signs, chosen = self._signs_and_choices(maps, sketches)
            spread = sketches.new_zeros(len(sketches), self.numbers).scatter(1, chosen, sketches)
            flat = math.sqrt(self.numbers / self.size) * signs * hartley(spread)
        return flat.reshape(len(sketches), *self.shape)

    def _signs_and_choices(self, maps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        signs = torch.empty(len(maps), self.numbers, dtype=torch.int8)
        chosen = torch.empty(len(maps), self.size, dtype=torch.int64)
        for row, number in enumerate(maps.tolist()):
            generator = self._generator(number)
            signs[row].random_(0, 2, generator=generator)
            chosen[row] = torch.randperm(self.numbers, generator=generator)[: self.size]
        signs = 2 * signs - 1
        return sent(signs, like.device).to(like.dtype), sent(chosen, like.device)

    def _gaussian(self, values: Tensor, number: int) -> Tensor:
        def product(values: Tensor, first: int, rows: int) -> Tensor:
            return values @ self._rows(number, first, rows, values).T

        # Kept for the backward pass, the blocks would be the whole matrix.
        parts = [
            checkpoint(product, values, *block, use_reentrant=False, preserve_rng_state=False)
            for block in self._blocks()
        ]
        return torch.cat(parts, dim=1)

    def _gaussian_adjoint(self, values: Tensor, number: int) -> Tensor:
        result = values.new_zeros(len(values), self.numbers)
        for first, rows in self._blocks():
            part = values[:, first : first + rows]
            result = result + part @ self._rows(number, first, rows, values)
        return result

    def _blocks(self) -> list[tuple[int, int]]:
        """Return the first row and the number of rows of each block."""
        rows = max(1, BLOCK // self.numbers)
        return [(k, min(rows, self.size - k)) for k in range(0, self.size, rows)]

    def _rows(self, number: int, first: int, rows: int, like: Tensor) -> Tensor:
        generator = self._generator(number, first)
        entries = torch.randn(rows, self.numbers, generator=generator)
        return entries.to(like) / math.sqrt(self.size)

    def _generator(self, number: int, part: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(_mixed(self.seed, number, part))


def check_kind(name: str, kind: str) -> None:
    """Raise a ValueError that names the option unless there are sketches of this kind."""
    if kind not in KINDS:
        raise ValueError(f"{name} is {kind!r}; expected one of {', '.join(KINDS)}")


def numbers_of_sketch(size: float, numbers: int) -> int:
    """Return m of a sketch of ``numbers``: ``size`` itself, or as a share of them, at least 1.

    Raises
    ------
    ValueError
        If it is neither an integer from 1 on nor a share above 0 and at most 1.0.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 1:
        return size
    if isinstance(size, float) and 0 < size <= 1:
        return max(1, round(size * numbers))
    raise ValueError(
        f"sketch_size is {size!r}; expected a share of the sample above 0 and at most 1.0, such as "
        "0.01, or an integer, how many numbers"
    )


def hartley(values: Tensor) -> Tensor:
    """Return the orthonormal discrete Hartley transform of rows ``(b, n)``.

    ``h_k = n^(−1/2) Σ_j x_j (cos 2πjk/n + sin 2πjk/n)``: real, symmetric, its own inverse.
    """
    if len(values) == 0:  # not every library of transforms takes none
        return values
    spectrum = torch.fft.fft(values, norm="ortho")
    return spectrum.real - spectrum.imag


def _map_by_map(
    values: Tensor, maps: Tensor, width: int, product: Callable[[Tensor, int], Tensor]
) -> Tensor:
    """Make each map once, for all rows that it is for."""
    result = values.new_zeros(len(values), width)
    maps = maps.to(values.device)
    for number in maps.unique().tolist():
        rows = (maps == number).nonzero().flatten()
        result = result.index_copy(0, rows, product(values[rows], number))
    return result


def _at_least_float32(values: Tensor) -> Tensor:
    if values.is_complex():
        raise ValueError(
            f"samples of {values.dtype} cannot be sketched; give real and imaginary parts as "
            "channels"
        )
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _mixed(*numbers: int) -> int:
    """Return 32 bits that any change of a number changes (the finaliser of SplitMix64)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
        state ^= state >> 31
    return state >> 32  # torch's generator of the CPU takes no more
