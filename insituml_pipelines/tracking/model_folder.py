"""A trained learner as MLflow keeps models: our checkpoint, and what says how to load and call it.

Nothing is pickled: ``mlflow.pyfunc.load_model`` calls this module, which reads the checkpoint as
:func:`insituml.load_checkpoint` does, so that a file decides on no code.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

if TYPE_CHECKING:
    from insituml.learner import ContinualLearner

FOLDER = "model"
"""Below the artifacts of a run."""
EXAMPLE = "input_example.json"
LARGEST_EXAMPLE = 50_000
"""Numbers in an example, which are written out as text."""


class ModelError(RuntimeError):
    """A learner that cannot be called as a model, and why."""


def write_model(folder: Path, checkpoint: Path, sample: np.ndarray | None = None) -> None:
    """Write a model's description into an empty folder, with a link to its checkpoint.

    A learner that is not judged by its reconstructions has none: its checkpoint lies there alone.

    Parameters
    ----------
    folder
        Where to.
    checkpoint
        Of a run; its manifest says what a sample is.
    sample
        A normalised sample ``(...)``, the input example; None: one of zeros.

    Raises
    ------
    ModelError
        If the learner cannot be loaded or called; the link is there.
    """
    from insituml import load_checkpoint
    from insituml.evaluation import is_judged_by_reconstruction

    (folder / checkpoint.name).symlink_to(checkpoint.absolute())
    try:
        learner = load_checkpoint(checkpoint)
        if not is_judged_by_reconstruction(learner):
            return
        shape = tuple(learner.metadata["manifest"]["sample_shape"])
        shown = np.zeros(shape) if sample is None else sample
        # Three digits: an example is text, and need not be the sample itself.
        plain = np.array([float(f"{x:.3g}") for x in shown.ravel()], dtype=np.float32)
        example = plain.reshape(1, *shape)
        made = Predictor(learner).predict(example)
    except Exception as error:  # whatever a user's own model may raise
        raise ModelError(f"{type(error).__name__}: {error}") from error
    _describe(folder, checkpoint.name, learner, example, made)


def _describe(
    folder: Path, data: str, learner: ContinualLearner, example: np.ndarray, made: np.ndarray
) -> None:
    """Write ``MLmodel``: MLflow's own writer takes seconds to import, to write these lines."""
    import mlflow

    from insituml import __version__

    described: dict[str, Any] = {
        "flavors": {
            "python_function": {
                "loader_module": __name__,
                "data": data,
                "python_version": platform.python_version(),
            }
        },
        "mlflow_version": mlflow.__version__,
        "model_uuid": uuid4().hex,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": {"inputs": _tensor(example), "outputs": _tensor(made), "params": None},
        "metadata": {"insituml": __version__, "learner": type(learner).__qualname__},
    }
    if example.size <= LARGEST_EXAMPLE:
        (folder / EXAMPLE).write_text(json.dumps(example.tolist()))
        info = {"artifact_path": EXAMPLE, "type": "ndarray", "format": "tf-serving"}
        described["saved_input_example_info"] = info
    # JSON is YAML, as which it is read.
    (folder / "MLmodel").write_text(json.dumps(described, indent=2) + "\n")
    (folder / "requirements.txt").write_text(f"insituml=={__version__}\n")


def _tensor(array: np.ndarray) -> str:
    """Return the signature of arrays like this one, of any length."""
    shape = [-1, *array.shape[1:]]
    return json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": shape}}])


class Predictor:
    """What ``mlflow.pyfunc.load_model`` calls: a learner's reconstructions of samples.

    Parameters
    ----------
    learner
        In ``eval`` mode.
    """

    def __init__(self, learner: ContinualLearner) -> None:
        self.learner = learner

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> np.ndarray:
        """Return the reconstructions ``(n, ...)`` of normalised samples ``(n, ...)``."""
        import torch

        with torch.no_grad():
            samples = torch.as_tensor(np.asarray(model_input, dtype=np.float32))
            return self.learner.decode(self.learner.encode(samples)).numpy()


def _load_pyfunc(path: str) -> Predictor:
    """Load what MLflow found by this module's name in a file ``MLmodel``."""
    from insituml import load_checkpoint

    return Predictor(load_checkpoint(path))
