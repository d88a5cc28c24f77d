"""Draw the eight-Gaussian toy data at six times, as its clusters drift along the diagonal.

The labels change too: time is added to the one entry that is not zero.
"""

import argparse

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from insituml.toy_data.generate import generate_toy8, label2color_toyN, td_gen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", default="toy8_over_time.png", help="image to write (default: %(default)s)"
    )
    args = parser.parse_args()

    X, Y = generate_toy8("all", npoints=800, seed=0)
    times = [0, 2, 4, 6, 8, 10]

    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for panel, t, (X_t, Y_t) in zip(panels.flat, times, td_gen(X, Y, time=times), strict=True):
        panel.scatter(*X_t.T, c=label2color_toyN(Y_t), s=4, linewidths=0)
        title = f"t = {t}, label entry {Y_t.max():.0f}"
        panel.set(title=title, aspect="equal", xticks=[0, 5, 10], yticks=[0, 5, 10])
        panel.label_outer()
    figure.supxlabel("$x_0$")
    figure.supylabel("$x_1$")
    handles = [
        Line2D([], [], color=colour, marker="o", linestyle="", label=str(label))
        for label, colour in enumerate(label2color_toyN(torch.eye(8)))
    ]
    figure.legend(handles=handles, title="label", loc="outside right center", frameon=False)
    figure.savefig(args.out, dpi=150)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
