"""Learning from what arrives: a trainer for samples that come once, and what it needs."""

from insituml.in_transit.now_buffer import NowBuffer
from insituml.in_transit.trainer import InTransitTrainer
from insituml.in_transit.windows import TaskWindows

__all__ = ["InTransitTrainer", "NowBuffer", "TaskWindows"]
