"""One colour a label, told apart by colour-blind readers too."""

from __future__ import annotations

import torch
from torch import Tensor

# The palette of Okabe and Ito; black and the faint yellow last.
PALETTE = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#56B4E9",  # sky blue
    "#D55E00",  # vermillion
    "#000000",  # black
    "#F0E442",  # yellow
)


def label2color_toyN(Y: Tensor) -> list[str]:
    """Return the colour of each point's label.

    Parameters
    ----------
    Y
        One-hot labels, shape ``(npoints, nlabels)`` with at most 8 labels. The label is the place
        of the one entry that is not zero, so labels that time has changed keep their colour.

    Returns
    -------
    list of str
        ``npoints`` colours such as ``"#0072B2"``.

    Raises
    ------
    ValueError
        If there are more labels than colours, or a row has no or several entries that are not
        zero.
    """
    if Y.ndim != 2 or Y.shape[1] > len(PALETTE):
        raise ValueError(
            f"Y has shape {tuple(Y.shape)}; expected (npoints, nlabels) with at most "
            f"{len(PALETTE)} labels, one colour each"
        )
    nonzero = Y != 0
    wrong = torch.nonzero(nonzero.sum(dim=1) != 1).flatten()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"row {row} of Y is {Y[row].tolist()}; expected one entry that is not zero: encode "
            "class numbers with torch.nn.functional.one_hot first"
        )
    return [PALETTE[label] for label in nonzero.int().argmax(dim=1).tolist()]
