"""Several processes that train one learner together: who holds what, and what they add up.

They are the ranks of ``torch.distributed``, started by ``torchrun``. All hold the same learner and
draw the same random numbers, so that they decide alike. Of what is joint, such as the rows of a
batch, of a task or of a memory, rank r of W holds rows r, r + W, r + 2W, ... Where no process group
is initialised there is one rank, which holds everything: each function here then returns what it is
given, at once.

Sums over samples are added up over ranks, and means weighted by how many samples each rank has: the
joint batch's own, however unequal the parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from insituml.shards import check_whole
from insituml.stand_in import stand_in

BUCKET = 2**25
"""Bytes added up, or handed over, at once."""

_alone = False


def size() -> int:
    """Return the number of ranks; 1 without a process group."""
    if _alone or not dist.is_available() or not dist.is_initialized():
        return 1
    return dist.get_world_size()


def rank() -> int:
    """Return which of them this process is, from 0."""
    return dist.get_rank() if size() > 1 else 0


@contextmanager
def alone() -> Iterator[None]:
    """Let this rank do something by itself, such as evaluate, of which others need not know."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def share() -> slice:
    """Return which of joint rows are this rank's, whatever their number."""
    return slice(rank(), None, size())


def owned(rows: Tensor) -> Tensor:
    """Tell of each joint row whether it is this rank's."""
    return rows % size() == rank()


def shares(sizes: Sequence[int]) -> list[int]:
    """Return how many rows of each of several parts, one after the other, are this rank's."""
    if size() == 1:
        return list(sizes)
    found, first = [], 0
    for count in sizes:
        found.append(len(range((rank() - first) % size(), count, size())))
        first += count
    return found


# Numbers on the host


def total(count: int) -> int:
    """Return the sum of a whole number over ranks, such as of the rows that each has."""
    if size() == 1:
        return count
    value = torch.tensor(count, dtype=torch.int64)
    dist.all_reduce(value)
    return int(value)


def agreed(what: str, number: int) -> None:
    """Raise ValueError, on all ranks, unless a whole number is the same on all of them."""
    if size() == 1:
        return
    ends = torch.tensor([number, -number], dtype=torch.int64)
    dist.all_reduce(ends, op=dist.ReduceOp.MAX)
    if (most := int(ends[0])) != (least := -int(ends[1])):
        raise ValueError(
            f"{what} is {number} on rank {rank()}, and from {least} to {most} on {size()} ranks; "
            "expected the same on all, such as the joint number, ranks.total(len(batch[0]))"
        )


def told(value: Any) -> Any:
    """Return what the first rank gives, on all of them."""
    if size() == 1:
        return value
    said = [value]
    dist.broadcast_object_list(said, 0)
    return said[0]


def agree_on(generator: torch.Generator) -> None:
    """Give a generator the state that it has on the first rank."""
    if size() > 1:
        state = generator.get_state()
        dist.broadcast(state, 0)
        generator.set_state(state)


def gathered_objects(value: Any) -> list[Any]:
    """Return what each rank has, in order: small things, such as names."""
    if size() == 1:
        return [value]
    found: list[Any] = [None] * size()
    dist.all_gather_object(found, value)
    return found


# Sums and means of what has gradients


def joint_sums(
    own: Sequence[Tensor] | None, terms: int, device: torch.device
) -> tuple[Tensor, ...]:
    """Return the sums over ranks of scalars, whose gradients are those of this rank's own parts.

    These are as many times as large as there are ranks: gradients are averaged over them in the
    end.

    Parameters
    ----------
    own
        This rank's scalars; None where it has no sample.
    terms
        Their number.
    device
        As in :func:`joint_mean`.
    """
    if size() == 1:
        return tuple(own or ())
    numbers = torch.zeros(terms, dtype=torch.float64, device=device)
    if own is not None:
        numbers.copy_(torch.stack([value.detach().to(numbers) for value in own]))
    dist.all_reduce(numbers)
    if own is None:
        return numbers.unbind()
    pairs = zip(own, numbers, strict=True)
    return tuple(_with_slope(value, number.to(value.device), size()) for value, number in pairs)


def joint_mean(mean: Any, count: int, device: torch.device) -> Any:
    """Return a mean over the samples of all ranks, which each has of its own.

    Parameters
    ----------
    mean
        Over this rank's samples; without use where there are none.
    count
        Their number.
    device
        Where ranks add up, the same kind on all of them; what is returned lies there too where
        there are none.
    """
    if size() == 1 or (count and not (isinstance(mean, Tensor) and mean.numel() == 1)):
        return mean  # what is no scalar is for the caller to refuse
    check_whole(mean)
    # On one device, even where a decoder has another: NCCL has a group for each.
    numbers = torch.zeros(2, dtype=torch.float64, device=device)
    if count:
        numbers[0] = mean.detach() * float(count)
        numbers[1] = count
    else:
        mean = stand_in()
    dist.all_reduce(numbers)
    joint = numbers[0] / numbers[1]
    if mean is None:
        return joint
    slope = (size() * count / numbers[1]).to(mean.device)
    return _with_slope(mean, joint.to(mean.device), slope)


def _with_slope(own: Tensor, value: Tensor, slope: float | Tensor) -> Tensor:
    """Return a value that depends on ``own`` with a slope: by sums alone, as graphs are walked."""
    scaled = own.reshape(()) * slope
    return scaled + (value - scaled.detach())


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Average ``p.grad`` over ranks; where only some have one, the others count as 0.

    Not ``DistributedDataParallel``, which wraps one forward pass: here a step may take several
    losses, of which a rank may have no sample.
    """
    if size() == 1:
        return
    has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.uint8)
    dist.all_reduce(has, op=dist.ReduceOp.MAX)
    moving = []
    for parameter, any_has in zip(parameters, has.tolist(), strict=True):
        if any_has:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            elif parameter.grad.layout != torch.strided:
                parameter.grad = parameter.grad.to_dense()
            moving.append(parameter.grad)
    add_up(moving)
    if moving:
        torch._foreach_div_(moving, float(size()))


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace dense tensors, of the same shapes on all ranks, by their sums; in place."""
    if size() == 1:
        return
    for group in _buckets(tensors):
        flat = torch.cat([t.reshape(-1) for t in group])
        dist.all_reduce(flat)
        for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
            tensor.copy_(part.view_as(tensor))


def beside_first(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield dense tensors, of the same shapes on all ranks, each with the first rank's."""
    for group in _buckets(tensors):
        flat = torch.cat([t.detach().reshape(-1) for t in group])
        if flat.numel():
            dist.broadcast(flat.view(torch.uint8), 0)
        for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
            yield tensor.detach(), part.view_as(tensor)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        kinds.setdefault((real.dtype, real.device), []).append(real)
    for group in kinds.values():
        bucket: list[Tensor] = []
        for tensor in group:
            bucket.append(tensor)
            if sum(t.nbytes for t in bucket) >= BUCKET:
                yield bucket
                bucket = []
        if bucket:
            yield bucket
