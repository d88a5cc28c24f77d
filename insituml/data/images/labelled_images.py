"""Images with one label each, as the readers of published image sets return them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

ImagePart = Literal["train", "test"]
"""The two sets of files in which image sets are published."""


class LabelledImages(NamedTuple):
    """Images and their labels.

    Parameters
    ----------
    images
        ``(n, channels, height, width)``, float32 from 0 to 1.
    labels
        ``(n,)``, int64.
    """

    images: np.ndarray
    labels: np.ndarray


def labelled_images(pixels: np.ndarray, labels: np.ndarray, limit: int | None) -> LabelledImages:
    """Turn published bytes into images.

    Parameters
    ----------
    pixels
        ``(n, channels, height, width)``, uint8.
    labels
        ``(n,)`` integers.
    limit
        Keep the first so many images of each label, in their order; None: all.

    Raises
    ------
    ValueError
        If the limit is below 1, or the numbers of images and labels differ.
    """
    if len(pixels) != len(labels):
        raise ValueError(
            f"{len(pixels)} images and {len(labels)} labels arrived; there must be one label for "
            "each image: take both files from the same publication"
        )
    if limit is not None:
        rows = first_of_each_label(labels, limit)
        pixels, labels = pixels[rows], labels[rows]
    images = pixels.astype(np.float32)
    images /= 255
    return LabelledImages(images, labels.astype(np.int64))


def first_of_each_label(labels: np.ndarray, limit: int) -> np.ndarray:
    """Return the rows, ascending, of the first ``limit`` samples of each label.

    Parameters
    ----------
    labels
        ``(n,)`` integers.
    limit
        1 or more; a label with fewer samples keeps them all.
    """
    if limit < 1:
        raise ValueError(f"limit is {limit}; expected 1 or more images of each label, or None")
    rows = [np.flatnonzero(labels == label)[:limit] for label in np.unique(labels)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *rows]))


def check_part(part: str) -> None:
    """Raise ValueError unless ``part`` names one of the published parts."""
    if part not in ("train", "test"):
        raise ValueError(f"part is {part!r}; expected 'train' or 'test'")
