import struct
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from insituml import plots
from insituml.plots.style import (
    compact,
    human_bytes,
    label_line_ends,
    look,
    readable_on,
    spread,
)

OURS = [
    "naive",
    "joint",
    "cumulative",
    "incremental_pca",
    "ewc",
    "online_ewc",
    "kronecker_ewc",
    "mas",
    "synaptic_intelligence",
    "agem",
    "sgem",
    "agem_layerwise",
    "gem",
    "gpm",
    "experience_replay",
    "mir",
    "der",
    "der_plus_plus",
    "generative_replay",
    "lwf",
    "weight_averaging",
    "sketched_replay",
    "compressed_replay",
]

# Machado, Oliveira & Fernandes, IEEE TVCG 2009, table 1 at severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(color: str, vision: str) -> np.ndarray:
    """CIE L*a*b* of what somebody sees of a colour; a distance of 2 is just noticeable."""
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    seen = (np.array(VISION[vision]) @ linear).clip(0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = (
        np.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116
        for v in np.array(to_xyz) @ seen / [0.9505, 1.0, 1.089]
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    "name, label",
    [
        ("agem", "A-GEM"),
        ("ewc", "EWC"),
        ("online_ewc", "online EWC"),
        ("sgem", "S-GEM"),
        ("agem_layerwise", "layer-wise A-GEM"),
        ("experience_replay", "experience replay"),
        ("naive", "naive"),
        ("joint", "joint"),
        ("der_plus_plus", "DER++"),
        ("lwf", "LwF"),
        ("mas", "MAS"),
        ("kronecker_ewc", "Kronecker EWC"),
        ("ewc_replay", "EWC + replay"),
        ("online_ewc_agem_layerwise_lwf", "online EWC + layer-wise A-GEM + LwF"),
        ("agem_lwf", "A-GEM + LwF"),
        ("my_own_method", "my own method"),
        ("my_ewc", "my ewc"),
    ],
)
def test_labels(name: str, label: str) -> None:
    assert plots.method_label(name) == label
    assert plots.method_styles([name])[name].label == label


def test_known_methods_look_the_same_in_any_company() -> None:
    together = plots.method_styles([*OURS, "aaa", "zzz"])
    for name in OURS:
        assert plots.method_styles([name])[name] == together[name]


def test_unknown_methods_do_not_depend_on_order() -> None:
    forward = plots.method_styles(["b", "ewc", "a", "c"])
    assert forward == plots.method_styles(["c", "a", "b", "ewc"])
    assert list(forward) == ["b", "ewc", "a", "c"]


def test_ours_are_told_apart_without_colour() -> None:
    styles = plots.method_styles(OURS).values()
    assert len({style.label for style in styles}) == len(OURS)
    assert len({(style.marker, str(style.linestyle)) for style in styles}) == len(OURS)


@pytest.mark.parametrize("vision", VISION)
def test_families_are_told_apart_by_colour(vision: str) -> None:
    styles = plots.method_styles(OURS)
    families = [OURS[4:9], OURS[9:14], OURS[14:19], OURS[19:]]
    shades = [{styles[name].color for name in members} for members in families]
    assert [len(colors) for colors in shades] == [2, 2, 2, 2]
    for place, colors in enumerate(shades):
        others = [lab(color, vision) for other in shades[:place] for color in other]
        for color in colors:
            assert all(np.linalg.norm(lab(color, vision) - other) > 15 for other in others)


def test_methods_of_others_differ_from_ours() -> None:
    styles = plots.method_styles([*OURS, "ewc_replay", "one", "two", "three"])
    new = list(styles.values())[len(OURS) :]
    assert len({style.color for style in new}) == len({style.marker for style in new}) == 4
    assert not {style.color for style in new} & {styles[name].color for name in OURS}
    assert not {style.marker for style in new} & {styles[name].marker for name in OURS}


def test_many_unknown_methods_stay_distinct() -> None:
    styles = plots.method_styles([f"method_{index}" for index in range(20)]).values()
    assert len({(style.color, str(style.linestyle), style.marker) for style in styles}) == 20


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (0.12345, 3, "0.123"),
        (0.99999, 3, "1.00"),
        (12.345, 3, "12.3"),
        (1234.5, 3, "1234"),
        (1.2345e-5, 3, "1.23e-5"),
        (-1.2345e7, 2, "-1.2e7"),
        (0.0, 3, "0"),
        (float("nan"), 3, "–"),
        (None, 3, "–"),
        (float("inf"), 3, "∞"),
    ],
)
def test_compact(value: float | None, digits: int, text: str) -> None:
    assert compact(value, digits) == text


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5 MiB"),
        (3 * 2**30, "3 GiB"),
        (2**41, "2 TiB"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_human_bytes(count: float | None, text: str) -> None:
    assert human_bytes(count) == text


def test_text_contrasts_with_its_background() -> None:
    for color in matplotlib.colormaps["viridis"](np.linspace(0, 1, 64)):
        linear = np.where(
            color[:3] <= 0.04045, color[:3] / 12.92, ((color[:3] + 0.055) / 1.055) ** 2.4
        )
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        text = 1.0 if readable_on(color) == "white" else 0.0
        bright, dark = max(luminance, text), min(luminance, text)
        assert (bright + 0.05) / (dark + 0.05) > 4.5  # the accessibility guidelines' level AA


def test_spread_keeps_order_and_gap() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 5, 12):
        wanted = rng.uniform(-0.2, 1.2, count)
        moved = spread(wanted, 0.07)
        assert np.diff(np.sort(moved)).min() > 0.07 - 1e-12
        assert moved.min() >= -1e-12
        assert moved.max() <= 1 + 1e-12
        np.testing.assert_array_equal(np.argsort(moved), np.argsort(wanted))


