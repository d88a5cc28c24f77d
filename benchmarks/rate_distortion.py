"""Bytes against error: a learner's latents, principal components, SZ3 and ZFP on the same fields.

Learners are trained on all tasks at once by the pipeline's own commands in ``--folder``; what was
trained already is kept. Latents of the held-out iterations are stored together, entropy-coded, and
decoded by the stored decoder. SZ3 and ZFP compress each component of each held-out iteration as
one volume; SZ3 also each component of the whole stream with time as an axis.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rate_codecs import compressor_points, learner_points, series_points
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
EPOCHS, SIZES, OVERRIDES = 60, "8,16,32", ()
OF_EXPERIMENT: dict[str, tuple[int, str, Sequence[str]]] = {
    "pic": (160, "8,16,32,64,128", ["model.channels=[16,32,64]"]),
    "fbpic": (12, "8,16,32,64", ()),
}
"""Epochs, latent sizes and overrides where they are not these: fewer where a step is large, and a
smaller network where its bytes count."""
PATHS = {"pic": REPOSITORY / "../shared/data/pic_lwfa"}
"""Where data lie that an experiment reads in place."""


@dataclass(frozen=True)
class Found:
    """The points of one experiment, and the raw bytes of its stream."""

    experiment: str
    points: list[Point]
    raw: float

    def of(self, compressor: str) -> list[Point]:
        """Return the points of one compressor."""
        return [p for p in self.points if p.compressor == compressor]

    @property
    def names(self) -> list[str]:
        """The compressors, in the order in which they come."""
        return list(dict.fromkeys(p.compressor for p in self.points))


def asked(text: str) -> list[tuple[str, int | None]]:
    """Return names of experiments, each with the number of held-out iterations to judge by.

    Raises
    ------
    argparse.ArgumentTypeError
        If what follows a name is no such number.
    """
    found: list[tuple[str, int | None]] = []
    for each in text.split(","):
        name, _, count = each.partition(":")
        if count and not (count.isdecimal() and int(count)):
            raise argparse.ArgumentTypeError(
                f"{each!r}; expected a name, or name:N with the number of held-out iterations to "
                "judge by, such as fbpic:5"
            )
        found.append((name, int(count) if count else None))
    return found


def measured(name: str, judged: int | None, folder: Path, arguments: argparse.Namespace) -> Found:
    """Return what all compressors make of an experiment's held-out fields, and print it."""
    epochs, sizes, usual = OF_EXPERIMENT.get(name, (EPOCHS, SIZES, OVERRIDES))
    epochs, sizes = arguments.epochs or epochs, arguments.sizes or sizes
    overrides = [*usual, *arguments.overrides]
    path = (arguments.data or PATHS[name]) if name in PATHS else None
    experiment = Experiment(name, folder, path)
    experiment.prepare()
    fields = experiment.fields(judged)

    def points() -> Iterator[Point]:
        for algorithm in ("sz3", "sz3_interpolation"):
            yield from compressor_points(fields, SZ3, algorithm)
        yield from series_points(fields, SERIES, "sz3")
        yield from compressor_points(fields, ZFP, "zfp", loosest=16)
        for size in map(int, sizes.split(",")):
            print(f"{name}: {PCA} and {arguments.model}, {size} latents", flush=True)
            yield from learner_points(fields, PCA, experiment.components(size))
            learner = experiment.trained(arguments.model, size, epochs, overrides)
            yield from learner_points(fields, arguments.model, learner)

    found = Found(name, list(points()), float(fields.volumes.nbytes))
    print(f"\n{name}: {found.raw / 1e6:.1f} MB, {len(fields.held_out)} iterations held out")
    print_points(found)
    return found


