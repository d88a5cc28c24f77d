"""How each method is named and drawn in every figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MethodStyle:
    """How one method is named and drawn in every figure."""

    label: str
    color: str
    marker: str
    linestyle: Any


_LINESTYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = "os^Dv"

# A family is a colour of Okabe and Ito's palette in two shades, far apart from the others' for
# every kind of colour vision. Its members are (name, label); five at most.
_FAMILIES: tuple[tuple[tuple[str, str], dict[str, str]], ...] = (
    (  # weights held by their importance
        ("#0072B2", "#56B4E9"),
        {
            "ewc": "EWC",
            "online_ewc": "online EWC",
            "kronecker_ewc": "Kronecker EWC",
            "mas": "MAS",
            "synaptic_intelligence": "synaptic intelligence",
        },
    ),
    (  # gradients projected
        ("#D55E00", "#E69F00"),
        {
            "agem": "A-GEM",
            "sgem": "S-GEM",
            "agem_layerwise": "layer-wise A-GEM",
            "gem": "GEM",
            "gpm": "GPM",
        },
    ),
    (  # samples replayed
        ("#009E73", "#00573F"),
        {
            "experience_replay": "experience replay",
            "mir": "MIR",
            "der": "DER",
            "der_plus_plus": "DER++",
            "generative_replay": "generative replay",
        },
    ),
    (  # outputs held, to those of a model or to sketches; samples replayed that are compressed
        ("#CC79A7", "#9A4F7C"),
        {
            "lwf": "LwF",
            "weight_averaging": "weight averaging",
            "sketched_replay": "sketched replay",
            "compressed_replay": "compressed replay",
        },
    ),
)

# The references are black and grey, the baseline is violet. In the families no two methods share
# both marker and line style: they are told apart without any colour.
_KNOWN = {
    "naive": MethodStyle("naive", "#7F7F7F", "x", ":"),
    "joint": MethodStyle("joint", "#000000", "*", "--"),
    "joint_converged": MethodStyle("joint converged", "#000000", "p", (0, (1, 1))),
    "cumulative": MethodStyle("cumulative", "#4D4D4D", "+", "-."),
    "incremental_pca": MethodStyle("incremental PCA", "#6A3D9A", "P", (0, (6, 2))),
} | {
    name: MethodStyle(
        label, shades[member % 2], _MARKERS[member], _LINESTYLES[(member + family) % 5]
    )
    for family, (shades, members) in enumerate(_FAMILIES)
    for member, (name, label) in enumerate(members.items())
}

# For names not above, combinations among them.
_FREE_COLORS = ("#8C6D31", "#332288", "#A89A00", "#882255", "#44AA99", "#5E4A1F", "#4B6A00")
_FREE_MARKERS = ("X", "<", ">", "p", "d", "h", "8", "H")


def method_label(name: str) -> str:
    """Return what a reader sees for a method's name.

    ``"agem"`` is A-GEM. A name made of known ones is a combination: ``"ewc_replay"`` is EWC +
    replay. Other names lose their underscores.
    """
    return " + ".join(_known_labels(name)) or name.replace("_", " ")


def folded_label(name: str, inches: float, more: str = "") -> str:
    """Return :func:`method_label` and more in lines that fit a width, in bold print of 8 points."""
    return "\n".join(textwrap.wrap(method_label(name) + more, max(12, int(inches / 0.075))))


def _known_labels(name: str) -> list[str]:
    """Return the labels of the methods that a name is made of; none where a part is not known."""
    if name in _KNOWN:
        return [_KNOWN[name].label]
    if name == "replay":
        return ["replay"]
    words = name.split("_")
    for count in range(len(words) - 1, 0, -1):
        first = _known_labels("_".join(words[:count]))
        rest = _known_labels("_".join(words[count:])) if first else []
        if rest:
            return first + rest
    return []


def method_styles(names: Iterable[str]) -> dict[str, MethodStyle]:
    """Give each method its colour, marker and line style.

    The methods of this library always look the same. Other names take the free colours in
    alphabetical order, so the same set of names looks the same whatever its order; after seven
    of them the colours come round again with other markers and line styles.

    Parameters
    ----------
    names
        Names of methods, such as ``"online_ewc"``.
    """
    names = list(dict.fromkeys(names))
    unknown = sorted(name for name in names if name not in _KNOWN)
    invented = {
        name: MethodStyle(
            label=method_label(name),
            color=_FREE_COLORS[place % len(_FREE_COLORS)],
            marker=_FREE_MARKERS[place % len(_FREE_MARKERS)],
            linestyle=_LINESTYLES[(place + place // len(_FREE_COLORS)) % len(_LINESTYLES)],
        )
        for place, name in enumerate(unknown)
    }
    return {name: _KNOWN.get(name) or invented[name] for name in names}
