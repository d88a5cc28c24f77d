"""Which sizes of which memories the memory–error curves are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

OVERHEAD = 8
"""Bytes that a memory keeps for each sample beside it: the number of its task."""
BESIDE_COMPRESSED = 24
"""Bytes that one whose samples differ in size keeps: task, key and length."""
LENGTH = 4
"""Bytes of the length of a compressed component, and of the scale of all."""
MAP = 4
"""Bytes of the number of a sketch's map."""
SKETCH = 0.01
"""Share of a sample in the shortest sketch."""
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Of GPM, whose memory is what these make of it."""


@dataclass(frozen=True)
class Stream:
    """What is known of a stream before anything is trained with a memory.

    Parameters
    ----------
    samples
        Training samples in all.
    sample_bytes
        Bytes of one, labels included, as it arrives.
    numbers
        Numbers in the input of one.
    latent
        Numbers in its latent.
    components
        Of its field.
    """

    samples: int
    sample_bytes: int
    numbers: int
    latent: int
    components: int

    @property
    def bytes(self) -> int:
        return self.samples * self.sample_bytes


@dataclass(frozen=True)
class Point:
    """One size of a memory: a name for its folder, and the overrides that set it."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Curve:
    """One method with one way to keep samples.

    Parameters
    ----------
    method
        File in conf/method.
    points
        Sizes for a stream and the shares of its bytes that are asked for; none for a share that
        does not hold one sample.
    smallest
        Bytes of one sample as the method keeps it; None where it keeps none.
    overrides
        Of all points.
    """

    method: str
    points: Callable[[Stream, Sequence[float]], list[Point]]
    smallest: Callable[[Stream], int | None]
    overrides: tuple[str, ...] = ()


def _rows(row: Callable[[Stream], int]) -> Callable[[Stream, Sequence[float]], list[Point]]:
    """Return what gives as many rows as fit; no more than there are samples, and that once."""

    def points(stream: Stream, shares: Sequence[float]) -> list[Point]:
        found: dict[int, Point] = {}
        for share in sorted(shares):
            rows = min(int(share * stream.bytes) // row(stream), stream.samples)
            if rows:
                size = rows * row(stream)
                overrides = ("method.memory_size=null", f"method.memory.capacity_bytes={size}")
                found.setdefault(rows, Point(f"{share:g}", overrides))
        return list(found.values())

    return points


def _compressed(stream: Stream, shares: Sequence[float]) -> list[Point]:
    """Return bytes; how many samples these are, and whether all, the field decides."""
    sizes = {share: int(share * stream.bytes) for share in sorted(shares)}
    return [
        Point(f"{s:g}", ("method.memory_size=null", f"method.memory.capacity_bytes={size}"))
        for s, size in sizes.items()
        if size >= _uncompressed(stream)
    ]


def sketch_row(stream: Stream, size: int, width: int) -> int:
    """Return the bytes of a sample of which ``size`` numbers of ``width`` bytes are sketched."""
    return (stream.latent + size) * width + MAP + OVERHEAD


def shortest_sketch(stream: Stream) -> int:
    return max(1, round(SKETCH * stream.numbers))


def _sketched(width: int) -> Callable[[Stream, Sequence[float]], list[Point]]:
    """Return what first keeps more samples, and all of them with longer sketches then."""

    def points(stream: Stream, shares: Sequence[float]) -> list[Point]:
        found = []
        shortest = shortest_sketch(stream)
        for share in sorted(shares):
            asked = int(share * stream.bytes)
            longest = (asked // stream.samples - MAP - OVERHEAD) // width - stream.latent
            size = min(max(longest, shortest), stream.numbers)
            row = sketch_row(stream, size, width)
            rows = min(asked // row, stream.samples)
            if rows:
                memory = f"method.memory.capacity_bytes={rows * row}"
                overrides = ("method.memory_size=null", memory, f"method.sketch_size={size}")
                found.append(Point(f"{share:g}", overrides))
        return found

    return points


def _thresholds(stream: Stream, shares: Sequence[float]) -> list[Point]:
    return [Point(f"{t:g}", (f"method.threshold={t:g}",)) for t in THRESHOLDS]


def _float32(stream: Stream) -> int:
    return stream.sample_bytes + OVERHEAD


def _float16(stream: Stream) -> int:
    return stream.sample_bytes - 2 * stream.numbers + OVERHEAD


def _latents(stream: Stream) -> int:
    return 4 * stream.latent + OVERHEAD


def _with_outputs(stream: Stream) -> int:
    return stream.sample_bytes + 4 * stream.numbers + OVERHEAD


def _uncompressed(stream: Stream) -> int:
    """Return the bytes of a sample that zfp makes no smaller, for which there has to be room."""
    return stream.sample_bytes + LENGTH * (stream.components + 1) + BESIDE_COMPRESSED


def _one_sketch(width: int) -> Callable[[Stream], int]:
    return lambda stream: sketch_row(stream, shortest_sketch(stream), width)


HALF = "method.memory.dtype=float16"
CURVES: dict[str, Curve] = {
    "experience_replay": Curve("experience_replay", _rows(_float32), _float32),
    "replay_float16": Curve("experience_replay", _rows(_float16), _float16, (HALF,)),
    "compressed_replay": Curve("compressed_replay", _compressed, _uncompressed),
    "replay_latents": Curve(
        "experience_replay", _rows(_latents), _latents, ("method.store=latent",)
    ),
    "der_plus_plus": Curve("der_plus_plus", _rows(_with_outputs), _with_outputs),
    "gpm": Curve("gpm", _thresholds, lambda stream: None),
    "sketched_replay": Curve("sketched_replay", _sketched(4), _one_sketch(4)),
    "sketched_replay_float16": Curve("sketched_replay", _sketched(2), _one_sketch(2), (HALF,)),
}
