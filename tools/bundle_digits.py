"""Make the bundled digits: 500 images a class of MNIST's test set, the same bytes every time.

python tools/bundle_digits.py --mnist mnist.npz
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
PER_CLASS = 500  # the smallest class of the test set has 892 images
SEED = 0


def chosen_rows(labels: NDArray[Any]) -> NDArray[np.int64]:
    """`PER_CLASS` rows of each class without replacement, in a shuffled order."""
    draw = np.random.default_rng(SEED)
    rows = [
        draw.choice(np.flatnonzero(labels == label), PER_CLASS, replace=False)
        for label in np.unique(labels)
    ]
    return draw.permutation(np.concatenate(rows)).astype(np.int64)


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """An npz whose members carry a fixed date, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(member, buffer.getvalue(), compresslevel=9)


def main() -> None:
    """Read the arguments, choose the rows and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, required=True, help="npz: test_images, test_labels")
    parser.add_argument("--out", type=Path, default=ROOT / "src/immersion/datasets/digits.npz")
    options = parser.parse_args()
    with np.load(options.mnist, allow_pickle=False) as stored:
        images, labels = stored["test_images"], stored["test_labels"]
    rows = chosen_rows(labels)
    arrays = {
        "x": images[rows][:, np.newaxis],
        "y": labels[rows].astype(np.uint8),
        "mnist_index": rows.astype(np.uint16),
    }
    write_npz(options.out, arrays)


if __name__ == "__main__":
    main()
