"""What the evaluation of one method leaves for the comparison: ``summary.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from insituml import metrics
from insituml.atomic_file import write_json
from pipelines.common.errors import UserError
from pipelines.runs.identity import Identity

FILE = "summary.json"


@dataclass(frozen=True)
class Summary:
    """One evaluated method.

    Parameters
    ----------
    method
        Its name.
    metric
        Error in the loss matrix that numbers and figures are made of, such as ``"mse"``.
    generative
        Whether its learner draws samples, rather than reconstructs.
    sequential, keeps_all_data, is_bound
        As the attributes of :class:`~insituml.methods.base.Method`.
    task_steps
        Steps of the optimizer up to the end of each task.
    identity
        What its weights depend on, method and seed included; of the last seed.
    mean, seeds
        Numbers by name of the metric, over seeds and of each seed; None where one has no meaning.
    """

    method: str
    metric: str
    generative: bool
    sequential: bool
    keeps_all_data: bool
    is_bound: bool
    task_steps: list[int]
    identity: Identity
    mean: dict[str, float | None]
    seeds: dict[str, dict[str, float | None]]

    def write(self, folder: Path) -> None:
        """Write ``summary.json`` into a folder."""
        write_json(folder / FILE, asdict(self))

    def differences(self, other: Summary) -> list[str]:
        """Name what makes two methods' results incomparable."""
        differing = self.identity.differences(other.identity)
        same_seeds = self.seeds.keys() == other.seeds.keys()
        return differing if same_seeds else [*differing, "set of seeds"]


def read_summary(folder: Path) -> Summary:
    """Read ``summary.json`` of a folder.

    Raises
    ------
    UserError
        If another version of insituml wrote it.
    """
    content = json.loads((folder / FILE).read_text())
    differing = content.keys() ^ {field.name for field in fields(Summary)}
    for numbers in [] if differing else content["seeds"].values():
        differing |= numbers.keys() ^ {m.name for m in metrics.METRICS if m.of_run}
    if differing:
        raise UserError(
            f"{folder / FILE} was written by another version of insituml (it differs in "
            f"{', '.join(sorted(differing))}); run "
            f"`python -m pipelines.evaluate method={folder.name}` again"
        )
    return Summary(**{**content, "identity": Identity(**content["identity"])})
