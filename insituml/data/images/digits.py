"""The handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np

from insituml.data.samples import Samples


def digits() -> Samples:
    """Return the 1,797 images of 8×8 pixels, values in [0, 1]; needs scikit-learn."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return Samples(
        (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8),
        labels.astype(np.int64),
        np.zeros(len(labels), dtype=np.int64),
    )
