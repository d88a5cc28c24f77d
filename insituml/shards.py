"""Tensors of which each rank holds a part, cut along their first axis: torch's ``DTensor``.

They are the parameters of a learner that is shared out among ranks (:mod:`insituml.sharding`),
their gradients, and what an optimizer keeps of them. In files they are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def is_shard(value: Any) -> TypeGuard[DTensor]:
    """Tell whether each rank holds a part of a tensor."""
    if not dist.is_available() or not dist.is_initialized():
        return False  # and torch.distributed.tensor takes a while to import
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)


def is_sharded(module: nn.Module) -> bool:
    """Tell whether each rank holds a part of a module's parameters."""
    return any(is_shard(parameter) for parameter in module.parameters())


def check_whole(loss: Any) -> None:
    """Raise ValueError if a loss was computed from parts of weights."""
    if is_shard(loss):
        raise ValueError(
            "the loss takes weights without calling the module that holds them, and so finds this "
            "rank's part of them; call the module, use the optimizer's weight_decay for a penalty "
            "on weights, or train without sharding"
        )


@contextmanager
def explaining(module: nn.Module) -> Iterator[None]:
    """Say what is wrong where a part of a weight was taken for the whole."""
    try:
        yield
    except RuntimeError as error:
        if "DTensor" not in str(error):
            raise
        raise ValueError(
            f"{type(module).__name__} takes the weights of a module within it without calling it, "
            "and so finds this rank's part of them; call the module, or train without sharding"
        ) from error


@contextmanager
def explaining_step(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Say that an optimizer needs whole tensors where it stops at a part, or keeps other shapes."""
    name = type(optimizer).__name__
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{name} cannot step on parts of tensors ({str(error).splitlines()[0]}); {_INSTEAD}"
        ) from error
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            _check_entry(value, parameter, f"{key} of {name}")


_INSTEAD = "take an optimizer such as Adam or SGD, or do not shard"


def _check_entry(value: Any, parameter: Tensor, where: str) -> None:
    if not isinstance(value, Tensor) or not is_shard(parameter) or value.numel() == 1:
        return
    if value.shape != parameter.shape:
        raise ValueError(
            f"{where} has shape {tuple(value.shape)}, and its parameter {tuple(parameter.shape)}: "
            f"only numbers and tensors of a parameter's shape can be shared out among ranks; "
            f"{_INSTEAD}"
        )


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Hold all weights of a module on each rank in the block, so that it may compute by itself.

    All ranks enter and leave. What is computed has no graph, and weights stay as they are.
    """
    from torch.distributed.fsdp import FSDPModule

    units = [m for m in module.modules() if isinstance(m, FSDPModule)]
    for unit in units:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for root in _outermost_units(module):
            root.reset_iter_state()  # which remembers passes: ranks may have made more or less
        for unit in units:
            unit.reshard()
            unit.set_reshard_after_forward(True, recurse=False)


def _outermost_units(module: nn.Module) -> Iterator[Any]:
    from torch.distributed.fsdp import FSDPModule

    for child in module.children():
        if isinstance(child, FSDPModule):
            yield child
        else:
            yield from _outermost_units(child)


def own_part(value: Tensor) -> Tensor:
    """Return what this rank holds of a tensor: a view, or the tensor itself if it is no shard."""
    return value.to_local() if is_shard(value) else value


def whole(value: Any, *, keep: bool = True) -> Any:
    """Return nested dictionaries and lists with whole tensors on the host in place of shards.

    All ranks call it, with the same structure. They are gathered one after the other.

    Parameters
    ----------
    value
        Such as ``optimizer.state_dict()``.
    keep
        Whether this rank needs them; where it does not, None stands in their place.
    """
    if is_shard(value):
        full = value.full_tensor().detach()
        return full.cpu() if keep else None
    if isinstance(value, dict):
        return {key: whole(item, keep=keep) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([whole(item, keep=keep) for item in value])
    return value


def cut(value: Tensor, like: Tensor) -> Tensor:
    """Return a shard of a whole tensor, as another one of the same shape is cut; a copy.

    All ranks have the whole tensor; nothing is sent.
    """
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    mesh = like.device_mesh
    parts = torch.chunk(value, mesh.size())
    place = mesh.get_local_rank()
    # Of few rows there are fewer parts than ranks.
    part = parts[place] if place < len(parts) else value[:0]
    return DTensor.from_local(
        part.to(like.device, copy=True),
        mesh,
        like.placements,
        run_check=False,
        shape=value.shape,
        stride=value.stride(),
    )


def cut_weights(weights: dict[str, Any], module: nn.Module) -> dict[str, Any]:
    """Return whole weights as a module holds its own: cut where they are shards."""
    held = module.state_dict()
    return {key: cut(w, held[key]) if is_shard(held.get(key)) else w for key, w in weights.items()}


def cut_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the whole state of an optimizer, cut as the parameters are that it is to hold.

    Raises
    ------
    ValueError
        If it keeps something else of a shard than numbers and tensors of its shape.
    """
    held: dict[int, Tensor] = {}
    for stored, group in zip(state["param_groups"], optimizer.param_groups, strict=False):
        held |= dict(zip(stored["params"], group["params"], strict=False))
    if not any(map(is_shard, held.values())):
        return state
    found = {
        number: {
            name: _cut_entry(value, held[number], f"{name} of {type(optimizer).__name__}")
            for name, value in entries.items()
        }
        for number, entries in state["state"].items()
    }
    return {**state, "state": found}


def _cut_entry(value: Any, parameter: Tensor, where: str) -> Any:
    _check_entry(value, parameter, where)
    if isinstance(value, Tensor) and is_shard(parameter) and value.shape == parameter.shape:
        return cut(value, parameter)
    return value
