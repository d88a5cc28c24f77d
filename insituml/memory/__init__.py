"""Memories: stored samples of past tasks, in preallocated tensors or compressed."""

from insituml.memory.base import Memory
from insituml.memory.by_simulation import SimulationMemory
from insituml.memory.compressed import CompressedReservoir
from insituml.memory.episodic import EpisodicMemory, EpisodicMemoryDataset
from insituml.memory.herding import HerdingMemory
from insituml.memory.loss_aware import LossAwareMemory
from insituml.memory.quota import QuotaMemory
from insituml.memory.reservoir import ReservoirMemory
from insituml.memory.ring import RingMemory
from insituml.memory.sketch import Sketch

__all__ = [
    "CompressedReservoir",
    "EpisodicMemory",
    "EpisodicMemoryDataset",
    "HerdingMemory",
    "LossAwareMemory",
    "Memory",
    "QuotaMemory",
    "ReservoirMemory",
    "RingMemory",
    "SimulationMemory",
    "Sketch",
]