def rows_of(found: Found, model: str) -> Iterator[Row]:
    """Yield what is read off the curves of one experiment."""
    curves = {name: found.of(name) for name in found.names}
    for error in ERRORS:
        level = f"{found.experiment}, relative L2 {100 * error:g} %:"
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
        level = f"{found.experiment}, normalised MSE {mse:g}:"
        theirs = ratio_at(curves[SZ3], mse, "mse")
        yield Row(f"{level} ratio of SZ3", theirs)
        for name in (PCA, model):
            yield Row(f"{level} {name} / SZ3", ratio_at(curves[name], mse, "mse") / theirs)
    won = last_win(curves[SZ3], curves[model])
    yield Row(f"{found.experiment}: SZ3 wins up to a relative L2 of, %", 100 * won)


def details_of(found: Found) -> Iterator[Row]:
    """Yield the numbers of each point."""
    for p in found.points:
        for key in ("error", "mse", "ratio", "decoder"):
            value = float(getattr(p, key))
            yield Row(f"{found.experiment}, {p.compressor}, {p.setting}: {key}", value)


def print_points(found: Found) -> None:
    """Print the points that no other of the same compressor beats, and what their decoder costs."""
    sz3 = found.of(SZ3)
    heading = ("", "rel. L2 %", "MSE", "ratio", "with decoder", "decoder kB", "MB to 2 x SZ3")
    cells = []
    for name in found.names:
        for p in front(found.of(name)):
            length = p.stream_for(TIMES_WITH_DECODER * ratio_at(sz3, p.error)) / 1e6
            with_decoder = p.ratio_of_stream(found.raw)
            told = [f"{with_decoder:.0f}", f"{p.decoder / 1e3:.0f}", f"{length:.0f}"]
            numbers = [f"{100 * p.error:.2f}", f"{p.mse:.4f}", f"{p.ratio:.1f}"]
            cells.append((f"{name}: {p.setting}", *numbers, *(told if p.decoder else "   ")))
    print_columns(heading, cells)


def draw(found: Sequence[Found], path: Path) -> None:
    """Draw the curves of all experiments, each compressor's front."""
    from insituml import plots

    panels = {}
    for one in found:
        curves = {}
        for name in one.names:
            own = [p for p in one.of(name) if p.error >= SHOWN]
            best = front(own)
            # Another point may be best once its decoder counts.
            with_decoder = [
                max(q.ratio_of_stream(one.raw) for q in own if q.error <= p.error) for p in best
            ]
            curves[name] = plots.RateCurve(
                [p.error for p in best],
                [p.ratio for p in best],
                with_decoder if any(p.decoder for p in own) else None,
            )
        panels[f"{one.experiment}, {one.raw / 1e6:.0f} MB"] = curves
    plots.save(plots.rate_distortion_curves(panels, region=(ERRORS[0], ERRORS[-1])), path)
    print(f"figure: {path}")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--experiments",
        type=asked,
        default="pic,lwfa",
        help="such as pic,fbpic:5: by at most 5 of fbpic's held-out iterations; default: pic,lwfa",
    )
    parser.add_argument("--folder", type=Path, default=Path("rates"), help="default: rates")
    parser.add_argument("--model", default="hybrid", help="file in conf/model")
    parser.add_argument("--sizes", help="latent sizes, such as 8,32; default: of the experiment")
    parser.add_argument("--epochs", type=int, help="default: of the experiment")
    parser.add_argument("--data", type=Path, help="folder of outside data, in place of the usual")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="also draw the curves")
    parser.add_argument("overrides", nargs="*", help="of every training, as optimizer.lr=5e-4")
    arguments = parser.parse_intermixed_args()
    experiments = arguments.experiments
    if arguments.quick:
        experiments, arguments.sizes, arguments.epochs = [("lwfa", None)], "32", 1
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) if arguments.quick else arguments.folder
        try:
            found = [measured(*each, root / each[0], arguments) for each in experiments]
        except (RatesError, ImportError) as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
    rows = [row for one in found for row in rows_of(one, arguments.model)]
    print()
    print_table(rows)
    if arguments.json:
        write_json([*rows, *(row for one in found for row in details_of(one))], arguments.json)
    if arguments.figure:
        draw(found, arguments.figure)


if __name__ == "__main__":
    main()
