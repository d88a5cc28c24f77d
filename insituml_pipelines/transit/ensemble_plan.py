"""What learning from several simulations changes in a configuration for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.invocation import Invocation
from insituml_pipelines.common.schema import Data, Training, Transit
from insituml_pipelines.transit.ensemble_source import asked_ensemble, conditions_of, most_of
from insituml_pipelines.transit.ensemble_tasks import ensemble_tasks
from insituml_pipelines.transit.prepared import StreamedTasks, streamed_tasks

if TYPE_CHECKING:
    from insituml.stream import EnsembleStream, RingSource
    from insituml_pipelines.transit.rank_stream import RankStream

UNSHARED = "insituml.memory.ReservoirMemory"
SHARED = "insituml.memory.SimulationMemory"
FIRST_ITERATIONS = 4
"""Of each simulation, by which a stream of one task is normalised: all of it would be too many."""


def for_all_simulations(
    transit: Transit, training: Training, calls: Sequence[Invocation], data: Data
) -> tuple[Transit, list[Invocation]]:
    """Return sizes of all simulations together, where they are of one, and memories to share.

    Raises
    ------
    UserError
        If neighbouring iterations are to be mixed.
    """
    if training.mix_iterations:
        raise UserError(
            f"training.mix_iterations is {training.mix_iterations}: it would mix iterations of "
            "different simulations, which come side by side; set training.mix_iterations=0"
        )
    ensemble = asked_ensemble(data)
    most = most_of(ensemble)
    changed: dict[str, Any] = {"recent_iterations": most * transit.recent_iterations}
    if ensemble.tasks == "none" and transit.normalisation_iterations is None:
        changed["normalisation_iterations"] = FIRST_ITERATIONS * most
    return transit.model_copy(update=changed), [_sharing_memory(call) for call in calls]


def _sharing_memory(call: Invocation) -> Invocation:
    """Give each simulation a share of the memories, unless the command line names their kind."""
    if not any("memory._target_" in override for override in call.overrides):
        _share(call.config.method)
    return call


def tasks_of(
    calls: Sequence[Invocation],
    data: Data,
    transit: Transit,
    stream: RingSource | EnsembleStream | RankStream,
) -> StreamedTasks:
    """Lay out the tasks of one simulation or of several.

    Samples of several are given their simulation's parameters where a learner asks for a condition.

    Raises
    ------
    UserError
        If it cannot be cut as configured.
    """
    from insituml.stream import EnsembleStream

    if not isinstance(stream, EnsembleStream):
        return streamed_tasks(data, transit, stream.describe())
    asked = any("condition_size" in call.config.model for call in calls)
    conditions = conditions_of(asked_ensemble(data)) if asked else []
    return ensemble_tasks(data, transit, stream, conditions)


def _share(node: Any) -> None:
    """Put the shared kind of memory in the place of the usual one, below a node."""
    if not OmegaConf.is_config(node):
        return
    if isinstance(node, DictConfig) and OmegaConf.select(node, "_target_") == UNSHARED:
        with open_dict(node):
            node["_target_"] = SHARED
    keys = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for key in keys:
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_config(node._get_node(key)):
            _share(node._get_node(key))
