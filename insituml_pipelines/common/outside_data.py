"""What DVC has to watch so that it notices when data outside the project change."""

from __future__ import annotations

from pathlib import Path

from insituml_pipelines.common.errors import UserError


def watched(path: str, project: Path) -> str:
    """Return the file or folder that DVC watches for ``data.path``.

    Parameters
    ----------
    path
        As configured; of a pattern such as ``fields/e_%T.h5``, its folder is watched. One that is
        relative is so to ``project``.
    project
        The folder of ``dvc.yaml``.

    Raises
    ------
    UserError
        If what is to be watched holds the project, and with it the results, which change.
    """
    given = Path(path)
    folder = given.parent if "%" in given.name else given
    place = (project / folder).resolve()
    if project.resolve().is_relative_to(place):
        inside = Path("fields") / given.name if "%" in given.name else Path("fields")
        raise UserError(
            f"data.path is {path}, but {place} holds the project with its results, which "
            "`dvc repro` would take for data; move the files into a folder of their own: "
            f"data.path={inside}"
        )
    return path if folder == given else str(folder)
