"""Summed powers of per-sample gradients, without keeping the gradients."""

from __future__ import annotations

from torch import Tensor

from insituml.gradients.layer_statistics import LayerCalls


def summed_powers(calls: LayerCalls, power: int) -> dict[str, Tensor]:
    """Return ``Σ_n |∂ℓ_n/∂θ|^power`` for the trainable parameters of a layer.

    Where the weight is used at one place per sample, a product of gradient and input, this is
    ``Σ_n |g_n|^p (|x_n|^p)ᵀ``: one matrix product for all samples. At several places l each
    sample's gradient is ``Σ_l g_nl x_nlᵀ``, which batched products compute a few samples at a
    time.

    Parameters
    ----------
    calls
        Inputs and output gradients of one layer.
    power
        2: squares. 1: absolute values.

    Returns
    -------
    dict
        By the parameter's name in the layer, ``weight`` and ``bias``.
    """
    trainable = {n: p for n, p in calls.layer.named_parameters() if p.requires_grad}
    result = {}
    if "weight" in trainable:
        result["weight"] = _weight(calls, power).view(trainable["weight"].shape)
    if "bias" in trainable:
        result["bias"] = _raised(calls.bias_gradients(), power).sum(0)
    return result


def _weight(calls: LayerCalls, power: int) -> Tensor:
    total = None
    for part in calls.parts():
        left, right = calls.weight_factors(part)
        if left.shape[2] == 1:
            rows, columns = _raised(left.squeeze(2), power), _raised(right.squeeze(2), power)
            added = rows.mT @ columns
        else:
            gradients = (left @ right.mT).flatten(1)
            added = (gradients.square_() if power == 2 else gradients.abs_()).sum(0)
        total = added if total is None else total.add_(added.view_as(total))
    assert total is not None
    return total


def _raised(values: Tensor, power: int) -> Tensor:
    return values.square() if power == 2 else values.abs()
