"""Values in conf/ that were meant for another target than the chosen one are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from insituml_pipelines.common.composition import CONF, key_of
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.located import located
from insituml_pipelines.common.log import note
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.schema import Data, validate
from insituml_pipelines.common.targets import is_hydras, misfit, options_of

if TYPE_CHECKING:
    from insituml_pipelines.common.cli import Invocation


def open_to_new_keys(arguments: Sequence[str]) -> list[str]:
    """Let options of a target that the command line names be given without a ``+``.

    ``model.width=64`` beside ``model._target_=mymodel.MyModel``: no file in conf/ has ``width``.
    """
    nodes = [key.removesuffix("._target_") for key in map(key_of, arguments) if _names_target(key)]
    return [
        f"++{argument}" if _below(argument.partition("=")[0], nodes) else argument
        for argument in arguments
    ]


def fitting(call: Invocation, place: str, node: Node) -> Node:
    """Return a node without what stands in conf/ for another target, and say what was left out.

    What the command line gives stays, and so does what a file gives to its own ``_target_``: such
    values are checked.

    Parameters
    ----------
    call
        Knows which files and values were chosen.
    place
        Of the node, such as ``"model"`` or ``"data.source"``.
    node
        Resolved.

    Raises
    ------
    UserError
        If there is no such target.
    """
    layers = _layers(call, place)
    target = str(node.get("_target_"))
    if not target.startswith("insituml."):  # a file of one's own says what its class is to be
        node = {**node, **layers.of_file_alone}
    own = {key for key in node if is_hydras(key) or key in layers.own}
    if own == node.keys():
        return node
    options = options_of(located(target, place))
    left_out = [
        key
        for key, value in node.items()
        if key not in own
        and (key not in options.names or misfit(options, key, value, f"{place}.{key}"))
    ]
    if left_out:
        _say(f"{place} is {target}, which takes no {', '.join(left_out)} of conf/: left out")
    return {key: value for key, value in node.items() if key not in left_out}


def data_of(call: Invocation, *, in_transit: bool = False) -> Data:
    """Return the checked section ``data``, its source without values for another one.

    Parameters
    ----------
    call
        With such a section.
    in_transit
        Whether several simulations may be asked for.

    Raises
    ------
    UserError
        For any wrong key or value.
    """
    section = call.section("data")
    if isinstance(section.get("source"), dict):
        section["source"] = fitting(call, "data.source", section["source"])
    data: Data = validate(Data, section, "data")
    if data.ensemble is not None and not in_transit:
        raise UserError("data.ensemble is for `insituml stream` alone; leave it out here")
    return data


@dataclass(frozen=True)
class _Layers:
    # Of a node: the keys whose values are meant for its target; and what its file says where an
    # experiment that means another target says otherwise.
    own: set[str]
    of_file_alone: Node


def _layers(call: Invocation, place: str) -> _Layers:
    keys = [key_of(override) for override in call.overrides]
    group, _, rest = place.partition(".")
    section = place.count(".") + 1
    given = {key.split(".")[section] for key in keys if key.startswith(f"{place}.")}
    if f"{place}._target_" in keys:
        return _Layers(given, {})
    chosen = call.choices.get(group, "")
    experiment = CONF / "experiment" / f"{call.choices.get('experiment', '')}.yaml"
    file = CONF / group / f"{chosen}.yaml"
    above = OmegaConf.load(experiment) if experiment.is_file() else OmegaConf.create()
    below = OmegaConf.load(file) if file.is_file() else OmegaConf.create()
    values, of_file = _values_at(above, place), _values_at(below, rest)
    if "_target_" in values:
        return _Layers(given | values.keys(), {})
    if _choice(above, group) in (chosen, None):
        return _Layers(given | values.keys() | of_file.keys(), {})
    alone = {
        key: of_file[key]
        for key in values.keys() & of_file.keys() - given
        if "${" not in str(of_file[key])
    }
    return _Layers(given | of_file.keys() - (values.keys() - alone.keys()), alone)


def _choice(experiment: Any, group: str) -> str | None:
    """Return the file of a group that an experiment chooses."""
    for entry in experiment.get("defaults") or []:
        if OmegaConf.is_dict(entry) and f"override /{group}" in entry:
            return str(entry[f"override /{group}"])
    return None


def _values_at(content: Any, place: str) -> Node:
    """Return what a file says of a node, references as they stand there."""
    node = OmegaConf.select(content, place) if place else content
    plain = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_dict(node) else {}
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _names_target(key: str) -> bool:
    return key.endswith("._target_")


def _below(key: str, nodes: Iterable[str]) -> bool:
    """Whether a key is an option of one of these nodes."""
    own = not is_hydras(key.rpartition(".")[2])
    return own and any(key.startswith(f"{node}.") for node in nodes)


@cache
def _say(said: str) -> None:
    """Print a note, once."""
    note(said)
