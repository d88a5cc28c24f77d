"""Arrays that change with time: two functions move points and labels from time to time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

Time = Any
"""A number, or a tensor of one."""
TimeFunc = Callable[[Tensor, Time], Tensor]
"""Array and time (or time difference) to a new array; it must not write to the one it gets."""

DEFAULT_TIME = tuple(np.linspace(0, 10, 10).tolist())


def shift_points(X: Tensor, t: Time) -> Tensor:
    """Return X + t: the points move along the diagonal."""
    return X + t


def shift_labels(Y: Tensor, t: Time) -> Tensor:
    """Return Y with t added to the entries that are not zero."""
    return torch.where(Y != 0, Y + t, Y)


def td_gen(
    X: Tensor,
    Y: Tensor,
    time_x_func: TimeFunc = shift_points,
    time_y_func: TimeFunc = shift_labels,
    time_func_mode: str = "rel",
    time: Iterable[float] | Tensor = DEFAULT_TIME,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the points and labels at each time.

    Both modes agree for functions linear in t when time begins at 0. The first step of "rel"
    yields X and Y themselves, whatever time begins with.

    Parameters
    ----------
    X
        Points, shape ``(npoints, ndim)``.
    Y
        Labels, shape ``(npoints, nlabels)``.
    time_x_func
        Moves the points: ``f(X, t)``, t an element of ``time`` (of a tensor a tensor) or a
        difference of two; returns a new tensor. Default: X + t.
    time_y_func
        The same for the labels. Default: t is added to the entries that are not zero.
    time_func_mode
        ``"abs"``: each step is f(initial array, t). ``"rel"``: the first step is the initial
        array, each further one f(previous array, t − previous t).
    time
        The times, in any spacing, by default 10 from 0 to 10; read one by one, so it may be
        endless.

    Returns
    -------
    Iterator of (Tensor, Tensor)
        One ``(X, Y)`` for each time, of the shapes that the functions return.

    Raises
    ------
    ValueError
        If ``time_func_mode`` is neither of the two, or X and Y differ in length. Raised by the
        call, not by the first step.
    """
    check_same_length(X, Y)
    times = iter(time)
    if time_func_mode == "abs":
        return ((time_x_func(X, t), time_y_func(Y, t)) for t in times)
    elif time_func_mode == "rel":
        return _relative(X, Y, time_x_func, time_y_func, times)
    else:
        raise ValueError(
            f"time_func_mode is {time_func_mode!r}; expected 'rel' (from the previous array) or "
            "'abs' (from the initial one)"
        )


def td_arrays(
    X: Tensor,
    Y: Tensor,
    time_x_func: TimeFunc = shift_points,
    time_y_func: TimeFunc = shift_labels,
    time_func_mode: str = "rel",
    time: Iterable[float] | Tensor = DEFAULT_TIME,
) -> tuple[Tensor, Tensor]:
    """Return the points and labels at all times; parameters and errors as in :func:`td_gen`.

    Returns
    -------
    X_t : Tensor
        Points, shape ``(nsteps, npoints, ndim)``.
    Y_t : Tensor
        Labels, shape ``(nsteps, npoints, nlabels)``.
    """
    return arrays_from_itr(td_gen(X, Y, time_x_func, time_y_func, time_func_mode, time))


def arrays_from_itr(iterator: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stack what an iterator yields along a new first dimension.

    Parameters
    ----------
    iterator
        Yields at least one ``(X, Y)``, all with the same shapes.

    Returns
    -------
    X_t : Tensor
        Shape ``(nsteps, *X.shape)``.
    Y_t : Tensor
        Shape ``(nsteps, *Y.shape)``.

    Raises
    ------
    ValueError
        If the iterator yields nothing, or shapes that differ.
    """
    pairs = list(iterator)
    shapes = {(tuple(X.shape), tuple(Y.shape)) for X, Y in pairs}
    if len(shapes) != 1:
        raise ValueError(
            f"the iterator gave (X, Y) of shapes {sorted(shapes) or 'none at all'}; expected one "
            "or more pairs of the same shapes: is it used up, or the last batch a smaller one?"
        )
    return torch.stack([X for X, _ in pairs]), torch.stack([Y for _, Y in pairs])


def check_same_length(X: Tensor, Y: Tensor) -> None:
    """Raise ValueError unless there is one label for each point."""
    if len(X) != len(Y):
        raise ValueError(
            f"X has shape {tuple(X.shape)} and Y {tuple(Y.shape)}; expected one label for each "
            "point, the same first dimension"
        )


def _relative(
    X: Tensor, Y: Tensor, time_x_func: TimeFunc, time_y_func: TimeFunc, times: Iterator[Time]
) -> Iterator[tuple[Tensor, Tensor]]:
    before = None
    for t in times:
        if before is not None:
            X, Y = time_x_func(X, t - before), time_y_func(Y, t - before)
        before = t
        yield X, Y
