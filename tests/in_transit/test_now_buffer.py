import pytest
import torch

from insituml.in_transit.now_buffer import NowBuffer


def numbered(first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.arange(first, first + count)
    return numbers[:, None] * torch.ones(2), numbers


def test_samples_leave_once_each_in_the_order_in_which_they_came() -> None:
    buffer, left, sent = NowBuffer(7), [], 0
    for count in (3, 3, 2, 7, 1, 4):
        (values, numbers) = buffer.add(numbered(sent, count))
        assert torch.equal(values[:, 0], numbers.float())
        left += numbers.tolist()
        sent += count
        assert len(buffer) == min(7, sent)
        assert sorted(buffer.state_dict()["columns"][1].tolist()) == list(range(len(left), sent))
    for part, expected in ((4, 4), (2, 2), (4, 1), (4, 0)):
        released = buffer.release(part)[1].tolist()
        assert len(released) == expected
        left += released
    assert left == list(range(sent))
    assert len(buffer) == 0


def test_draws_are_uniform_without_repetition_and_then_repeat_evenly() -> None:
    buffer, generator = NowBuffer(5), torch.Generator().manual_seed(0)
    buffer.add(numbered(0, 4))
    buffer.add(numbered(4, 3))  # holds 2..6, wrapped around
    counts = torch.zeros(7)
    for _ in range(2000):
        drawn = buffer.draw(3, generator=generator)[1]
        assert len(drawn.unique()) == 3
        counts[drawn] += 1
    assert counts[:2].sum() == 0
    # Each is drawn in 3 of 5 cases: a binomial of standard deviation 22.
    assert (counts[2:] - 1200).abs().max() < 5 * 22
    many = buffer.draw(12, generator=generator)[1].bincount(minlength=7)
    assert many[2:].min() >= 2
    assert many.sum() == 12


def test_memory_is_allocated_once() -> None:
    buffer = NowBuffer(4)
    for k in range(9):
        buffer.add(numbered(k, 1))
        assert buffer.bytes == 4 * (2 * 4 + 8)


def test_state_restores() -> None:
    buffer, restored = NowBuffer(5), NowBuffer(5)
    buffer.add(numbered(0, 4))
    buffer.add(numbered(4, 3))
    restored.load_state_dict(buffer.state_dict())
    drawn = [b.draw(4, generator=torch.Generator().manual_seed(3))[1] for b in (buffer, restored)]
    assert torch.equal(*drawn)
    assert torch.equal(buffer.add(numbered(7, 2))[1], restored.add(numbered(7, 2))[1])


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="capacity is 0"):
        NowBuffer(0)
    buffer = NowBuffer(2)
    with pytest.raises(ValueError, match="empty"):
        buffer.draw(1, generator=torch.Generator())
    with pytest.raises(ValueError, match="3 samples arrived at once, but the buffer holds 2"):
        buffer.add(numbered(0, 3))
    buffer.add(numbered(0, 1))
    with pytest.raises(ValueError, match=r"expected \[\(2,\), \(\)\]"):
        buffer.add((torch.zeros(1, 3), torch.zeros(1)))
