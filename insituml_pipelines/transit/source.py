"""From section ``data`` to a running producer behind a ring of slots."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING

from insituml_pipelines.common.schema import Data, Transit

if TYPE_CHECKING:
    from insituml.stream import RingSource, Source

NETWORK_STREAM = ".sst"


def open_ring(data: Data, transit: Transit) -> RingSource:
    """Return the stream of ``data``, made by a process of its own; nothing runs yet.

    Raises
    ------
    UserError
        If its source cannot be built as configured.
    """
    from insituml.stream import RingSource
    from insituml_pipelines.data.sources import check_source

    data = _attached(data, transit)
    check_source(data.source)
    return RingSource(
        partial(make_source, data, transit),
        slots=transit.slots,
        policy=transit.policy,
        open_timeout=transit.open_timeout,
        stall_timeout=transit.stall_timeout,
    )


def make_source(data: Data, transit: Transit) -> Source:
    """Build a source of steps; called in the producing process."""
    from insituml_pipelines.data.kinds import kind_of
    from insituml_pipelines.data.sources import instantiated

    return kind_of(data).stream(data, instantiated(data.source), transit)


def _attached(data: Data, transit: Transit) -> Data:
    """Let openPMD data whose path ends in .sst come over the network."""
    if data.path is None or not data.path.endswith(NETWORK_STREAM):
        return data
    from insituml.stream.sst import SSTSource

    # What only files have, such as a range of iterations, is left out where it is not asked for.
    accepted = inspect.signature(SSTSource).parameters
    node = {
        **{key: v for key, v in data.source.items() if key in accepted or v is not None},
        "_target_": "insituml.stream.sst.SSTSource",
        # Less than the ring's, so that the error says which contact file nobody wrote.
        "open_timeout": 0.9 * transit.open_timeout,
    }
    return data.model_copy(update={"source": node})
