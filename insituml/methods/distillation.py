"""How far outputs have moved from what they were."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss


def output_distance(now: Any, before: Any, learner: object) -> Tensor:
    """Mean squared difference of outputs ``(n, ...)``; of outputs added since, nothing is asked.

    Parameters
    ----------
    now
        The learner's outputs. Where it has more of them than before, along the second dimension,
        the first ones are compared: a head that widens keeps its old outputs in front.
    before
        What they were for the same samples.
    learner
        For the message.

    Raises
    ------
    ValueError
        If there are other differences in shape, or the output is no tensor.
    """
    check_output(now, learner)
    check_output(before, learner)
    before = before.to(now.device)
    if now.shape != before.shape:
        if not (
            now.dim() == before.dim() >= 2
            and now.shape[0] == before.shape[0]
            and now.shape[2:] == before.shape[2:]
            and now.shape[1] > before.shape[1]
        ):
            raise ValueError(
                f"{type(learner).__name__}.output has shape {tuple(now.shape)}, where the model of "
                f"the past had {tuple(before.shape)}; only outputs added at the end of the second "
                "dimension can be told from those of the past"
            )
        now = now[:, : before.shape[1]]
    common = torch.promote_types(now.dtype, before.dtype)
    return mse_loss(now.to(common), before.to(common))


def check_output(output: Any, learner: object) -> None:
    """Raise ValueError unless an output is a tensor of numbers that can be compared."""
    if not isinstance(output, Tensor):
        raise ValueError(
            f"{type(learner).__name__}.output returns a {type(output).__name__}; methods that "
            "compare outputs expect one tensor (n, ...): join or choose its parts in output(batch)"
        )
    if not output.is_floating_point():
        raise ValueError(
            f"{type(learner).__name__}.output returns {output.dtype}; methods that compare outputs "
            "expect floating-point numbers, such as the real and imaginary parts side by side"
        )
