"""Streams of published image sets, read from the user's files.

``path`` is the folder or archive with the published files; nothing is downloaded. The test files
are marked as held out: ``split.holdout: null`` keeps them for testing; a number pools both parts
and holds out at random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from insituml.data.images.cifar import LabelKind, read_cifar10, read_cifar100
from insituml.data.images.labelled_images import ImagePart, LabelledImages
from insituml.data.images.mnist import read_mnist
from insituml.data.images.permuted_pixels import PermutedPixels
from insituml.data.samples import Samples


def mnist(path: str, limit: int | None = None) -> Samples:
    """MNIST, or a set published in its format such as Fashion-MNIST.

    Parameters
    ----------
    path
        Folder of the four files ``train-images-idx3-ubyte.gz``, ...
    limit
        Take the first so many images of each label, of the training and of the test files; None:
        all.
    """
    return _both_parts(lambda part: read_mnist(path, part, limit))


def cifar10(path: str, limit: int | None = None) -> Samples:
    """CIFAR-10, from its folder or archive in either published format; ``limit`` as for MNIST."""
    return _both_parts(lambda part: read_cifar10(path, part, limit))


def cifar100(path: str, labels: LabelKind = "coarse", limit: int | None = None) -> Samples:
    """CIFAR-100 by its 20 coarse super-classes or its 100 fine classes; ``limit`` as for MNIST."""
    return _both_parts(lambda part: read_cifar100(path, part, labels, limit))


def permuted_mnist(
    path: str, permutations: int, limit: int | None = None, seed: int = 0
) -> Samples:
    """The same images once for each permutation of their pixels; the first is as published.

    Parameters
    ----------
    path, limit
        As for :func:`mnist`. All permutations are held in memory: 60,000 images take 190 MB each.
    permutations
        Number of iterations of the stream, each a task of its own.
    seed
        Of the permutations.
    """
    once = mnist(path, limit)
    count, _, *grid = once.inputs.shape
    order = PermutedPixels(tuple(grid), permutations, generator=np.random.default_rng(seed))
    inputs = np.empty((permutations * count, *once.inputs.shape[1:]), dtype=np.float32)
    for k in range(permutations):
        inputs[k * count : (k + 1) * count] = order.apply(once.inputs, k)
    assert once.held_out is not None
    return Samples(
        inputs,
        np.tile(once.labels, permutations),
        np.repeat(np.arange(permutations), count),
        np.tile(once.held_out, permutations),
        order.orders,
    )


def _both_parts(read: Callable[[ImagePart], LabelledImages]) -> Samples:
    train, test = read("train"), read("test")
    count = len(train.labels) + len(test.labels)
    return Samples(
        np.concatenate([train.images, test.images]),
        np.concatenate([train.labels, test.labels]),
        np.zeros(count, dtype=np.int64),
        np.arange(count) >= len(train.labels),
    )
