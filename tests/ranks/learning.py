"""A small stream learned by every method of conf/method/, by one process or each of many ranks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

import insituml_pipelines.common.cli  # noqa: F401 - the resolvers that conf/method/ uses
from insituml.data.mirror import Mirrors
from insituml.data.mixing import IterationMixing
from insituml.data.normalisation import Normalisation
from insituml.data.task import Task
from insituml.execution import Execution
from insituml.memory import HerdingMemory, LossAwareMemory, QuotaMemory, RingMemory
from insituml.methods import AGEM, EWC, MIR, Combined, ExperienceReplay, Method, Naive
from insituml.models import MLP, ConditionalFlow, PrincipalComponents
from insituml.optimisation import Augment, Schedule
from insituml.records import EpochRecord, TaskRecord
from insituml.sharding import shard
from insituml.shards import whole
from insituml.training import train

CONF = Path(__file__).parents[2] / "conf" / "method"
SHAPE = (3, 8)
SAMPLES = (22, 10, 2)
"""Of each task: with batches of 7, last ones of 1 and 3; of the third, not one a rank of three."""
SMALL: dict[str, dict[str, Any]] = {
    "compressed_replay": {"memory": {"rms_error": 0.05}},
    "ewc": {"strength": 2.0},
    "gpm": {"samples": 8, "threshold": 0.6},
    "joint_converged": {"patience": 2, "fewest_epochs": 1, "max_epochs": 7, "rounds": 2},
    "kronecker_ewc": {"strength": 3.0, "fisher_samples": 9},
    "mas": {"strength": 0.1, "importance_samples": 9},
    "mir": {"candidates": 9},
    "sketched_replay": {"sketch_size": 3, "memory_size": 12},
    "synaptic_intelligence": {"strength": 5.0},
    "weight_averaging": {"decay": 0.9},
}
"""Values that matter within so few steps."""


def configured(name: str) -> Any:
    """Return what makes a method, as its file in conf/method/ says."""
    values = {
        "training": {"memory_size": 12, "reference_size": 5},
        "stream": {"tasks": len(SAMPLES), "sample_shape": list(SHAPE)},
        "name": "lwfa",
        "method": OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), SMALL.get(name, {})),
    }
    node = OmegaConf.create(values).method
    return partial(instantiate, node, _convert_="all")


FILES = sorted(path.stem for path in CONF.glob("*.yaml"))
OTHERS: dict[str, Any] = {
    "replay of as many": partial(ExperienceReplay, 12),
    "quota": partial(ExperienceReplay, 11, 5, QuotaMemory),
    "ring": partial(ExperienceReplay, 11, 5, RingMemory),
    "herding": partial(ExperienceReplay, 11, 5, HerdingMemory),
    "loss-aware": partial(ExperienceReplay, 11, 5, LossAwareMemory),
    "latents": partial(ExperienceReplay, 11, 5, store="latent"),
    "latent reference": partial(AGEM, 12, 3, 4, store="latent", latent_weight=0.5),
    "mir of as many": partial(MIR, 12),
    "several": partial(
        Combined, [partial(ExperienceReplay, 9), partial(EWC, 2.0), partial(AGEM, 9, 3, 2)]
    ),
    "parts": partial(ExperienceReplay, 12, 3),
    "changed samples": partial(ExperienceReplay, 12, 3),
    "recomputed": Naive,
}
"""Options of methods and of training that the files leave as they are."""
SHARDED = [
    *("naive", "experience_replay", "compressed_replay", "joint", "cumulative"),
    *("der_plus_plus", "herding", "parts", "recomputed"),
]
"""Of these, learned by ranks that hold a part of the learner each."""
IN_PARTS = "in parts: "
NAMES = [*FILES, *OTHERS, *(f"{IN_PARTS}{name}" for name in SHARDED)]


def make_tasks(sizes: Sequence[int] = SAMPLES) -> list[Task]:
    generator = torch.Generator().manual_seed(5)

    def samples(count: int, k: int) -> tuple[torch.Tensor, ...]:
        mixing = torch.randn(6, 24, generator=generator, dtype=torch.float64)
        x = torch.randn(count, 6, generator=generator, dtype=torch.float64) @ mixing
        return x.view(count, *SHAPE), torch.full((count, 1), float(k), dtype=torch.float64)

    return [
        Task(k, f"task {k}", samples(n, k), samples(4, k), validation=samples(5, k))
        for k, n in enumerate(sizes)
    ]


def learn(name: str) -> dict[str, Any]:
    """Return weights, losses and the method's state."""
    sharded, name = name.startswith(IN_PARTS), name.removeprefix(IN_PARTS)
    method: Method = (OTHERS.get(name) or configured(name))(
        generator=torch.Generator().manual_seed(3)
    )
    seeded = torch.Generator().manual_seed(1)
    learner: Any = MLP(SHAPE, [12], 4, "tanh", generator=seeded)
    if name == "generative_replay":
        learner = ConditionalFlow(SHAPE, 1, 2, [8], 4, generator=seeded)
    if not method.learns_by_gradient:
        learner = PrincipalComponents(SHAPE, 3)
    learner.double()
    if name == "recomputed":
        Execution(activation_checkpointing=True).apply(learner)
    if sharded:
        shard(learner, unit=100)  # the outer layers, and what is left of encoder and decoder
    parameters = [*learner.parameters()] or [torch.zeros(1, requires_grad=True)]
    records: list[Any] = []
    options: dict[str, Any] = {}
    if name == "parts":
        options = {"accumulate": 2, "schedule": Schedule("cosine", warmup_steps=2)}
    if name == "changed samples":
        options = {"mix": IterationMixing(2, 2), "augment": mirrored()}
    for _ in train(
        learner,
        method,
        make_tasks((22, 10, 5) if name == "herding" else SAMPLES),  # two are as near
        torch.optim.Adam(parameters, lr=0.01),
        epochs=2,
        batch_size=7,
        generator=torch.Generator().manual_seed(4),
        max_gradient_norm=0.5,
        report=records.append,
        **options,
    ):
        pass
    tasks = [r for r in records if isinstance(r, TaskRecord)]
    return {
        "weights": whole(dict(learner.state_dict())),
        "losses": [r.losses for r in records if isinstance(r, EpochRecord)],
        "flops": sum(r.flops for r in tasks),
        "counts": [(r.steps, r.samples_seen, r.samples_replayed) for r in tasks],
        "method": method.state_dict(),
    }


def mirrored() -> Augment:
    mirrors = Mirrors(["x"], ["x"], ["Ex", "Ey", "Ez"])
    scale = Normalisation(*(torch.tensor(v).double().numpy() for v in ([0.1] * 3, [1.0] * 3)))
    return lambda batch, generator: mirrors.randomly(batch, scale, generator=generator)


def learn_all(rank: int, folder: Path, names: Sequence[str]) -> None:
    """Learn by each name, as one of several ranks, and leave what came of it."""
    for name in names:
        found = learn(name)
        torch.save(found, folder / f"{name} of {rank}")
