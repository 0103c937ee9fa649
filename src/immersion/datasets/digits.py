"""The bundled digits: 5,000 images of MNIST's test set, for demonstrations and tests."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from immersion.datasets.samples import Samples


def _stored(*names: str) -> tuple[NDArray[Any], ...]:
    with (
        (files("immersion.datasets") / "digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return tuple(arrays[name] for name in names)


def digits() -> Samples:
    """5,000 handwritten digits, 500 a class, drawn from the MNIST test set (seed 0, shuffled).

    MNIST is by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, CC BY-SA 3.0
    (`digits.LICENSE.md`). The bundled `immersion.models.digits_convnet` has not seen these images.

    Returns:
        Samples with x (5000, 1, 28, 28) uint8 in 0..255 and the classes "0" to "9".

    Example:
        >>> from immersion.datasets import digits
        >>> data = digits()
        >>> data.x.shape, data.classes[:3]
        ((5000, 1, 28, 28), ('0', '1', '2'))
    """
    x, y = _stored("x", "y")
    return Samples(
        x=x,
        y=y.astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        source="MNIST test set, 5,000 of 10,000, stratified",
    )


def digits_index() -> NDArray[np.int64]:
    """The row in the MNIST test set (0..9999) of each bundled digit, (5000,).

    Example:
        >>> from immersion.datasets import digits_index
        >>> len(set(digits_index().tolist()))
        5000
    """
    return _stored("mnist_index")[0].astype(np.int64)
