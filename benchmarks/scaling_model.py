"""How fast data-parallel training from a stream can be, from a few constants of a machine.

Each of n ranks computes a step on its own batch, all gradients are averaged by a ring all-reduce,
and what the ranks take in comes from one stream through the memory of their hosts:

    T(n) = t max(1, r/d) + max(0, 2 (n − 1) (G / (n B) + α) − o t)

with the seconds t of a step, r ranks a host on d devices, G bytes of gradients, the bandwidth B and
latency α of a link, and the share o of a step behind which the all-reduce hides. Of
``n b / T(n)`` bytes a second (b: a batch), of what the hosts can copy and of what the stream gives,
the least is what comes about.

References
----------
Patarasuk & Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", J.
Parallel Distrib. Comput. 69, 2009.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

COMPUTING, LINK, HOST, STREAM = "computing", "the link", "memory of the hosts", "the stream"
INFINITE = math.inf


@dataclass(frozen=True)
class Machine:
    """Measured or assumed constants; seconds, bytes, and bytes a second.

    Parameters
    ----------
    step_seconds
        Of one rank that has a device to itself.
    batch_bytes
        That a rank takes from the stream for a step.
    gradient_bytes
        All-reduced in each step.
    link_bandwidth, link_latency
        Of a rank, to the next one of the ring.
    overlap
        Share of a step's time behind which the all-reduce hides; 0: it begins when all gradients
        are there.
    host_bandwidth
        Of copying, by all ranks of a host together.
    host_copies
        How often a byte is copied there, on its way from the stream to a batch.
    ranks_per_host, devices_per_host
        More ranks than devices share these.
    stream_bandwidth
        Of the producer, or the file system, for all ranks together.
    model_bytes, activation_bytes, buffer_bytes
        In memory of each rank: weights with gradients and optimizer, activations, recent samples.
    memory_bytes
        Of stored past samples, over all ranks.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    step_seconds: float
    batch_bytes: float
    gradient_bytes: float
    link_bandwidth: float = INFINITE
    link_latency: float = 0.0
    overlap: float = 0.0
    host_bandwidth: float = INFINITE
    host_copies: float = 1.0
    ranks_per_host: int = 1
    devices_per_host: int = 1
    stream_bandwidth: float = INFINITE
    model_bytes: float = 0.0
    activation_bytes: float = 0.0
    buffer_bytes: float = 0.0
    memory_bytes: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        positive = ("step_seconds", "batch_bytes", "link_bandwidth", "host_bandwidth")
        positive += ("host_copies", "ranks_per_host", "devices_per_host", "stream_bandwidth")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number above 0")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"overlap is {self.overlap}; expected a share from 0 to 1")

    def all_reduce_seconds(self, ranks: int) -> float:
        """Return how long gradients take to be averaged: 2 (n − 1) hops of a part each."""
        part = self.gradient_bytes / ranks
        return 2 * (ranks - 1) * (part / self.link_bandwidth + self.link_latency)

    def computing_seconds(self, ranks: int) -> float:
        """Return how long a step computes, where ranks of a host may share devices."""
        shared = min(ranks, self.ranks_per_host) / self.devices_per_host
        return self.step_seconds * max(1.0, shared)

    def exposed_seconds(self, ranks: int) -> float:
        """Return how long a step waits for the all-reduce alone."""
        hidden = self.overlap * self.computing_seconds(ranks)
        return max(0.0, self.all_reduce_seconds(ranks) - hidden)

    def limits(self, ranks: int) -> dict[str, float]:
        """Return the bytes of the stream a second that each part would let through."""
        computing, exposed = self.computing_seconds(ranks), self.exposed_seconds(ranks)
        trained = ranks * self.batch_bytes / (computing + exposed)
        hosts = math.ceil(ranks / self.ranks_per_host)
        return {
            COMPUTING if exposed <= computing else LINK: trained,
            HOST: hosts * self.host_bandwidth / self.host_copies,
            STREAM: self.stream_bandwidth,
        }

    def throughput(self, ranks: int) -> float:
        """Return the bytes of the stream trained on in a second."""
        return min(self.limits(ranks).values())

    def limited_by(self, ranks: int) -> str:
        """Return what lets the least through."""
        limits = self.limits(ranks)
        return min(limits, key=limits.__getitem__)

    def efficiency(self, ranks: int) -> float:
        """Return the throughput as a share of that of so many single ranks."""
        return self.throughput(ranks) / (ranks * self.throughput(1))

    def first_saturated(self, most: int) -> tuple[int, str] | None:
        """Return from how many ranks on something else than computing is the limit, and what.

        None where nothing else is, up to ``most`` ranks.
        """
        for ranks in range(1, most + 1):
            if (limit := self.limited_by(ranks)) != COMPUTING:
                return ranks, limit
        return None

    def bytes_per_rank(self, ranks: int) -> float:
        """Return the memory of one rank; past samples are shared out."""
        own = self.model_bytes + self.activation_bytes + self.buffer_bytes
        return own + self.memory_bytes / ranks
