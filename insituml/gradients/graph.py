"""Which parameters a value depends on, as the graph of its gradient tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torch import Tensor
from torch.autograd.function import BackwardCFunction


def parameter_uses(roots: Iterable[Tensor]) -> tuple[Counter[int], bool]:
    """Count how often each parameter enters the graph behind the roots.

    Returns
    -------
    uses, opaque
        By ``id`` of the parameter; and whether the graph has functions written in Python, which
        may use parameters unseen, as reentrant activation checkpointing does.
    """
    nodes = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen, uses, opaque = set(nodes), Counter[int](), False
    while nodes:
        node = nodes.pop()
        opaque = opaque or isinstance(node, BackwardCFunction)
        for following, _ in node.next_functions:
            variable = getattr(following, "variable", None)
            if variable is not None:
                uses[id(variable)] += 1
            elif following is not None and following not in seen:
                seen.add(following)
                nodes.append(following)
    return uses, opaque
