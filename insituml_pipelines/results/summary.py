"""What the evaluation of one method leaves for the comparison: ``summary.json``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from insituml import metrics
from insituml.atomic_file import write_json
from insituml.safe_reading import DamagedFileError, digest_of
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.records import read_record
from insituml_pipelines.runs.identity import Identity

FILE = "summary.json"
TABLES = frozenset(
    {"loss_matrix.csv", "latent_drift.csv", "loss_history.npy", "originals.npy", "examples.npy"}
)
"""What lies beside it."""


@dataclass(frozen=True)
class Summary:
    """One evaluated method.

    Parameters
    ----------
    method
        Its name.
    metric
        Error in the loss matrix that numbers and figures are made of, such as ``"relative_l2"``.
    generative
        Whether its learner draws samples, rather than reconstructs.
    sequential, keeps_all_data, is_bound, is_baseline
        As the attributes of :class:`~insituml.methods.base.Method`.
    task_steps
        Steps of the optimizer up to the end of each task.
    identity
        What its weights depend on, method and seed included; of the last seed.
    mean, seeds
        Numbers by name of the metric, over seeds and of each seed; None where one has no meaning.
    files
        SHA-256 of the tables and arrays beside it, by name.
    experiment
        Name of the experiment that it was trained in; empty where none was chosen.
    part
        Of the tasks that numbers are of: ``"test"``, or ``"validation"``.
    note
        What is to be known of how it was trained, such as that it has not converged.
    errors
        By seed, then by name: each error at the end, averaged over tasks; None where it has none.
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
    files: dict[str, str]
    experiment: str = ""
    part: str = "test"
    note: str = ""
    errors: dict[str, dict[str, float | None]] = field(default_factory=dict)
    is_baseline: bool = False

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
    FileNotFoundError
        If there is none.
    UserError
        If it is damaged, or another version of insituml wrote it.
    """
    again = _again(folder)
    summary = read_record(Summary, folder / FILE, again)
    names = {metric.name for metric in metrics.METRICS if metric.of_run}
    for numbers in summary.seeds.values():
        if differing := sorted(numbers.keys() ^ names):
            raise UserError(
                f"{folder / FILE} was written by another version of insituml (it differs in "
                f"{', '.join(differing)[:200]}); {again}"
            )
    return summary


def check_evaluation(folder: Path, summary: Summary) -> None:
    """See that a summary and the files beside it are those of one evaluation of one method.

    Raises
    ------
    UserError
        Naming the file that is missing, was changed or is of another method.
    """
    again = _again(folder)
    if summary.method != folder.name or not summary.seeds:
        raise UserError(
            f"{folder / FILE} is of {summary.method} with {len(summary.seeds)} seeds, not of "
            f"{folder.name}; {again}"
        )
    for name in sorted(TABLES | summary.files.keys()):
        try:
            if digest_of(folder / Path(name).name).hex() != summary.files.get(name):
                raise DamagedFileError(f"{folder / name} is not what was written with {FILE}")
        except FileNotFoundError as error:
            raise UserError(f"{folder / name} is missing; {again}") from error
        except DamagedFileError as error:
            raise UserError(f"{error}; {again}") from error


def _again(folder: Path) -> str:
    return f"run `insituml evaluate method={folder.name}` again"
