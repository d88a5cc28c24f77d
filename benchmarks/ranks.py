"""Ranks over experiments: which methods differ, wherever they were compared.

Each folder of an experiment, as `benchmarks.quality` and `dvc repro` leave it, is one block: the
mean over its seeds ranks the methods that all folders have. Bounds, which see other data, are not
ranked.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.report import Row, concluded

FIGURE = Path("critical_difference.png")
FEWEST_METHODS, FEWEST_FOLDERS = 3, 2


def errors_by_experiment(folders: Sequence[Path]) -> dict[str, np.ndarray]:
    """Return each method's error at the end, one of each folder, of methods that all have.

    Raises
    ------
    ValueError
        If a folder has no evaluations, or there are too few folders or methods for ranks.
    """
    from insituml_pipelines.results.significance import errors_by_seed, ranked_methods
    from insituml_pipelines.results.tables import leaderboard, read_summaries

    found = []
    for folder in folders:
        methods = sorted(path.parent.name for path in folder.glob("evaluations/*/summary.json"))
        if not methods:
            raise ValueError(f"{folder} has no evaluations; run benchmarks.quality in it first")
        summaries = read_summaries(folder, methods)
        ranked = ranked_methods(leaderboard(summaries).to_dict("records"))
        errors = errors_by_seed(summaries)
        found.append({method: float(errors[method].mean()) for method in ranked})
    common = sorted(set.intersection(*map(set, found)))
    if len(found) < FEWEST_FOLDERS or len(common) < FEWEST_METHODS:
        raise ValueError(
            f"{len(found)} folders share the methods {', '.join(common) or 'none'}; expected "
            f"{FEWEST_FOLDERS} folders or more with {FEWEST_METHODS} methods or more in common"
        )
    return {method: np.array([errors[method] for errors in found]) for method in common}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="such as quality/lwfa quality/toy8")
    parser.add_argument("--figure", type=Path, default=FIGURE, help=f"default: {FIGURE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    arguments = parser.parse_args()

    from insituml import plots
    from insituml.significance import mean_ranks
    from insituml_pipelines.results.significance import ranks_figure

    try:
        errors = errors_by_experiment(arguments.folders)
    except ValueError as error:
        parser.error(str(error))
    names = ", ".join(folder.resolve().name for folder in arguments.folders)
    figure = ranks_figure(errors, title=f"Ranks over {names}", blocks="experiments")
    assert figure is not None  # there are enough methods and folders
    print(f"figure: {plots.save(figure, arguments.figure)}")
    ranks = zip(mean_ranks(np.array(list(errors.values())).T), errors, strict=True)
    rows = [Row(f"{method}, mean rank", float(rank)) for rank, method in sorted(ranks)]
    return concluded(rows, arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
