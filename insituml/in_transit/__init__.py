"""Learning from what arrives: samples that come once, in the order in which they are made."""

from insituml.data.windows import TaskWindows
from insituml.in_transit.arrivals import Arrival, Arrivals
from insituml.in_transit.cutter import Cutter
from insituml.in_transit.held_out import HeldOut
from insituml.in_transit.learn import StreamBrokeError, learn
from insituml.in_transit.log import StreamLog
from insituml.in_transit.now_buffer import NowBuffer
from insituml.in_transit.trainer import InTransitTrainer

__all__ = [
    "Arrival",
    "Arrivals",
    "Cutter",
    "HeldOut",
    "InTransitTrainer",
    "NowBuffer",
    "StreamBrokeError",
    "StreamLog",
    "TaskWindows",
    "learn",
]
