"""Checkpoints by the addresses of MLflow: ``runs:/<id>/model``, ``models:/<name>/<version>``.

:func:`insituml.load_checkpoint` finds this by the entry points of the group ``insituml.locations``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from insituml_pipelines.tracking.address import VARIABLE
from insituml_pipelines.tracking.model_folder import FOLDER

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
"""MLflow's own variables, unless they are set."""


def fetch(address: str, folder: Path) -> Path:
    """Return the checkpoint at an address, in ``folder`` where it had to be copied.

    Parameters
    ----------
    address
        Of a run, a folder or file of its artifacts, or a registered model. The store is that of
        ``MLFLOW_TRACKING_URI`` or ``mlflow.set_tracking_uri``; else ``mlflow.db`` of the working
        folder.
    folder
        An empty one.

    Raises
    ------
    FileNotFoundError
        If there is no such store, run, model or checkpoint.
    """
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    import mlflow
    from mlflow.exceptions import MlflowException

    if re.fullmatch(r"runs:/\w+/?", address):
        address = f"{address.rstrip('/')}/{FOLDER}"
    uri = mlflow.get_tracking_uri()
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and not database.exists():
        raise FileNotFoundError(
            f"{address}: there is no {database}; change to the folder of mlflow.db, or set "
            f"{VARIABLE}"
        )
    try:
        found = mlflow.artifacts.download_artifacts(
            artifact_uri=address, dst_path=str(folder), tracking_uri=uri
        )
    except (MlflowException, OSError) as error:
        said = " ".join(str(error).split())[:300]
        raise FileNotFoundError(f"{address} is not in {uri.rpartition('@')[2]}: {said}") from error
    return _checkpoint_in(Path(found), address)


def _checkpoint_in(path: Path, address: str) -> Path:
    files = [path] if path.is_file() else sorted(path.glob("*.pt"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise FileNotFoundError(f"{address} holds no single checkpoint; there are: {names}")
    return files[0]
