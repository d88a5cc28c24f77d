"""The FLOPs of one task: what training costs whatever the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from insituml.optimisation.flops import counted_flops

Result = TypeVar("Result")


class Work:
    """Adds up the FLOPs of one task.

    To count costs time with every operation, so what is done over and over is counted once a task
    and size of batch: all steps of a task do the same. What a method does at the beginning and
    at the end of a task is counted as it is done.
    """

    def __init__(self) -> None:
        self.flops = 0
        """So far; see :mod:`insituml.optimisation.flops`."""
        self._known: dict[str, int] = {}

    def count(self, act: Callable[[], Result]) -> Result:
        """Do something whose FLOPs are counted; return its result."""
        with counted_flops() as flops:
            result = act()
        self.flops += flops()
        return result

    def repeated(self, what: str, size: int, act: Callable[[], Result]) -> Result:
        """Do what is done over and over in a task; it is counted the first time.

        Parameters
        ----------
        what, size
            Its name and the number of samples: with these it is always the same.
        act
            What is done.
        """
        key = f"{what} {size}"
        if key in self._known:
            self.flops += self._known[key]
            return act()
        before = self.flops
        result = self.count(act)
        self._known[key] = self.flops - before
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return what a task that was interrupted goes on from."""
        return {"flops": self.flops, "known": dict(self._known)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.flops, self._known = state["flops"], dict(state["known"])
