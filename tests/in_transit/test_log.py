"""What a stream's log says of time."""

from __future__ import annotations

import time
from collections.abc import Iterator

from insituml.in_transit import StreamLog
from insituml.stream import Finished


def test_waiting_is_a_part_of_the_time_at_any_moment() -> None:
    def events() -> Iterator[Finished]:
        for _ in range(3):
            time.sleep(0.02)
            yield Finished()

    log = StreamLog()
    shares = [log.wait_share for _ in log.timed(events())]
    assert all(0.0 < share <= 1.0 for share in shares)
    for _ in log.timed(iter([Finished()])):
        time.sleep(0.1)
    assert 0.06 / log.seconds <= log.wait_share < 0.7


def test_what_is_a_result_holds_no_seconds_and_a_resume_point_everything() -> None:
    log = StreamLog(iterations=3, gaps=[[1, 2, "lost"]], seconds=2.0, waited=1.0)
    assert not {"seconds", "waited"} & log.content().keys()
    assert StreamLog(**log.state_dict()) == log
