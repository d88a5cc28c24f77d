"""A module that an estimate leaves as it found it: each object, each bit, each mode, each draw."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

LARGE = 2**22
"""Numbers of a tensor held as a plain attribute above which it is taken for data, not copied."""

LONG = 10_000
"""Entries of a container held as a plain attribute above which it is taken for data likewise."""


@contextmanager
def unchanged(module: nn.Module) -> Iterator[Callable[[], None]]:
    """Put everything in the module back afterwards, also after an error.

    Parameters, buffers and submodules are the same objects with the same bits, modes, gradients
    and hooks; plain attributes are what they were, containers of them included; torch's global
    generators stand where they stood. ``torch.func`` puts tensors of its own into modules that are
    registered under two names, and a forward pass may write to buffers.

    Yields
    ------
    callable
        Restores all but the generators at once: what one sample's forward pass leaves behind is
        then not seen by the next.
    """
    held = _Held(module)
    devices = {t.device.index for t in held.tensors() if t.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(d for d in devices if d is not None)):
        try:
            yield held.restore
        finally:
            held.restore(everything=True)


class _Held:
    def __init__(self, module: nn.Module) -> None:
        self._containers: list[tuple[Any, Any]] = []
        self._bits: list[tuple[Tensor, Tensor, int]] = []
        self._parameters: list[tuple[nn.Parameter, Tensor, int, Tensor | None, bool]] = []
        self._seen: set[int] = set()
        for part in module.modules():
            self._hold_container(vars(part))

    def tensors(self) -> Iterator[Tensor]:
        yield from (entry[0] for entry in self._parameters)
        yield from (entry[0] for entry in self._bits)

    def restore(self, everything: bool = False) -> None:
        """Restore; without ``everything`` weights are looked at only where torch noted a write."""
        for container, contents in self._containers:
            if container or contents:
                _refill(container, contents)
        with torch.no_grad():
            for parameter, bits, version, gradient, requires_grad in self._parameters:
                if everything or parameter._version != version:
                    _rewrite(parameter, bits)
                if parameter.requires_grad is not requires_grad:
                    parameter.requires_grad_(requires_grad)
                if parameter.grad is not gradient:
                    parameter.grad = gradient
            for tensor, bits, _ in self._bits:
                _rewrite(tensor, bits)

    def _hold(self, value: Any) -> None:
        if id(value) in self._seen:
            return
        if isinstance(value, nn.Parameter):
            self._seen.add(id(value))
            if not nn.parameter.is_lazy(value):
                bits = value.detach().clone()
                self._parameters.append(
                    (value, bits, value._version, value.grad, value.requires_grad)
                )
        elif isinstance(value, Tensor):
            self._seen.add(id(value))
            plain = not nn.parameter.is_lazy(value)
            if plain and value.grad_fn is None and value.numel() <= LARGE:
                self._bits.append((value, value.detach().clone(), value._version))
        elif isinstance(value, dict | list | set | deque):
            self._hold_container(value)

    def _hold_container(self, container: Any) -> None:
        if id(container) in self._seen or len(container) > LONG:
            return
        self._seen.add(id(container))
        contents = container.copy()
        self._containers.append((container, contents))
        for value in contents.values() if isinstance(contents, dict) else contents:
            self._hold(value)


def _refill(container: Any, contents: Any) -> None:
    if isinstance(container, list):
        container[:] = contents
        return
    # Untouched ones, nearly all, are left alone: an attribute's dictionary is read all the time.
    if isinstance(container, dict):
        same = len(container) == len(contents) and all(
            a is b and left is right
            for (a, left), (b, right) in zip(container.items(), contents.items(), strict=True)
        )
        if same:
            return
    container.clear()
    if isinstance(container, deque):
        container.extend(contents)
    else:
        container.update(contents)


def _rewrite(tensor: Tensor, bits: Tensor) -> None:
    now = tensor.detach()
    if now.shape != bits.shape or now.dtype != bits.dtype or now.device != bits.device:
        tensor.data = bits.clone()
    elif not torch.equal(_integers(now), _integers(bits)):
        tensor.copy_(bits)


def _integers(tensor: Tensor) -> Tensor:
    """Return the bits, in which a NaN equals itself; a sparse tensor's values as they are."""
    if tensor.layout != torch.strided or not tensor.is_contiguous() or tensor.dim() == 0:
        return tensor.nan_to_num(nan=0.125) if tensor.is_floating_point() else tensor
    return tensor.view(torch.uint8)
