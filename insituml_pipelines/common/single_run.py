"""One run of a stage by Hydra, on a configuration that is composed already."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job
from hydra.types import HydraContext
from omegaconf import DictConfig

from insituml_pipelines.common.composition import CONF


def run_once(function: Callable[[DictConfig], Any], config: DictConfig) -> Any:
    """Call a function as ``hydra.main`` does, which would compose the configuration twice more.

    Parameters
    ----------
    function
        What is run; it gets the configuration without section ``hydra``.
    config
        As :func:`~insituml_pipelines.common.composition.check_composition` returns it.

    Returns
    -------
    object
        What the function returns.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None  # just initialised
        callbacks = Callbacks(config)
        callbacks.on_run_start(config=config, config_name="config")
        done = run_job(
            function,
            config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
            hydra_context=HydraContext(hydra.config_loader, callbacks),
        )
        callbacks.on_run_end(config=config, config_name="config", job_return=done)
        return done.return_value
