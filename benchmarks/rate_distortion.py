"""Bytes against error: a learner's latents, principal components, SZ3 and ZFP on the same fields.

Learners are trained on all tasks at once by the pipeline's own commands in ``--folder``; what was
trained already is kept. Latents of the held-out iterations are stored together, entropy-coded, and
decoded by the stored decoder. SZ3 and ZFP compress each component of each held-out iteration as
one volume; SZ3 also each component of the whole stream with time as an axis.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.rate_codecs import Fields, compressor_points, learner_points, series_points
from benchmarks.rate_curves import Point, front, last_win, ratio_at, stream_at
from benchmarks.rate_learners import REPOSITORY, Experiment, RatesError
from benchmarks.report import Row, options, print_columns, print_table, write_json

ERRORS = (0.05, 0.075, 0.10, 0.15)
"""Relative L2 errors at which curves are compared."""
MSE = (0.03, 0.05, 0.1)
"""Normalised errors at which they are compared as well: of all components alike."""
TIMES, TIMES_WITH_DECODER = 10, 2
"""Goals: times SZ3's ratio without the decoder, and with it from ``STREAM`` megabytes on."""
STREAM = 500
SHOWN = 1e-3
"""Least relative L2 error in the figure."""
SZ3, SERIES, ZFP, PCA = "SZ3", "SZ3 in 4-D", "ZFP", "incremental PCA"
PATHS = {"pic": REPOSITORY / "../shared/data/pic_lwfa"}
"""Where data lie that an experiment reads in place."""


def measure(
    experiment: Experiment,
    model: str,
    sizes: Sequence[int],
    epochs: int,
    overrides: Sequence[str],
) -> tuple[Fields, list[Point]]:
    """Return the fields of an experiment and the points of all compressors on them."""
    experiment.prepare()
    fields = experiment.fields()

    def points() -> Iterator[Point]:
        for algorithm in ("sz3", "sz3_interpolation"):
            yield from compressor_points(fields, SZ3, algorithm)
        yield from series_points(fields, SERIES, "sz3")
        yield from compressor_points(fields, ZFP, "zfp", loosest=16)
        for size in sizes:
            print(f"{experiment.name}: {PCA}, {size} components", flush=True)
            yield from learner_points(fields, PCA, experiment.components(size))
        for size in sizes:
            print(f"{experiment.name}: {model}, latent size {size}", flush=True)
            learner = experiment.trained(model, size, epochs, overrides)
            yield from learner_points(fields, model, learner)

    return fields, list(points())


def rows_of(experiment: str, points: Sequence[Point], model: str) -> Iterator[Row]:
    """Yield what is read off the curves of one experiment."""
    curves = {name: [p for p in points if p.compressor == name] for name in names(points)}
    for error in ERRORS:
        level = f"{experiment}, relative L2 {100 * error:g} %:"
        theirs = ratio_at(curves[SZ3], error)
        yield Row(f"{level} ratio of SZ3", theirs)
        yield Row(f"{level} ratio of SZ3 in 4-D", ratio_at(curves[SERIES], error))
        yield Row(f"{level} {PCA} / SZ3", ratio_at(curves[PCA], error) / theirs)
        ours = ratio_at(curves[model], error) / theirs
        yield Row.at_least(f"{level} {model} / SZ3", ours, TIMES)
        for name in (PCA, model):
            length = stream_at(curves[name], error, TIMES_WITH_DECODER * theirs) / 1e6
            text = f"{level} MB of stream until {name} with decoder is {TIMES_WITH_DECODER} x SZ3"
            yield Row(text, length) if name == PCA else Row.at_most(text, length, STREAM)
    for mse in MSE:
        level = f"{experiment}, normalised MSE {mse:g}:"
        theirs = ratio_at(curves[SZ3], mse, "mse")
        yield Row(f"{level} ratio of SZ3", theirs)
        for name in (PCA, model):
            yield Row(f"{level} {name} / SZ3", ratio_at(curves[name], mse, "mse") / theirs)
    won = last_win(curves[SZ3], curves[model])
    yield Row(f"{experiment}: SZ3 wins up to a relative L2 of, %", 100 * won)


