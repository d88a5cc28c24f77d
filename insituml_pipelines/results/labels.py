"""What figures and tables call errors, and what they say of their units."""

from __future__ import annotations

from collections.abc import Mapping

from insituml.data import Manifest
from insituml.physical_metrics import MAIN, PHYSICAL_METRICS
from insituml_pipelines.results.summary import Summary

# Learners see normalised data, whatever their kind: so are these errors.
LABELS = {
    "mse": "normalised MSE",
    "l1": "normalised mean absolute error",
    "linf": "normalised largest error",
    "nll": "negative log-likelihood [nats]",
}
LOSSES = {"mse": LABELS["mse"], "l1": LABELS["l1"], "l1_ssim": f"{LABELS['l1']} + 1 − SSIM"}
"""By ``model.loss``."""
OF_LEARNER = {"mse": "variance", "l1": "standard deviation"}
STATISTICS = {
    "first_task": "the first task's data",
    "running": "the data up to each task",
    "global": "all data",
}


def metric_label(metric: str) -> str:
    """Return what figures and tables call an error."""
    name, _, component = metric.partition(".")
    known = PHYSICAL_METRICS.get(name)
    label = known.label if known else LABELS.get(name, name)
    return f"{label} of {component}" if component else label


def metric_unit(metric: str, manifest: Manifest) -> str:
    """Return the unit of an error; empty where it has none."""
    name, _, component = metric.partition(".")
    known = PHYSICAL_METRICS.get(name)
    if known is None:
        return ""
    if known.unit is not None:
        return known.unit
    units = dict(zip(manifest.components, manifest.units, strict=True))
    return units.get(component, manifest.units[0] if manifest.units else "")


def unit_note(metric: str, manifest: Manifest) -> str:
    """Say what an error of 1 is."""
    if metric == MAIN:
        alone = len(manifest.components) < 2
        together = "all components together"
        if len(set(manifest.units)) > 1:
            together = "the root mean square of the components' own, as their units differ"
        return "Relative L2: ‖x−x̂‖/‖x‖ over a task's held-out data" + (
            "." if alone else f", {together}."
        )
    split = manifest.configuration.get("split")
    chosen = split.get("normalisation", "") if isinstance(split, Mapping) else ""
    data = STATISTICS.get(chosen)
    if metric not in OF_LEARNER or data is None:
        return ""
    return f"Normalised: 1 is the {OF_LEARNER[metric]} of {data}."


def described(metric: str, manifest: Manifest) -> str:
    """Return what a table's numbers are, in a sentence or two without the last full stop."""
    note = unit_note(metric, manifest)
    # The note on relative errors names them itself.
    parts = [note] if metric == MAIN else [f"{metric_label(metric)}.", note]
    return " ".join(parts).rstrip(". ")


def loss_label(summary: Summary) -> str:
    """Return what the training loss of a run is called."""
    loss = summary.identity.model.get("loss")
    if loss is None and summary.metric not in PHYSICAL_METRICS:
        loss = summary.metric  # learners with a loss of their own are judged by it
    name = LOSSES.get(str(loss)) or LABELS.get(str(loss))
    return f"training loss ({name})" if name else "training loss"
