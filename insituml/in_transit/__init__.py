"""Learning from what arrives: samples that come once, in the order in which they are made.

The names below are loaded when they are first used: cutting a stream needs no trainer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml.lazy_names import loader

if TYPE_CHECKING:
    from insituml.data.windows import TaskWindows
    from insituml.in_transit.arrivals import Arrival, Arrivals
    from insituml.in_transit.cutter import Cutter
    from insituml.in_transit.dealt import Dealt
    from insituml.in_transit.ensemble_trainer import EnsembleTrainer
    from insituml.in_transit.follow import StreamBrokeError, learn
    from insituml.in_transit.held_out import HeldOut
    from insituml.in_transit.log import StreamLog
    from insituml.in_transit.now_buffer import NowBuffer
    from insituml.in_transit.shared_buffer import SharedBuffer
    from insituml.in_transit.trainer import InTransitTrainer

__all__ = [
    "Arrival",
    "Arrivals",
    "Cutter",
    "Dealt",
    "EnsembleTrainer",
    "HeldOut",
    "InTransitTrainer",
    "NowBuffer",
    "SharedBuffer",
    "StreamBrokeError",
    "StreamLog",
    "TaskWindows",
    "learn",
]

_MODULES = {
    "Arrival": "insituml.in_transit.arrivals",
    "Arrivals": "insituml.in_transit.arrivals",
    "Cutter": "insituml.in_transit.cutter",
    "Dealt": "insituml.in_transit.dealt",
    "EnsembleTrainer": "insituml.in_transit.ensemble_trainer",
    "HeldOut": "insituml.in_transit.held_out",
    "InTransitTrainer": "insituml.in_transit.trainer",
    "NowBuffer": "insituml.in_transit.now_buffer",
    "SharedBuffer": "insituml.in_transit.shared_buffer",
    "StreamBrokeError": "insituml.in_transit.follow",
    "StreamLog": "insituml.in_transit.log",
    "TaskWindows": "insituml.data.windows",
    "learn": "insituml.in_transit.follow",
}

__getattr__ = loader(__name__, _MODULES)
