"""What makes jobs of a sweep comparable, beside data and what is varied: configuration and code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from insituml_pipelines.common.composition import composed
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.sweeps.plan import ASIDE, Sweep

NODES = ("model", "method", "optimizer", "data.source")
"""What a configuration builds, maybe of a class in a file of the user's own."""


def digest_of_search(configs: Sequence[DictConfig], sections: Sequence[str]) -> str:
    """Return a digest that changes with what may change the value of a trial.

    Parameters
    ----------
    configs
        All that the command composes to, each value that varies in one of them.
    sections
        Of the configuration, that the stage reads.

    Raises
    ------
    UserError
        If a class that one of them names cannot be imported.
    """
    from insituml_pipelines.runs.recipe import source_digest

    read = [section for section in ("name", *sections) if section not in ASIDE]
    shown = [OmegaConf.to_yaml(OmegaConf.masked_copy(config, read)) for config in configs]
    keys = [key for key in NODES if key.partition(".")[0] in read]
    nodes = [node for config in configs for key in keys if (node := _node(config, key))]
    return hashlib.sha256(json.dumps([shown, source_digest(*nodes)]).encode()).hexdigest()


def digest_of_job(sweep: Sweep, overrides: Sequence[str], sections: Sequence[str]) -> str:
    """Return a digest of what a job is configured by now; empty where it cannot be.

    Parameters
    ----------
    sweep, overrides
        What it is of, and all that it was asked.
    sections
        See :func:`digest_of_search`.
    """
    try:
        config = composed([*sweep.search_path, *overrides])
        return digest_of_search([config], sections)
    except (HydraException, OmegaConfBaseException, UserError):  # an option has gone since
        return ""


def _node(config: DictConfig, key: str) -> Node:
    """Return a node that says what to build; empty where there is none."""
    node = OmegaConf.select(config, key)
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    return {"_target_": target} if isinstance(target, str) else {}
