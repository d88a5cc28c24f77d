"""What results were made by: code, data, libraries, machine, time."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from insituml import __version__
from insituml.plots import method_label
from insituml_pipelines.reporting.blocks import Cell, Facts, Table
from insituml_pipelines.reporting.results_folder import ResultsFolder

SHORT = 12
"""Characters of a digest that are shown."""


def facts(results: ResultsFolder) -> Facts:
    """Return names and values of what is known."""
    items: list[tuple[str, str]] = []
    manifest, summaries = results.manifest, list(results.summaries.values())
    if manifest is not None:
        train, test = (sum(getattr(t, part) for t in manifest.tasks) for part in ("train", "test"))
        items += [
            ("data", f"{manifest.title}, {manifest.kind}, {len(manifest.tasks)} tasks"),
            ("samples", f"{train} to learn from, {test} held out"),
        ]
    digests = sorted({s.identity.data[:SHORT] for s in summaries})
    digests = digests or ([manifest.fingerprint[:SHORT]] if manifest is not None else [])
    if digests:
        items.append(("data fingerprint", ", ".join(digests)))
    if codes := sorted({s.identity.code[:SHORT] for s in summaries}):
        several = "" if len(codes) == 1 else " (methods were trained by different code)"
        items.append(("code that trained", ", ".join(codes) + several))
    items += _git(results.root)
    if summaries:
        identity = summaries[0].identity
        items += [("versions", ", ".join(f"{k} {v}" for k, v in identity.versions.items()))]
        device, threads = (identity.training.get(key) for key in ("device", "threads"))
        items.append(
            ("trained on", f"{device}, {threads} thread{'s' if threads != 1 else ''} a run")
        )
    items += [("page written on", _machine()), ("page written by", f"insituml {__version__}")]
    return Facts(items)


def _git(root: Path) -> list[tuple[str, str]]:
    """Return the commit of a clone that holds the results, and whether files were changed in it."""
    if shutil.which("git") is None:
        return []
    commit = _asked(root, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return []
    changed = _asked(root, "status", "--porcelain", "--untracked-files=no")
    if changed is None:
        return []
    count = len(changed.splitlines())
    state = "no tracked file changed" if not count else f"dirty: {count} changed file"
    return [
        ("git commit when the page was written", f"{commit}, {state}{'s' if count > 1 else ''}")
    ]


def _asked(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _machine() -> str:
    """Name processor, cores and memory."""
    parts = [_processor(), f"{os.cpu_count()} cores"]
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        parts.append(f"{total / 2**30:.0f} GiB memory")
    except (ValueError, OSError):
        parts.append("memory unknown")  # a system that does not say
    return ", ".join([*parts, platform.system()])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []  # no Linux
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def times(results: ResultsFolder, name: str = "Time that training took") -> Table | None:
    """Return how long training took, one row a method; None where nobody noted it."""
    rows = []
    for method, seeds in results.timings().items():
        known = [s for s in seeds.values() if isinstance(s.get("seconds"), int | float)]
        if not known:
            continue
        seconds = [float(s["seconds"]) for s in known]
        steps = sum(int(s.get("steps") or 0) for s in known)
        each = 1e3 * sum(seconds) / steps if steps else None
        beside = max((int(s.get("side_by_side") or 0) for s in known), default=0)
        rows.append(
            [
                Cell(method_label(method)),
                _seconds(sum(seconds) / len(seconds)),
                _seconds(sum(seconds)),
                Cell("–") if each is None else Cell(f"{each:.3g}", each),
                Cell(str(beside) if beside else "–", float(beside) if beside else None),
            ]
        )
    heads = ["method", "time a seed [s]", "all seeds [s]", "step [ms]", "runs at once"]
    caption = "Training alone. Times of runs that shared the machine do not compare with others."
    return Table(name, heads, rows, caption) if rows else None


def _seconds(value: float) -> Cell:
    return Cell(f"{value:.3g}" if value < 1000 else f"{value:.0f}", value)
