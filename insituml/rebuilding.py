"""Build a model again from its arguments, without trusting that they fit its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.nn.parameter import is_lazy

from insituml.constructor_arguments import call_arguments


class RebuildError(ValueError):
    """A constructor does not build, from its arguments, the model whose weights there are."""


def build(
    cls: Callable[..., nn.Module], arguments: dict[str, Any], generators: list[str]
) -> nn.Module:
    """Call the constructor; torch's global generator is left as it was.

    Raises
    ------
    RebuildError
        If it raises.
    """
    try:
        positional, named = call_arguments(arguments, generators)
        with torch.random.fork_rng(devices=[]):
            return cls(*positional, **named)
    except Exception as error:
        name, reason = getattr(cls, "__qualname__", cls), str(error).partition("\n")[0]
        raise RebuildError(
            f"{name} cannot be built from its constructor's arguments {_short(arguments)} "
            f"({type(error).__name__}: {reason})"
        ) from error


def build_without_memory(
    cls: Callable[..., nn.Module],
    arguments: dict[str, Any],
    generators: list[str],
    *,
    entries: int,
) -> nn.Module:
    """Build on the meta device, where tensors have a shape and take no memory.

    Parameters
    ----------
    cls, arguments, generators
        As in :func:`build`.
    entries
        Entries of the weights that the model is for; one of far more parts is not built.

    Raises
    ------
    RebuildError
        If the constructor raises, or makes far more parts than there are entries.
    """
    with _at_most(64 + 8 * entries, cls), torch.device("meta"):
        return build(cls, arguments, generators)


def check_same_parts(model: nn.Module, weights: dict[str, Any]) -> None:
    """Compare names and shapes of a model's parameters and buffers with weights.

    Raises
    ------
    RebuildError
        Naming the first that differs.
    """
    built = dict(model.state_dict())
    name = type(model).__qualname__
    for key, stored in weights.items():
        if key not in built:
            raise RebuildError(f"its arguments build a {name} without {key}, which it has")
        if isinstance(built[key], Tensor) != isinstance(stored, Tensor):
            raise RebuildError(f"its arguments build a {name} whose {key} is of another kind")
        if not isinstance(stored, Tensor) or is_lazy(built[key]) or is_lazy(stored):
            continue
        if built[key].shape != stored.shape:
            raise RebuildError(
                f"its arguments build a {name} whose {key} has shape {tuple(built[key].shape)}, "
                f"where it has {tuple(stored.shape)}"
            )
    for key in built.keys() - weights.keys():
        raise RebuildError(f"its arguments build a {name} with {key}, which it has not")


def shared_tensors(model: nn.Module) -> dict[str, str]:
    """Return for each further name of a parameter or buffer its first name."""
    first: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False)]
    named += [*model.named_buffers(remove_duplicate=False)]  # type: ignore[list-item]
    shared = {}
    for name, tensor in named:
        before = first.setdefault(id(tensor), name)
        if before != name:
            shared[name] = before
    return shared


def transient_dtypes(model: nn.Module) -> dict[str, torch.dtype]:
    """Return the dtypes of the buffers that are no part of the weights, by name."""
    kept = model.state_dict().keys()
    named = model.named_buffers(remove_duplicate=False)
    return {name: buffer.dtype for name, buffer in named if name not in kept}


def fill(
    model: nn.Module,
    weights: dict[str, Any],
    *,
    transient: dict[str, torch.dtype],
    frozen: list[str] | None,
) -> None:
    """Give a model its weights, each in its own dtype; parameters stay the same objects.

    Parameters
    ----------
    model
        Changed in place.
    weights
        Its ``state_dict()``.
    transient
        :func:`transient_dtypes`.
    frozen
        Names of the parameters that are not trained; None: as the constructor left them.
    """
    dtypes = {k: w.dtype for k, w in weights.items() if isinstance(w, Tensor)} | transient
    if frozen is not None:
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if name in frozen:
                parameter.requires_grad_(False)
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    for name, tensor in tensors.items():
        dtype = dtypes.get(name, tensor.dtype)
        if dtype != tensor.dtype and not is_lazy(tensor):
            # In place, so that what is shared stays shared.
            tensor.data = tensor.data.to(dtype)
    model.load_state_dict(weights)
    if frozen is not None:
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_(name not in frozen)


@contextmanager
def _at_most(parts: int, cls: Callable[..., nn.Module]) -> Iterator[None]:
    """Stop a constructor that makes more parameters, buffers and submodules than this."""
    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
        if made > parts:
            raise RebuildError(f"{cls} makes more than {parts} parts")

    hooks = [
        registration.register_module_parameter_registration_hook(count),
        registration.register_module_buffer_registration_hook(count),
        registration.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _short(arguments: dict[str, Any]) -> str:
    shown = ", ".join(
        f"{k}={tuple(v.shape) if isinstance(v, Tensor) else repr(v)[:60]}"
        for k, v in arguments.items()
    )
    return f"({shown[:200]})"
