"""Learn from several simulations at once, fair by simulation."""

from __future__ import annotations

from typing import Any

from insituml import ranks
from insituml.data.task import Batch
from insituml.in_transit.dealt import Samples
from insituml.in_transit.shared_buffer import SharedBuffer
from insituml.in_transit.trainer import InTransitTrainer
from insituml.memory import SimulationMemory
from insituml.memory.by_simulation import SEVERAL


class EnsembleTrainer(InTransitTrainer):
    """Trains one learner on samples of several simulations, as they arrive.

    Simulations share the buffer of recent samples and the sample of the task equally, however much
    each sends, within the bounds that hold for one; and so they do the memory of a method whose
    ``memory`` is :class:`~insituml.memory.SimulationMemory`.

    Parameters
    ----------
    one_task
        Whether one task is all there is: methods whose memory takes samples as they leave the
        buffer then replay these from the beginning on.
    arguments, options
        As in :class:`~insituml.in_transit.InTransitTrainer`; ``now_samples`` and ``task_samples``
        are of all simulations together.

    Raises
    ------
    ValueError
        As :class:`~insituml.in_transit.InTransitTrainer`; on several ranks, with ``mix``, or if the
        method cannot learn from one task (:class:`~insituml.methods.DER`).
    """

    _buffer_kind = SharedBuffer
    _sample_kind = SimulationMemory

    def __init__(self, *arguments: Any, one_task: bool = False, **options: Any) -> None:
        if ranks.size() > 1:
            raise ValueError(
                f"{ranks.size()} ranks train one learner; on an ensemble of simulations one does, "
                "without torchrun"
            )
        if options.get("mix") is not None:
            raise ValueError(
                "mix mixes neighbouring iterations of one simulation, but those of several lie "
                "side by side here; set it to None (training.mix_iterations=0)"
            )
        super().__init__(*arguments, **options)
        if one_task:
            self.method.take_one_task()

    def learn(self, samples: Samples, simulation: int = 0) -> None:
        """Take in new samples of a simulation, and train on what is recent of all.

        Parameters
        ----------
        samples
            Columns ``(n, ...)``, copied.
        simulation
            The number of their simulation.
        """
        self._shared.simulation = simulation
        self._kept.sample.of_simulation(simulation)
        super().learn(samples)

    def _observe(self, samples: Batch) -> None:
        start = 0
        for simulation, count in self._shared.left:
            self.method.of_simulation(simulation)
            super()._observe(tuple(column[start : start + count] for column in samples))
            start += count
        self.method.of_simulation(SEVERAL)

    @property
    def _shared(self) -> SharedBuffer:
        assert isinstance(self._kept.now, SharedBuffer)
        return self._kept.now
