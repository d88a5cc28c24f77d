"""From section ``data`` to a running producer behind a ring of slots."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.common.errors import UserError
from pipelines.common.schema import Data, Transit, validate_target

if TYPE_CHECKING:
    from insituml.stream import RingSource, Source

NETWORK_STREAM = ".sst"


def open_ring(data: Data, transit: Transit) -> RingSource:
    """Return the stream of ``data``, made by a process of its own; nothing runs yet.

    Raises
    ------
    UserError
        If the data are no field, or their source cannot be built as configured.
    """
    from insituml.stream import RingSource

    check_field(data)
    node = _node(data, transit)
    validate_target(node, "data.source")
    return RingSource(
        partial(make_source, node),
        slots=transit.slots,
        policy=transit.policy,
        open_timeout=transit.open_timeout,
        stall_timeout=transit.stall_timeout,
    )


def check_field(data: Data) -> None:
    """Refuse data that have no steps to stream.

    Raises
    ------
    UserError
        If they are points or images.
    """
    if data.kind != "field":
        raise UserError(
            f"data={data.name} are {data.kind}; a stream is of fields: choose data=lwfa, fbpic, "
            "openpmd or efield_npy"
        )


def make_source(node: dict[str, Any]) -> Source:
    """Build a source of steps; called in the producing process."""
    from hydra.utils import instantiate

    from insituml.stream import FieldStream, Source

    try:
        built = instantiate(node, _convert_="all")
    except Exception as error:  # hydra wraps what the constructor raised
        raise error.__cause__ or error from None
    return built if isinstance(built, Source) else FieldStream(built)


def _node(data: Data, transit: Transit) -> dict[str, Any]:
    """Return the node to build: openPMD data whose path ends in .sst come over the network."""
    if data.path is None or not data.path.endswith(NETWORK_STREAM):
        return data.source
    return {
        **data.source,
        "_target_": "insituml.stream.sst.SSTSource",
        # Less than the ring's, so that the error says which contact file nobody wrote.
        "open_timeout": 0.9 * transit.open_timeout,
    }
