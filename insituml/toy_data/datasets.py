"""Data sets whose items are those of the current time, until ``step`` moves them on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset, get_worker_info

from insituml.toy_data.motion import (
    TimeFunc,
    arrays_from_itr,
    check_same_length,
    shift_labels,
    shift_points,
)

_ELEMENTWISE = (shift_points, shift_labels)
"""Functions that give the same for all samples at once as for one after the other."""


class TimeDependentDataset:
    """What both data sets share: the tensors of one time, and how they reach the next."""

    tensors: tuple[Tensor, ...]
    """X and Y as of the current time."""

    def __init__(
        self,
        X: Tensor,
        Y: Tensor,
        time_x_func: TimeFunc = shift_points,
        time_y_func: TimeFunc = shift_labels,
        dt: float = 1.0,
    ) -> None:
        check_same_length(X, Y)
        self.tensors = (X, Y)
        self.time_x_func = time_x_func
        self.time_y_func = time_y_func
        self.dt = dt
        self.time = 0.0

    def step(self) -> None:
        """Move points and labels on by ``dt``, and ``time`` with them."""
        X, Y = self.tensors
        self.tensors = (
            _moved(X, self.time_x_func, self.dt),
            _moved(Y, self.time_y_func, self.dt),
        )
        self.time += self.dt


class TimeDependentTensorDataset(TimeDependentDataset, TensorDataset):
    """Points and labels by index, as of the current time.

    ``step()`` moves them on by ``dt``; ``time``, 0 at first, says how far they are.

    Parameters
    ----------
    X
        Points at time 0, shape ``(npoints, ndim)``.
    Y
        Labels at time 0, shape ``(npoints, nlabels)``.
    time_x_func
        Moves one point by a time difference: ``f(x, dt)`` is called with each x of shape
        ``(ndim,)`` and returns a new tensor. Default: x + dt.
    time_y_func
        The same for one label. Default: dt is added to the entries that are not zero.
    dt
        Time difference of one step.

    Raises
    ------
    ValueError
        If X and Y differ in length.
    """


class TimeDependentIterDataset(TimeDependentDataset, IterableDataset):
    """Points and labels one after the other, as of the time at which an iteration begins.

    The stream-like counterpart of :class:`TimeDependentTensorDataset`, with the same parameters,
    errors, ``time`` and ``step()``. A step during an iteration shows in the next one only. The
    workers of a ``DataLoader`` share the points; those that persist do not see later steps.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        worker = get_worker_info()
        share = slice(None) if worker is None else slice(worker.id, None, worker.num_workers)
        return zip(*(tensor[share] for tensor in self.tensors), strict=True)


def _moved(samples: Tensor, function: TimeFunc, dt: float) -> Tensor:
    if function in _ELEMENTWISE or len(samples) == 0:
        return function(samples, dt)
    return torch.stack([torch.as_tensor(function(sample, dt)) for sample in samples.clone()])


def tdds_gen(
    ds: TimeDependentDataset, nsteps: int, batch_size: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a time-dependent data set, moving it on by one step after each pass.

    The first pass is at the data set's current time. Used up, the data set stands ``nsteps``
    steps later, so a second call goes on where the first one ended.

    Batches are slices, equal to those of an unshuffled ``DataLoader``, which would loop over the
    points one by one and draw from the global random state.

    Parameters
    ----------
    ds
        A :class:`TimeDependentTensorDataset` or :class:`TimeDependentIterDataset`.
    nsteps
        Number of passes.
    batch_size
        None: the whole data set at once, one ``(X, Y)`` a pass. Otherwise each pass yields all
        batches of this size in order, the last one smaller if need be.

    Yields
    ------
    X : Tensor
        Points, shape ``(npoints, ndim)`` or ``(batch_size, ndim)``.
    Y : Tensor
        Labels, shape ``(npoints, nlabels)`` or ``(batch_size, nlabels)``.
    """
    for _ in range(nsteps):
        X, Y = ds.tensors
        size = len(X) if batch_size is None else batch_size
        yield from zip(X.split(size), Y.split(size), strict=True)
        ds.step()


def tdds_arrays(
    ds: TimeDependentDataset, nsteps: int, batch_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """Stack what :func:`tdds_gen` yields; parameters as there.

    Returns
    -------
    X_t : Tensor
        Points, shape ``(nsteps, npoints, ndim)``, or ``(nsteps * nbatches, batch_size, ndim)``.
    Y_t : Tensor
        Labels, with ``nlabels`` in place of ``ndim``.

    Raises
    ------
    ValueError
        If ``nsteps`` is 0, or ``batch_size`` does not divide the number of points.
    """
    return arrays_from_itr(tdds_gen(ds, nsteps, batch_size))
