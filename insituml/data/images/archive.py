"""Find the files of a published data set: in a folder, or in its archive, which stays packed."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def find_files(
    path: Path,
    versions: Sequence[Sequence[str]],
    folders: Sequence[str],
    archives: Sequence[str],
    set_name: str,
) -> tuple[list[str], list[bytes]]:
    """Read all files of the first version that is there.

    Parameters
    ----------
    path
        A folder with the files, a tar archive with them, or a folder that holds one of
        ``folders`` or ``archives``.
    versions
        The file names of each version in which the set is published.
    folders, archives
        Names under which the set is published, searched for below ``path``.
    set_name
        What messages call the set.

    Returns
    -------
    names, contents
        Of that version's files, in the order given.

    Raises
    ------
    FileNotFoundError
        If there is no such path, or no version is whole there.
    ValueError
        If an archive is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"no file or folder {path} (looked in {Path.cwd()}); give the folder or the archive "
            f"of {set_name}: {' or '.join((*folders, *archives))}"
        )
    places = [path, *(path / name for name in (*folders, *archives))]
    for place in places:
        if not place.exists():
            continue
        found = _in_folder(place, versions) if place.is_dir() else _in_archive(place, versions)
        for names in versions:
            if all(name in found for name in names):
                return list(names), [found[name] for name in names]
    expected = " or ".join(", ".join(names) for names in versions)
    held = sorted(file.name for file in path.iterdir())[:6] if path.is_dir() else "other files"
    raise FileNotFoundError(
        f"{path} holds {held or 'nothing'}; expected all of {expected}, as {set_name} is published "
        f"in {' or '.join(archives)}"
    )


def _in_folder(folder: Path, versions: Sequence[Sequence[str]]) -> dict[str, bytes]:
    """Read the first version that is whole; nothing where none is."""
    for names in versions:
        if all((folder / name).is_file() for name in names):
            return {name: (folder / name).read_bytes() for name in names}
    return {}


def _in_archive(archive: Path, versions: Sequence[Sequence[str]]) -> dict[str, bytes]:
    """Read what is wanted in one pass: going back would unpack everything before it again."""
    wanted = {name for names in versions for name in names}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                file = tar.extractfile(member) if name in wanted and member.isfile() else None
                if file is not None:
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"{archive} is no whole tar archive ({error}); fetch it again") from error
    return found