def test_spread_moves_nothing_that_is_apart() -> None:
    np.testing.assert_allclose(spread([0.9, 0.1, 0.5], 0.1), [0.9, 0.1, 0.5])


def test_spread_moves_a_pair_evenly() -> None:
    np.testing.assert_allclose(spread([0.5, 0.5], 0.2), [0.4, 0.6])


def test_line_labels_do_not_overlap() -> None:
    with look():
        figure = Figure(figsize=(8, 4))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1])
        styles = plots.method_styles([f"method {place}" for place in range(12)])
        ends = [(1.0, 0.5 + 0.001 * k, style) for k, style in enumerate(styles.values())]
        label_line_ends(axes, ends)
        figure.draw_without_rendering()
        boxes = sorted(
            (Text.get_window_extent(text) for text in axes.texts), key=lambda box: box.y0
        )
    for lower, upper in pairwise(boxes):
        assert lower.y1 <= upper.y0 + 1
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)


def draw() -> Figure:
    return plots.loss_matrix_grid({"ewc": np.eye(3), "agem": np.ones((3, 3))}, title="grid")


def chunks(content: bytes) -> list[str]:
    names, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        names.append(content[place + 4 : place + 8].decode())
        place += 12 + length
    return names


@pytest.mark.parametrize("log", [False, True])
def test_a_figure_drawn_before_saves_as_a_fresh_one(tmp_path: Path, log: bool) -> None:
    matrices = {"ewc": np.ones((2, 3, 3)), "my_method": np.full((2, 3, 3), 0.5)}
    names = ["iterations 0-9", "iterations 10-19", "iterations 20-29"]
    fresh, drawn = (plots.first_task_error(matrices, task_names=names, log=log) for _ in range(2))
    drawn.draw_without_rendering()
    paths = [plots.save(figure, tmp_path / f"{id(figure)}.png") for figure in (fresh, drawn)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_equal_figures_are_equal_bytes(tmp_path: Path) -> None:
    figure = draw()
    first = plots.save(figure, tmp_path / "a" / "first.png").read_bytes()
    assert plots.save(figure, tmp_path / "again.png").read_bytes() == first
    assert plots.save(draw(), tmp_path / "other.png").read_bytes() == first
    assert set(chunks(first)) <= {"IHDR", "pHYs", "IDAT", "IEND"}  # no text, no date


def test_user_settings_neither_leak_in_nor_are_changed(tmp_path: Path) -> None:
    plain = plots.save(draw(), tmp_path / "plain.png").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 17}):
        before = dict(matplotlib.rcParams)
        assert plots.save(draw(), tmp_path / "user.png").read_bytes() == plain
        assert dict(matplotlib.rcParams) == before


def test_saving_leaves_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    plots.save(draw(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk"):
        plots.save(draw(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_png(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"figure\.pdf.*\.png"):
        plots.save(draw(), tmp_path / "figure.pdf")
