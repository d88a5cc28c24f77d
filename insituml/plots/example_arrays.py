"""Originals and what a model makes of them after each task: checked, thinned, and their limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from insituml.plots.arrays import names_of, shown_places
from insituml.plots.panel_rows import Column

_ROBUST_PERCENTILE = 99.5
_ALIKE = 10.0
"""Rows share their limits where these differ by no more than this factor."""


@dataclass(frozen=True)
class Examples:
    """What figures of examples draw.

    Parameters
    ----------
    originals, reconstructions
        ``(n, ...)`` and ``(n, K, ...)`` of the rows and columns drawn.
    row_labels, column_labels
        Their names.
    learned_at
        For each row the column that shows it right after it was learned, or −1; None: no order.
    given
        How many rows there were before some were chosen.
    rows
        Those chosen.
    notes
        What a reader must know of the choice.
    """

    originals: np.ndarray
    reconstructions: np.ndarray
    row_labels: list[str]
    column_labels: list[str]
    learned_at: list[int] | None
    given: int
    rows: list[int]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        originals: ArrayLike,
        reconstructions: ArrayLike,
        axes: tuple[str, ...],
        row_labels: Sequence[str] | None,
        column_labels: Sequence[str] | None,
        learned_at: Sequence[int] | None,
        last: tuple[int, ...] = (),
    ) -> Self:
        """Check the arrays, whose examples have ``axes`` and end in sizes ``last``.

        Raises
        ------
        ValueError
            If the shapes do not fit each other or the labels.
        """
        fields = np.asarray(originals, dtype=float)
        guesses = np.asarray(reconstructions, dtype=float)
        wanted = ", ".join(axes + tuple(map(str, last)))
        if (
            fields.ndim != 1 + len(axes) + len(last)
            or fields.shape[fields.ndim - len(last) :] != last
            or not fields.size
        ):
            raise ValueError(f"originals must have shape (n_rows, {wanted}), got {fields.shape}")
        n_rows, *shape = fields.shape
        if guesses.ndim != fields.ndim + 1 or [len(guesses), *guesses.shape[2:]] != [
            n_rows,
            *shape,
        ]:
            raise ValueError(
                f"reconstructions must have shape (n_rows, K, {wanted}) = ({n_rows}, K, "
                f"{', '.join(map(str, shape))}) as the originals, got {guesses.shape}"
            )
        return cls.chosen(fields, guesses, row_labels, column_labels, learned_at)

    @classmethod
    def chosen(
        cls,
        fields: np.ndarray,
        guesses: np.ndarray,
        row_labels: Sequence[str] | None,
        column_labels: Sequence[str] | None,
        learned_at: Sequence[int] | None,
    ) -> Self:
        """Choose the rows and columns to draw of arrays that fit each other."""
        n_rows, count = guesses.shape[:2]
        if count == 0:
            raise ValueError(f"reconstructions must hold at least one column, got {guesses.shape}")
        names = names_of(row_labels, n_rows, "row_labels")
        heads = names_of(
            [f"after task {k}" for k in range(count)] if column_labels is None else column_labels,
            count,
            "column_labels",
        )
        if learned_at is not None and len(learned_at) != n_rows:
            raise ValueError(
                f"learned_at must hold one column for each of {n_rows} rows, got {list(learned_at)}"
            )
        rows, columns = shown_places(n_rows), shown_places(count)
        notes = [
            f"{len(chosen)} of {total} {what} are drawn."
            for chosen, total, what in (
                (rows, n_rows, "rows"),
                (columns, count, "columns"),
            )
            if len(chosen) < total
        ]
        at = None
        if learned_at is not None:
            at = [columns.index(c) if (c := learned_at[r]) in columns else -1 for r in rows]
        return cls(
            fields[rows],
            guesses[rows][:, columns],
            [names[row] for row in rows],
            [heads[column] for column in columns],
            at,
            n_rows,
            rows,
            tuple(notes),
        )

    @property
    def count(self) -> int:
        """Number of columns of reconstructions."""
        return len(self.column_labels)

    @property
    def each(self) -> range:
        """Places of the rows."""
        return range(len(self.rows))

    @property
    def errors(self) -> np.ndarray:
        """Last reconstruction − original, ``(n, ...)``."""
        with np.errstate(invalid="ignore"):  # infinity less infinity is drawn as not finite
            return self.reconstructions[:, -1] - self.originals

    def columns(self) -> list[Column]:
        """Return the original, a column each reconstruction, and the error."""
        made = [Column(name, task=place) for place, name in enumerate(self.column_labels)]
        error = "error" if self.count == 1 else "error: last − original"
        return [Column("original"), *made, Column(error)]

    def panel(self, row: int, column: int) -> np.ndarray:
        """Return what stands in a column of :meth:`columns`."""
        if column == 0:
            return self.originals[row]
        if column > self.count:
            return np.asarray(self.errors[row])
        return np.asarray(self.reconstructions[row, column - 1])


@dataclass(frozen=True)
class Limits:
    """Where colours or axes end, symmetric around zero, in each row.

    Parameters
    ----------
    of_row
        Of each row, above 0.
    shared
        Whether all rows have the same.
    """

    of_row: list[float]
    shared: bool

    @classmethod
    def of_fields(cls, examples: Examples) -> Self:
        """Return those of the originals, one for all rows where amplitudes are alike."""
        own = [_limit(examples.originals[r], examples.reconstructions[r]) for r in examples.each]
        return cls._alike(own) if max(own) <= _ALIKE * min(own) else cls(own, len(own) == 1)

    @classmethod
    def of_errors(cls, examples: Examples, *, shared: bool) -> Self:
        """Return those of the errors."""
        own = [_limit(examples.errors[r], examples.originals[r]) for r in examples.each]
        return cls._alike(own) if shared else cls(own, shared=False)

    @classmethod
    def _alike(cls, own: list[float]) -> Self:
        return cls([max(own)] * len(own), shared=True)

    @property
    def largest(self) -> float:
        return max(self.of_row)

    def exceeded(self, examples: Examples, row: int, *, is_error: bool) -> bool:
        """Return whether values of a row lie beyond its limits."""
        both = (examples.originals[row], *examples.reconstructions[row])
        shown = examples.errors[row] if is_error else np.stack(both)
        magnitudes = np.abs(shown[np.isfinite(shown)])
        return bool(magnitudes.size and magnitudes.max() > self.of_row[row] * (1 + 1e-9))

    def in_words(self, what: str) -> str:
        """Say what a reader may compare."""
        if len(self.of_row) == 1:
            return ""
        if self.shared:
            return f"All rows share one {what}: amplitudes can be compared."
        return f"Each row has a {what} of its own."


def _limit(*candidates: np.ndarray) -> float:
    """Return where the colours of a row end: from the first that has any value but 0."""
    for values in candidates:
        magnitudes = np.abs(values[np.isfinite(values)])
        if magnitudes.size:
            for limit in (np.percentile(magnitudes, _ROBUST_PERCENTILE), magnitudes.max()):
                if limit > 0:
                    return float(limit)
    return 1.0
