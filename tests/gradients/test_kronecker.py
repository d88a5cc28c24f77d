"""Kronecker-factored Fisher information against explicit matrices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from insituml.gradients import (
    KroneckerPenalty,
    diagonal_fisher,
    kronecker_fisher,
    nearest_kronecker,
)
from insituml.gradients.kronecker import KroneckerBlock, KroneckerFisher
from insituml.models import MLP, AutoEncoder2D


def numbers(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def semidefinite(size: int, seed: int, rank: int | None = None) -> Tensor:
    root = numbers(size, rank or size, seed=seed)
    return root @ root.T


def seeded(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().double()


def slope_loss(module, batch):
    """Linear in the output: the gradient by the output is the second column, whatever x is."""
    return (module(batch[0]).flatten(1) * batch[1]).sum(dim=1).mean()


def all_pairs(inputs: Tensor, slopes: Tensor) -> list[Tensor]:
    """Inputs and slopes that are independent: every input with every slope."""
    return [inputs.repeat_interleave(len(slopes), dim=0), slopes.repeat(len(inputs), 1)]


def explicit_fisher(module, loss, samples, names) -> Tensor:
    """The Fisher matrix of the matrix [weight | bias], flattened row by row."""
    total = 0.0
    for n in range(len(samples[0])):
        value = loss(module, tuple(t[n : n + 1] for t in samples))
        parameters = dict(module.named_parameters())
        gradients = torch.autograd.grad(value, [parameters[name] for name in names])
        columns = [gradients[0].flatten(1), *(g.unsqueeze(1) for g in gradients[1:])]
        flat = torch.cat(columns, dim=1).flatten()
        total = total + torch.outer(flat, flat)
    return total / len(samples[0])


def explicit(block: KroneckerBlock) -> Tensor:
    return torch.kron(block.rows, block.columns)  # of a matrix flattened row by row


BLOCKS = {
    "linear": (lambda: nn.Linear(4, 3), (4,), 3),
    "linear_no_bias": (lambda: nn.Linear(4, 3, bias=False), (4,), 3),
    # A kernel as large as the input: one place, so that nothing is approximated.
    "conv": (lambda: nn.Conv2d(2, 3, (2, 3)), (2, 2, 3), 3),
    "conv_padded": (lambda: nn.Conv1d(2, 3, 4, padding=1), (2, 2), 3),
    "transposed": (lambda: nn.ConvTranspose1d(3, 2, 2, bias=False), (3, 1), 4),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_is_the_exact_block_where_inputs_and_gradients_are_independent(case: str) -> None:
    build, shape, outputs = BLOCKS[case]
    layer = seeded(build)
    samples = all_pairs(numbers(7, *shape), numbers(5, outputs, seed=4))
    fisher = kronecker_fisher(layer, slope_loss, samples)
    names = [name for name, _ in layer.named_parameters()]
    assert fisher.blocks.keys() == {""}
    assert fisher.diagonal == {}
    exact = explicit_fisher(layer, slope_loss, samples, names)
    torch.testing.assert_close(explicit(fisher.blocks[""]), exact, rtol=1e-10, atol=1e-12)


def test_a_convolution_sums_inputs_and_averages_gradients_over_places() -> None:
    layer = seeded(lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1))
    x, slopes = numbers(6, 2, 7), numbers(6, 3 * 4, seed=4)
    block = kronecker_fisher(layer, slope_loss, [x, slopes]).blocks[""]
    padded = torch.nn.functional.pad(x, (1, 1))
    rows, columns = torch.zeros(3, 3).double(), torch.zeros(7, 7).double()
    for n in range(6):
        for place in range(4):
            patch = padded[n, :, 2 * place : 2 * place + 3].flatten()
            patch = torch.cat([patch, torch.ones(1).double()])
            g = slopes[n].view(3, 4)[:, place]
            columns += torch.outer(patch, patch) / 6
            rows += torch.outer(g, g) / (6 * 4)
    torch.testing.assert_close(block.rows, rows, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(block.columns, columns, rtol=1e-12, atol=1e-14)


def model_loss(module, batch):
    return module.loss(batch)


def test_other_parameters_take_the_exact_diagonal() -> None:
    module, samples = AutoEncoder2D((1, 5, 6), (2, 3), 4).double(), [numbers(9, 1, 5, 6)]
    module.encoder.latent.bias.requires_grad_(False)
    module.decoder.latent.weight.requires_grad_(False)
    fisher = kronecker_fisher(module, model_loss, samples)
    everything = diagonal_fisher(module, model_loss, samples)
    transposed = {n for n in everything if n.startswith("decoder.blocks") and n.endswith("bias")}
    assert fisher.diagonal.keys() == transposed | {"decoder.latent.bias"}
    for name, value in fisher.diagonal.items():
        torch.testing.assert_close(value, everything[name], rtol=1e-10, atol=1e-14)
    weights = {n.removesuffix(".weight") for n in everything if n.endswith("weight")}
    assert fisher.blocks.keys() == weights
    assert len(fisher.blocks["encoder.latent"].columns) == module.encoder.latent.in_features
    # Chunks make no difference; the trace is that of the exact Fisher where there is one place.
    single = kronecker_fisher(module, model_loss, samples, chunk_size=1)
    for name, block in fisher.blocks.items():
        torch.testing.assert_close(single.blocks[name].rows, block.rows)
        torch.testing.assert_close(single.blocks[name].columns, block.columns)


def test_wide_layers_take_the_exact_diagonal() -> None:
    module, samples = MLP(7, (5,), 2).double(), [numbers(9, 7)]
    everything = kronecker_fisher(module, model_loss, samples)
    fisher = kronecker_fisher(module, model_loss, samples, max_width=5)
    wide = {
        n for n, x in module.named_modules() if isinstance(x, nn.Linear) and 7 in x.weight.shape
    }
    assert wide
    assert fisher.blocks.keys() == everything.blocks.keys() - wide
    exact = diagonal_fisher(module, model_loss, samples)
    assert fisher.diagonal.keys() == {f"{n}.{own}" for n in wide for own in ("weight", "bias")}
    for name, value in fisher.diagonal.items():
        torch.testing.assert_close(value, exact[name], rtol=1e-10, atol=1e-14)
    for name, block in fisher.blocks.items():
        torch.testing.assert_close(block.columns, everything.blocks[name].columns)


@pytest.mark.parametrize("chunk_size", [1, 16])
def test_blocks_are_of_each_samples_own_loss(chunk_size: int) -> None:
    module, samples = MLP(3, (4,), 2).double(), [numbers(9, 3)]

    def total(module, batch):
        return module.loss(batch) * len(batch[0])

    def opaque(module, batch):  # no output to be told from the loss
        return (module.decode(module.encode(batch[0])) - batch[0]).square().mean()

    expected = kronecker_fisher(module, model_loss, samples)
    for loss in (total, opaque):
        fisher = kronecker_fisher(module, loss, samples, chunk_size=chunk_size)
        assert fisher.blocks.keys() == expected.blocks.keys()
        for name, block in fisher.blocks.items():
            torch.testing.assert_close(block.rows, expected.blocks[name].rows)
            torch.testing.assert_close(block.columns, expected.blocks[name].columns)


def test_weights_used_beside_their_layers_take_the_diagonal() -> None:
    module, samples = MLP(3, (4,), 2).double(), [numbers(9, 3)]

    def decayed(module, batch):
        return module.loss(batch) + sum(p.square().sum() for p in module.parameters())

    fisher = kronecker_fisher(module, decayed, samples)
    assert fisher.blocks == {}
    assert fisher.diagonal.keys() == dict(module.named_parameters()).keys()


# The nearest Kronecker product


def svd_of_the_rearrangement(total: Tensor, rows: int, columns: int) -> Tensor:
    """The nearest Kronecker product by a full SVD, Van Loan & Pitsianis."""
    blocks = total.view(rows, columns, rows, columns).permute(0, 2, 1, 3)
    u, s, v = torch.linalg.svd(blocks.reshape(rows * rows, columns * columns))
    left = (u[:, 0] * s[0]).view(rows, rows)
    return torch.kron(left, v[0].view(columns, columns))


@pytest.mark.parametrize("seed", range(4))
def test_nearest_product_equals_the_svd_of_the_rearrangement(seed: int) -> None:
    first = KroneckerBlock(semidefinite(3, seed), semidefinite(4, seed + 10, rank=2))
    second = KroneckerBlock(0.1 * seed * semidefinite(3, seed + 20), semidefinite(4, seed + 30))
    nearest = nearest_kronecker(first, second)
    expected = svd_of_the_rearrangement(explicit(first) + explicit(second), 3, 4)
    torch.testing.assert_close(explicit(nearest), expected, rtol=1e-9, atol=1e-10)
    for factor in (nearest.rows, nearest.columns):
        assert torch.linalg.eigvalsh(factor).min() > -1e-10
    torch.testing.assert_close(nearest.rows.norm(), nearest.columns.norm())


def test_a_sum_that_is_a_product_is_kept_exactly() -> None:
    block = KroneckerBlock(semidefinite(3, 0), semidefinite(4, 1))
    same = nearest_kronecker(block, KroneckerBlock(2 * block.rows, block.columns))
    torch.testing.assert_close(explicit(same), 3 * explicit(block), rtol=1e-12, atol=1e-12)
    shared = nearest_kronecker(block, KroneckerBlock(block.rows, semidefinite(4, 2)))
    expected = torch.kron(block.rows, block.columns + semidefinite(4, 2))
    torch.testing.assert_close(explicit(shared), expected, rtol=1e-12, atol=1e-12)
    nothing = KroneckerBlock(torch.zeros(3, 3).double(), torch.zeros(4, 4).double())
    kept = nearest_kronecker(nothing, block)
    torch.testing.assert_close(explicit(kept), explicit(block), rtol=1e-12, atol=1e-12)
    assert (explicit(nearest_kronecker(nothing, nothing)) == 0).all()


def test_orthogonal_products_of_equal_size_keep_one_of_them() -> None:
    one, two = torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([0.0, 1.0]))
    nearest = explicit(nearest_kronecker(KroneckerBlock(one, one), KroneckerBlock(two, two)))
    assert torch.equal(nearest, torch.kron(one, one))


# The penalty


def moved(module: nn.Module, seed: int) -> None:
    with torch.no_grad():
        for k, p in enumerate(module.parameters()):
            p.add_(0.1 * numbers(*p.shape, seed=seed + k))


def test_the_penalty_is_the_explicit_quadratic_form_and_so_is_its_gradient() -> None:
    module, samples = AutoEncoder2D((1, 4, 4), (2,), 3).double(), [numbers(9, 1, 4, 4)]
    fisher = kronecker_fisher(module, model_loss, samples)
    penalty = KroneckerPenalty.at_anchor(fisher, dict(module.named_parameters()))
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    assert penalty.value(dict(module.named_parameters())) == 0
    moved(module, 50)
    now = dict(module.named_parameters())
    expected = torch.zeros(()).double()
    for layer, block in fisher.blocks.items():
        offset = (now[f"{layer}.weight"] - before[f"{layer}.weight"]).flatten(1)
        if len(block.columns) > offset.shape[1]:
            bias = now[f"{layer}.bias"] - before[f"{layer}.bias"]
            offset = torch.cat([offset, bias.unsqueeze(1)], dim=1)
        flat = offset.flatten()
        expected = expected + 0.5 * flat @ explicit(block) @ flat
    for name, value in fisher.diagonal.items():
        expected = expected + 0.5 * (value * (now[name] - before[name]).square()).sum()
    actual = penalty.value(now)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=0)
    assert expected > 0
    parameters = list(now.values())
    gradients = torch.autograd.grad(3 * actual, parameters)
    for g, e in zip(gradients, torch.autograd.grad(3 * expected, parameters), strict=True):
        torch.testing.assert_close(g, e, rtol=1e-9, atol=1e-14)


def test_moving_the_anchor_decays_the_old_precision_and_keeps_the_nearest_product() -> None:
    module = MLP(3, (4,), 2).double()
    parameters = dict(module.named_parameters())
    fishers = [kronecker_fisher(module, model_loss, [numbers(9, 3, seed=k)]) for k in (0, 1)]
    penalty = KroneckerPenalty.at_anchor(fishers[0], parameters)
    moved(module, 50)
    penalty = penalty.with_moved_anchor(fishers[1], parameters, 0.3)
    assert penalty.value(parameters) == 0
    for name, block in penalty.blocks.items():
        old, new = fishers[0].blocks[name], fishers[1].blocks[name]
        total = 0.3 * explicit(old) + explicit(new)
        expected = svd_of_the_rearrangement(total, len(old.rows), len(old.columns))
        torch.testing.assert_close(explicit(block), expected, rtol=1e-9, atol=1e-12)


def test_a_bias_frozen_or_thawed_between_tasks_keeps_the_weights_precision() -> None:
    layer = seeded(lambda: nn.Linear(4, 3))
    samples = all_pairs(numbers(7, 4), numbers(5, 3, seed=4))
    parameters = dict(layer.named_parameters())
    full = kronecker_fisher(layer, slope_loss, samples)
    layer.bias.requires_grad_(False)
    weight = kronecker_fisher(layer, slope_loss, samples)
    both = KroneckerPenalty.at_anchor(full, parameters)
    frozen = both.with_moved_anchor(weight, parameters, 1.0)
    expected = 2 * explicit(weight.blocks[""])
    torch.testing.assert_close(explicit(frozen.blocks[""]), expected, rtol=1e-9, atol=1e-12)
    thawed = frozen.with_moved_anchor(full, parameters, 1.0).blocks[""]
    assert thawed.columns.shape == full.blocks[""].columns.shape


def test_state_restores_bit_for_bit() -> None:
    module = AutoEncoder2D((1, 4, 4), (2,), 3)
    parameters = dict(module.named_parameters())
    fisher = kronecker_fisher(module, model_loss, [numbers(9, 1, 4, 4).float()])
    penalty = KroneckerPenalty.at_anchor(fisher, parameters)
    restored = KroneckerPenalty.from_state_dict(penalty.state_dict(), parameters)
    moved(module.double(), 50)
    module.float()
    assert torch.equal(restored.value(parameters), penalty.value(parameters))


def test_errors_name_what_arrived() -> None:
    with pytest.raises(ValueError, match="0 samples"):
        kronecker_fisher(MLP(4), model_loss, [torch.zeros(0, 4)])
    with pytest.raises(ValueError, match="chunk_size is 0"):
        kronecker_fisher(MLP(4), model_loss, [torch.zeros(1, 4)], chunk_size=0)
    with pytest.raises(ValueError, match="max_width is 0"):
        kronecker_fisher(MLP(4), model_loss, [torch.zeros(1, 4)], max_width=0)
    empty = KroneckerPenalty.at_anchor(KroneckerFisher({}, {}), {})
    assert empty.value({"p": torch.ones(2)}) == 0
