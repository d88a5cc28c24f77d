"""One training through Avalanche; started by ``benchmarks/peers.py`` in an environment of its own.

Its strategies are built as its documentation does, without evaluation or loggers while the clock
runs, and with what costs it least: data in tensors, no task labels where a method needs none.
"""

# ruff: noqa: E402 (torchvision must be looked after before Avalanche imports it)

from __future__ import annotations

import copy
import random
import warnings
from time import process_time
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import TensorDataset

from benchmarks.peers_protocol import Run
from benchmarks.peers_run import Setting, Training, serve, weights_of
from insituml.gradients import diagonal_fisher
from insituml.learner import ContinualLearner

warnings.filterwarnings("ignore", module="avalanche|qpsolvers")
try:
    import torchvision  # noqa: F401
except RuntimeError:
    # Its compiled operators did not load beside this torch; importing it asks for two of them,
    # which nothing here calls.
    missing = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        missing.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    TaskAwareSupervisedClassificationDataset,
)
from avalanche.benchmarks.utils.data_attribute import DataAttribute, TaskLabels
from avalanche.core import SupervisedPlugin
from avalanche.training import LearningWithoutForgetting
from avalanche.training.plugins import (
    AGEMPlugin,
    EWCPlugin,
    GEMPlugin,
    LwFPlugin,
    ReplayPlugin,
    SynapticIntelligencePlugin,
)
from avalanche.training.supervised import der
from avalanche.training.templates import SupervisedTemplate

MARGIN = 0.5
"""Of GEM's constraints."""

DAMPING = 0.1
"""Of SI's importance, as insituml has it by default."""


class Reconstruction(nn.Module):
    """Show Avalanche a learner as the function from inputs to reconstructions."""

    def __init__(self, learner: ContinualLearner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, x: Tensor) -> Tensor:
        return self.learner(x)[1]


class EpochClock(SupervisedPlugin):
    """Add up the time between the beginning and the end of epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self.seconds -= process_time()

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self.seconds += process_time()


class OutputDistillation(LearningWithoutForgetting):
    """LwF on reconstructions: the squared error to the last model's, in place of classes."""

    def post_adapt(self, agent: Any, exp: Any) -> None:
        self.expcount += 1
        self.prev_model = copy.deepcopy(agent.model)
        self.prev_classes_by_task = {0: set()}

    def _distillation_loss(self, out: Tensor, prev_out: Tensor, active_units: Any) -> Tensor:
        return mse_loss(out, prev_out)


@torch.no_grad()
def copy_weights(model: nn.Module, target: Any, excluded_parameters: Any) -> None:
    """For SI: on the CPU its "old" and "new" weights are views of one memory, the parameters."""
    for name, parameter in model.named_parameters():
        target[name].data = parameter.detach().cpu().flatten().clone()


def plugins_of(setting: Setting, run: Run) -> list[SupervisedPlugin]:
    """Return what makes the method of plain training."""
    per_task = setting.memory // len(setting.tasks)
    if run.method == "SynapticIntelligence":
        if run.mended:
            SynapticIntelligencePlugin.extract_weights = staticmethod(copy_weights)
        return [SynapticIntelligencePlugin(si_lambda=run.strength, eps=DAMPING)]
    if run.method == "LwF":
        plugin = LwFPlugin(alpha=run.strength)
        if run.mended:
            plugin.lwf = OutputDistillation(alpha=run.strength)
        return [plugin]
    # Its EWC penalty has no factor 1/2.
    make = {
        "Naive": list,
        "DER": list,
        "EWC": lambda: [EWCPlugin(run.strength / 2)],
        "OnlineEWC": lambda: [EWCPlugin(run.strength / 2, mode="online", decay_factor=1.0)],
        "AGEM": lambda: [AGEMPlugin(per_task, setting.reference)],
        "GEM": lambda: [GEMPlugin(per_task, MARGIN)],
        "ExperienceReplay": lambda: [
            ReplayPlugin(setting.memory, setting.batch_size, setting.reference)
        ],
    }
    return make[run.method]()


def strategy_of(setting: Setting, run: Run, learner: ContinualLearner) -> SupervisedTemplate:
    """Build the training loop with its method."""
    clock = EpochClock()
    options: dict[str, Any] = {
        "model": Reconstruction(learner),
        "optimizer": setting.optimizer(learner),
        "criterion": nn.MSELoss(),
        "train_mb_size": setting.batch_size,
        "train_epochs": setting.epochs,
        "evaluator": None,
        "plugins": [*plugins_of(setting, run), clock],
    }
    if run.method != "DER":
        strategy = SupervisedTemplate(**options)
    else:
        if run.mended:
            # Its two losses are written into the loop: both become the squared error.
            der.F = SimpleNamespace(cross_entropy=mse_loss, mse_loss=mse_loss)
        strategy = der.DER(
            **options,
            mem_size=setting.memory,
            batch_size_mem=setting.reference,
            alpha=run.strength,
            beta=0.0,
        )
    strategy.epoch_clock = clock
    return strategy


def experiences_of(setting: Setting, run: Run) -> Any:
    """Wrap the tasks: inputs are the targets."""
    cls, datasets = AvalancheDataset, []
    for x, _ in setting.tasks:
        attributes = []
        if run.method == "DER" or (run.method == "LwF" and not run.mended):
            # Both want class and task labels; to the mended DER one class is as good as any.
            cls = TaskAwareSupervisedClassificationDataset
            targets = [0] * len(x) if run.mended else x
            attributes = [DataAttribute(targets, "targets"), TaskLabels([0] * len(x))]
        datasets.append(cls([TensorDataset(x, x)], data_attributes=attributes))
    return benchmark_from_datasets(train=datasets).streams["train"]


def train_avalanche(setting: Setting, run: Run) -> Training:
    """Train with one of Avalanche's strategies."""
    torch.manual_seed(run.seed)
    random.seed(run.seed)
    learner = setting.learner(run.seed)
    strategy = strategy_of(setting, run, learner)
    seconds, weights = 0.0, []
    for experience in experiences_of(setting, run):
        started = process_time()
        strategy.train(experience)
        seconds += process_time() - started
        weights.append(weights_of(learner))
    return Training(
        weights,
        strategy.clock.train_iterations,
        seconds,
        strategy.epoch_clock.seconds,
        note=lambda: note_on(strategy, setting, run, learner, weights[0]),
    )


def note_on(
    strategy: SupervisedTemplate,
    setting: Setting,
    run: Run,
    learner: ContinualLearner,
    after_first_task: dict[str, Tensor],
) -> str:
    """Say how large the importances are that EWC and SI found."""
    plugin = strategy.plugins[0]
    if run.method == "EWC":
        trace = sum(float(p.data.sum()) for p in plugin.importances[0].values())
        learner.load_state_dict(after_first_task)
        exact = diagonal_fisher(learner, lambda m, batch: m.loss(batch), [setting.tasks[0][0]])
        return f"importances {trace / sum(float(f.sum()) for f in exact.values()):.2f} of exact"
    if run.method == "SynapticIntelligence":
        largest = max(float(p.data.abs().max()) for p in plugin.ewc_data[1].values())
        return f"largest importance {largest:.2g}"
    return ""


if __name__ == "__main__":
    serve(train_avalanche)
