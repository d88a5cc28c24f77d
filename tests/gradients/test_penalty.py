"""The quadratic penalty against the explicit sum over anchors."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor

from insituml.gradients import QuadraticPenalty

Named = dict[str, Tensor]
SHAPES = {"weight": (3, 4), "bias": (5,)}


def draw(seed: int, *, positive: bool = False, dtype: torch.dtype = torch.float64) -> Named:
    generator = torch.Generator().manual_seed(seed)
    values = {n: torch.randn(s, generator=generator, dtype=dtype) for n, s in SHAPES.items()}
    return {n: v.square() for n, v in values.items()} if positive else values


def explicit(anchors: list[tuple[Named, Named]], parameters: Named) -> Tensor:
    terms = [
        (importance[n].double() * (parameters[n].double() - anchor[n].double()).square()).sum()
        for importance, anchor in anchors
        for n in importance
    ]
    return 0.5 * torch.stack(terms).sum()


def accumulated(anchors: list[tuple[Named, Named]]) -> QuadraticPenalty:
    penalty = QuadraticPenalty.at_anchor(*anchors[0])
    for importance, parameters in anchors[1:]:
        penalty = penalty.with_anchor(importance, parameters)
    return penalty


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equals_the_sum_over_all_anchors(count: int) -> None:
    anchors = [(draw(k, positive=True), draw(100 + k)) for k in range(count)]
    penalty = accumulated(anchors)
    for where in (draw(999), anchors[0][1], anchors[-1][1]):
        torch.testing.assert_close(
            penalty.value(where), explicit(anchors, where), rtol=1e-12, atol=1e-13
        )


def test_is_exactly_zero_at_its_only_anchor() -> None:
    for dtype in (torch.float32, torch.float64):
        anchor = draw(1, dtype=dtype)
        penalty = QuadraticPenalty.at_anchor(draw(0, positive=True, dtype=dtype), anchor)
        assert penalty.value(anchor).item() == 0.0


def test_the_anchor_is_a_copy() -> None:
    anchor = draw(1)
    penalty = QuadraticPenalty.at_anchor(draw(0, positive=True), anchor)
    anchor["bias"] += 1
    assert penalty.value(anchor).item() > 0


def test_gradient_against_finite_differences() -> None:
    penalty = accumulated([(draw(k, positive=True), draw(100 + k)) for k in range(3)])
    inputs = [value.requires_grad_() for value in draw(5).values()]
    assert torch.autograd.gradcheck(
        lambda *values: penalty.value(dict(zip(SHAPES, values, strict=True))), inputs
    )


def test_parameters_of_no_importance_are_free() -> None:
    first, second = draw(0, positive=True), draw(1, positive=True)
    for importance in (first, second):
        importance["bias"][:3] = 0.0
    anchors = [(first, draw(100)), (second, draw(101))]
    penalty, where = accumulated(anchors), draw(7)
    value = penalty.value(where)
    torch.testing.assert_close(value, explicit(anchors, where))
    where["bias"][:3] += 1e6
    assert penalty.value(where) == value
    assert torch.isfinite(penalty.centre["bias"]).all()


def test_a_parameter_important_to_one_task_alone() -> None:
    first, second = draw(0, positive=True), draw(1, positive=True)
    first["weight"][0] = 0.0
    second["weight"][1] = 0.0
    anchors = [(first, draw(100)), (second, draw(101))]
    where = draw(7)
    torch.testing.assert_close(accumulated(anchors).value(where), explicit(anchors, where))


def test_parameters_frozen_or_thawed_between_tasks_keep_their_terms() -> None:
    first, second, third = (draw(k, positive=True) for k in range(3))
    del second["weight"], third["bias"]
    anchors = [(first, draw(100)), (second, draw(101)), (third, draw(102))]
    where = draw(7)
    torch.testing.assert_close(accumulated(anchors).value(where), explicit(anchors, where))
    torch.testing.assert_close(accumulated(anchors[1:]).value(where), explicit(anchors[1:], where))


def test_moved_anchor_decays_what_was_held() -> None:
    gamma = 0.7
    anchors = [(draw(k, positive=True), draw(100 + k)) for k in range(3)]
    penalty = QuadraticPenalty.at_anchor(*anchors[0])
    for importance, parameters in anchors[1:]:
        penalty = penalty.with_moved_anchor(importance, parameters, gamma)
    running = {n: sum(gamma ** (2 - k) * anchors[k][0][n] for k in range(3)) for n in SHAPES}
    where = draw(9)
    torch.testing.assert_close(penalty.value(where), explicit([(running, anchors[2][1])], where))
    assert penalty.value(anchors[2][1]).item() == 0.0


def test_nothing_cancels_in_float32() -> None:
    # Large weights, and a look near the anchors: ⟨A, θ²⟩ − 2⟨B, θ⟩ + c would drown in rounding.
    dtype = torch.float32
    importance = {n: 1 + v for n, v in draw(0, positive=True, dtype=dtype).items()}
    anchor = {n: 1000 + v for n, v in draw(1, dtype=dtype).items()}
    near = {n: v + 0.01 * draw(2, dtype=dtype)[n] for n, v in anchor.items()}
    nearer = {n: v + 0.002 * draw(3, dtype=dtype)[n] for n, v in anchor.items()}

    one = QuadraticPenalty.at_anchor(importance, anchor).value(near).item()
    assert one == pytest.approx(explicit([(importance, anchor)], near).item(), rel=1e-5)

    anchors = [(importance, anchor), (importance, near)]
    two = accumulated(anchors).value(nearer).item()
    expected = explicit(anchors, nearer).item()
    assert two == pytest.approx(expected, rel=0.01)

    naive = sum(
        (f[n] * nearer[n] ** 2).sum()
        - 2 * (f[n] * a[n] * nearer[n]).sum()
        + (f[n] * a[n] ** 2).sum()
        for f, a in anchors
        for n in f
    )
    assert abs(0.5 * naive.item() - expected) > 10 * expected  # so the case is hard


def test_state_survives_a_file() -> None:
    penalty = accumulated([(draw(k, positive=True), draw(100 + k)) for k in range(2)])
    buffer = io.BytesIO()
    torch.save(penalty.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    where = draw(5)
    restored = QuadraticPenalty.from_state_dict(state, where)
    assert torch.equal(restored.value(where), penalty.value(where))
    more = draw(8, positive=True), draw(108)
    assert torch.equal(
        restored.with_anchor(*more).value(where), penalty.with_anchor(*more).value(where)
    )


def test_follows_the_parameters_to_another_device() -> None:
    penalty = QuadraticPenalty.at_anchor(draw(0, positive=True), draw(1))
    elsewhere = {n: v.to("meta") for n, v in draw(2).items()}
    assert penalty.value(elsewhere).device.type == "meta"


def test_second_derivative_against_finite_differences() -> None:
    penalty = accumulated([(draw(k, positive=True), draw(100 + k)) for k in range(2)])
    inputs = [value.requires_grad_() for value in draw(5).values()]
    assert torch.autograd.gradgradcheck(
        lambda *values: penalty.value(dict(zip(SHAPES, values, strict=True))), inputs
    )
