"""Memories: stored samples of past tasks in preallocated tensors."""

from insituml.memory.episodic import EpisodicMemory, EpisodicMemoryDataset
from insituml.memory.reservoir import ReservoirMemory

__all__ = ["EpisodicMemory", "EpisodicMemoryDataset", "ReservoirMemory"]
