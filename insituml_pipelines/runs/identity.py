"""What the weights of a run depend on, code and versions included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from insituml_pipelines.common.node import Node


@dataclass(frozen=True)
class Identity:
    """Two runs of one identity have equal weights.

    Parameters
    ----------
    method_name, seed
        Which run it is; the seed is None where all seeds are meant.
    model, method, optimizer, training
        As configured.
    data
        Fingerprint of the stream.
    code
        Digest of the library's source.
    versions
        Of what else results may depend on.
    """

    method_name: str
    seed: int | None
    model: Node
    method: Node
    optimizer: Node
    training: Node
    data: str
    code: str
    versions: dict[str, str]

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Return the identity that stands in a checkpoint's metadata."""
        return cls(**{field.name: metadata[field.name] for field in fields(cls)})

    @property
    def fingerprint(self) -> str:
        """Short digest of all of it."""
        return fingerprint(asdict(self))

    @property
    def setup(self) -> str:
        """Short digest of what makes runs comparable: all but method and seed."""
        return fingerprint({key: getattr(self, key) for key in COMPARABLE})

    def of_all_seeds(self) -> Self:
        return replace(self, seed=None)

    def differences(self, other: Identity) -> list[str]:
        """Name what makes two runs incomparable."""
        return [key for key in COMPARABLE if getattr(self, key) != getattr(other, key)]


COMPARABLE = ("data", "model", "optimizer", "training")


def fingerprint(plain: Any) -> str:
    """Return a short digest of nested plain values."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
