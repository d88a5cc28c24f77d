"""Finished runs as versions of a registered model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient


def register(client: MlflowClient, name: str, run_id: str, folder: str) -> None:
    """Make the model in a run's artifacts a version of a registered model, once.

    Parameters
    ----------
    client
        Of the store, which is the registry, too.
    name
        Of the registered model; it is made where there is none.
    run_id, folder
        Where the model is.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        return
    run = client.get_run(run_id)
    names = ("method", "seed", "data")
    tags: dict[str, str] = {key: run.data.tags[key] for key in names if key in run.data.tags}
    client.create_model_version(
        name,
        source=f"{run.info.artifact_uri}/{folder}",
        run_id=run_id,
        tags=tags,
        description=run.info.run_name,
    )