def names(points: Sequence[Point]) -> list[str]:
    """Return the compressors in the order in which they come."""
    return list(dict.fromkeys(p.compressor for p in points))


def print_points(points: Sequence[Point], raw: float) -> None:
    """Print the points that no other of the same compressor beats, and what their decoder costs."""
    sz3 = [p for p in points if p.compressor == SZ3]
    heading = ("", "rel. L2 %", "MSE", "ratio", "with decoder", "decoder kB", "MB to 2 x SZ3")
    cells = []
    for name in names(points):
        for p in front([p for p in points if p.compressor == name]):
            length = p.stream_for(TIMES_WITH_DECODER * ratio_at(sz3, p.error)) / 1e6
            told = [f"{p.ratio_of_stream(raw):.0f}", f"{p.decoder / 1e3:.0f}", f"{length:.0f}"]
            numbers = [f"{100 * p.error:.2f}", f"{p.mse:.4f}", f"{p.ratio:.1f}"]
            cells.append((f"{name}: {p.setting}", *numbers, *(told if p.decoder else "   ")))
    print_columns(heading, cells)


def draw(found: dict[str, list[Point]], raw: dict[str, float], path: Path) -> None:
    """Draw the curves of all experiments, each compressor's front."""
    from insituml import plots

    panels = {}
    for experiment, points in found.items():
        curves = {}
        for name in names(points):
            own = [p for p in points if p.compressor == name and p.error >= SHOWN]
            best = front(own)
            # Another point may be best once its decoder counts.
            with_decoder = [
                max(q.ratio_of_stream(raw[experiment]) for q in own if q.error <= p.error)
                for p in best
            ]
            curves[name] = plots.RateCurve(
                [p.error for p in best],
                [p.ratio for p in best],
                with_decoder if any(p.decoder for p in own) else None,
            )
        panels[f"{experiment}, {raw[experiment] / 1e6:.0f} MB"] = curves
    plots.save(plots.rate_distortion_curves(panels, region=(ERRORS[0], ERRORS[-1])), path)
    print(f"figure: {path}")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--experiments", default="pic,lwfa", help="of pic, lwfa, fbpic and others")
    parser.add_argument("--folder", type=Path, default=Path("rates"), help="default: rates")
    parser.add_argument("--model", default="hybrid", help="file in conf/model")
    parser.add_argument("--sizes", default="8,16,32,64,128", help="latent sizes, five or more")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument(
        "--data", type=Path, help="folder of data that an experiment reads in place"
    )
    parser.add_argument("--figure", type=Path, metavar="PNG", help="also draw the curves")
    parser.add_argument("overrides", nargs="*", help="of every training, as optimizer.lr=5e-4")
    arguments = parser.parse_intermixed_args()
    experiments, sizes = arguments.experiments.split(","), arguments.sizes.split(",")
    if arguments.quick:
        experiments, sizes, arguments.epochs = ["lwfa"], ["32"], 1
    found: dict[str, list[Point]] = {}
    raw: dict[str, float] = {}
    rows: list[Row] = []
    details: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) if arguments.quick else arguments.folder
        for name in experiments:
            path = (arguments.data or PATHS[name]) if name in PATHS else None
            experiment = Experiment(name, root / name, path)
            try:
                fields, points = measure(
                    experiment,
                    arguments.model,
                    [int(size) for size in sizes],
                    arguments.epochs,
                    arguments.overrides,
                )
            except RatesError as error:
                print(f"error: {error}", file=sys.stderr)
                sys.exit(2)
            found[name], raw[name] = points, float(fields.volumes.nbytes)
            print(f"\n{name}: {raw[name] / 1e6:.1f} MB, {len(fields.held_out)} iterations held out")
            print_points(points, raw[name])
            rows += rows_of(name, points, arguments.model)
            details += [
                Row(f"{name}, {p.compressor}, {p.setting}: {key}", value)
                for p in points
                for key, value in asdict(p).items()
                if not isinstance(value, str)
            ]
    print()
    print_table(rows)
    if arguments.json:
        write_json([*rows, *details], arguments.json)
    if arguments.figure:
        draw(found, raw, arguments.figure)


if __name__ == "__main__":
    main()
