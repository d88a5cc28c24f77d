"""From section ``data`` to a running producer behind a ring of slots."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.located import located
from insituml_pipelines.common.schema import Data, Transit

if TYPE_CHECKING:
    from insituml.stream import RingSource, Source

NETWORK_STREAM = ".sst"


def reads_blocks(data: Data, transit: Transit) -> bool:
    """Tell whether each of several ranks is to read blocks of its own.

    It is of files, unless that is turned off; of a network stream it is to be asked for, as its
    producer must wait for all readers.

    Raises
    ------
    UserError
        If it is asked for of what cannot be read so.
    """
    if transit.read_blocks is False:
        return False
    on_network = data.path is not None and data.path.endswith(NETWORK_STREAM)
    target = _attached(data, transit, in_blocks=True).source.get("_target_")
    divisible = bool(getattr(located(target, "data.source"), "divisible", False))
    if transit.read_blocks and not divisible:
        raise UserError(
            f"transit.read_blocks is true, but {target} does not read blocks; only files and "
            "network streams can be read so: leave it out"
        )
    return divisible and (transit.read_blocks is True or not on_network)


def open_ring(data: Data, transit: Transit, *, in_blocks: bool = False) -> RingSource:
    """Return the stream of ``data``, made by a process of its own; nothing runs yet.

    Parameters
    ----------
    data, transit
        Sections of the configuration.
    in_blocks
        Whether blocks of it will be asked for.

    Raises
    ------
    UserError
        If its source cannot be built as configured.
    """
    from insituml.stream import RingSource
    from insituml_pipelines.data.sources import check_source

    data = _attached(data, transit, in_blocks=in_blocks)
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


def _attached(data: Data, transit: Transit, *, in_blocks: bool) -> Data:
    """Let openPMD data whose path ends in .sst come over the network."""
    if data.path is None or not data.path.endswith(NETWORK_STREAM):
        return data
    from insituml.stream.sst import SSTSource

    # What only files have, such as a range of iterations, is left out where it is not asked for.
    accepted = inspect.signature(SSTSource).parameters
    node = {
        **{key: v for key, v in data.source.items() if key in accepted or v is not None},
        "_target_": "insituml.stream.sst.SSTSource",
        "in_blocks": in_blocks,
        # Less than the ring's, so that the error says which contact file nobody wrote.
        "open_timeout": 0.9 * transit.open_timeout,
    }
    return data.model_copy(update={"source": node})
