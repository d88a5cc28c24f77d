"""What files hold, for people: a checkpoint, a manifest, latents."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from insituml.data.manifest import Manifest

SHOWN = 6
"""Numbers of a list that are printed at most."""
SECTIONS = ("model", "method", "optimizer", "training", "versions")
"""What a pipeline's checkpoint says of how it was made, in this order."""
WIDTH = 14


def checkpoint_text(path: Path) -> str:
    """Return what a checkpoint holds.

    Raises
    ------
    ValueError
        If it is damaged or of another format.
    """
    from insituml.checkpoint_file import FORMAT, read_checkpoint_file

    file = read_checkpoint_file(path)
    model, known = file.model, dict(file.metadata)
    numbers = sum(t.numel() for t in model["weights"].values() if hasattr(t, "numel"))
    rows = {
        "learner": f"{model['model_class'].replace(':', '.')}, {numbers:,} numbers in its weights",
        "of": _of_run(known),
        "trained": _of_training(known),
        "memory": _of_memory(known),
        "goes on": "yes: it holds the state of optimizer, method and generator"
        if file.training is not None
        else "no: only a run's last checkpoint holds the state of its training",
        "note": known.get("note", ""),
        "code": str(known.get("code", ""))[:12],
    }
    lines = [_title(path, f"a checkpoint of format {FORMAT}"), *_rows(rows)]
    if isinstance(plain := known.get("manifest"), Mapping):
        lines += ["", "data", *_rows(_of_manifest(Manifest.from_plain(plain)))]
    sections = {name: known[name] for name in SECTIONS if name in known}
    if "model" not in sections:
        sections = {"model": model["model_arguments"], **sections}
    for name, content in sections.items():
        lines += ["", name, *_indented(content)]
    return "\n".join(lines) + "\n"


def manifest_text(path: Path) -> str:
    """Return what a manifest says.

    Raises
    ------
    ValueError
        If the file is none.
    """
    from insituml.data.task_files import DIGESTS
    from insituml.safe_reading import read_json

    plain = read_json(path)
    manifest = Manifest.from_plain({k: v for k, v in plain.items() if k != DIGESTS}, str(path))
    lines = [_title(path, "a manifest of tasks"), *_rows(_of_manifest(manifest)), ""]
    lines += _task_table(manifest)
    lines += ["", "made by", *_indented(manifest.configuration)]
    return "\n".join(lines) + "\n"


def latents_text(path: Path) -> str:
    """Return what packed latents are of.

    Raises
    ------
    ValueError
        If the file holds none, or is damaged.
    """
    from insituml.archive import unpack_latents
    from insituml.safe_reading import read_bytes

    data = read_bytes(path)
    fields = unpack_latents(data)
    first = fields[0]
    values = [field.values.float() for field in fields]
    low = min(float(v.min()) for v in values)
    high = max(float(v.max()) for v in values)
    numbers = math.prod(first.values.shape)
    points = math.prod(first.shape)
    bits = 8 * len(data) / (len(fields) * numbers)
    rows = {
        "fields": f"{len(fields)}, each of {_times(first.shape)} points",
        "latents": f"{_times(first.values.shape)} a field (chunks × latent): {numbers} numbers for "
        f"{points} points of each component",
        "stored as": f"{first.storage}, {bits:.3g} bits a number",
        "values": f"from {low:.4g} to {high:.4g}",
        "task": f"{first.task}: decode with a checkpoint that knows its normalisation",
    }
    return "\n".join([_title(path, "latents"), *_rows(rows)]) + "\n"


def _of_run(known: Mapping[str, Any]) -> str:
    if "method_name" not in known:
        return ""
    task = known.get("task", -1)
    when = f"after task {task} ({known.get('task_name')})" if task >= 0 else "untrained"
    experiment = f" of experiment {known['experiment']}" if known.get("experiment") else ""
    return f"{known['method_name']}, seed {known.get('seed')}, {when}{experiment}"


def _of_training(known: Mapping[str, Any]) -> str:
    if "steps" not in known:
        return ""
    history = known.get("loss_history") or ()
    last = f"; last loss {history[-1]:.4g}" if history else ""
    replayed = known.get("samples_replayed", 0)
    return (
        f"{known['steps']:,} steps, {known.get('samples_seen', 0):,} samples seen and "
        f"{replayed:,} replayed, {known.get('flops', 0):.3g} FLOPs{last}"
    )


def _of_memory(known: Mapping[str, Any]) -> str:
    kept = known.get("memory_bytes")
    return "" if kept is None else f"{_size(kept)} kept from task to task"


def _of_manifest(manifest: Manifest) -> dict[str, str]:
    units = dict.fromkeys(manifest.units)
    named = ", ".join(manifest.components)
    grid = manifest.grid
    times = sorted(manifest.times.values())
    rows = {
        "name": f"{manifest.title}, {manifest.kind}, {len(manifest.tasks)} tasks",
        "sample": f"{_times(manifest.sample_shape)}"
        + (f": {named} in {', '.join(unit or '1' for unit in units)}" if named else ""),
        "label": f"{manifest.condition_size} numbers" if manifest.condition_size else "",
        "time": f"{times[0]:.4g} to {times[-1]:.4g} s" if times and grid is not None else "",
        "fingerprint": manifest.fingerprint[:12],
    }
    if grid is not None:
        spacing = ", ".join(f"{length:.3g}" for length in grid.spacing)
        axes = ", ".join(grid.axis_labels)
        rows["grid"] = f"{_times(grid.shape)} points along {axes}, {spacing} m apart"
    return rows


def _task_table(manifest: Manifest) -> list[str]:
    """Return a row a task: its samples, and what normalised them."""
    rows = [("task", "name", "train", "validation", "test", "mean", "deviation")]
    for number, task in enumerate(manifest.tasks):
        scale = task.normalisation
        counts = (str(task.train), str(task.validation), str(task.test))
        both = (_short(scale.mean.ravel().tolist()), _short(scale.std.ravel().tolist()))
        rows.append((str(number), task.name, *counts, *both))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _title(path: Path, what: str) -> str:
    return f"{path}: {what}, {_size(path.stat().st_size)}"


def _rows(rows: Mapping[str, str]) -> list[str]:
    return [f"  {name:<{WIDTH}}{text}" for name, text in rows.items() if text]


def _indented(content: Any) -> list[str]:
    text = yaml.safe_dump(_shortened(content), sort_keys=False, allow_unicode=True, width=90)
    unquoted = re.sub(r"'(\[[^']*\])'", r"\1", text)  # lists that were made one line
    return [f"  {line}" for line in unquoted.splitlines()]


def _shortened(value: Any) -> Any:
    """Return plain values that YAML prints readably: short lists on one line, long ones cut."""
    if isinstance(value, Mapping):
        return {str(key): _shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if all(isinstance(item, int | float | str) for item in value):
            return _short(value)
        return [_shortened(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def _short(values: Sequence[Any]) -> str:
    shown = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values[:SHOWN]]
    more = f", ... {len(values)} in all" if len(values) > SHOWN else ""
    return f"[{', '.join(shown)}{more}]"


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
