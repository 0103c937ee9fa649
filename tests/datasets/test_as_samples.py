from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from immersion.core.errors import InputError
from immersion.datasets import Samples, as_samples

X = np.arange(24, dtype=np.float32).reshape(6, 4)
Y = np.array([3, 7, 3, 3, 7, 3])


class Items(Dataset):
    def __init__(self, x: object, y: object = None) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> object:
        return self.x[index] if self.y is None else (self.x[index], self.y[index])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(torch.from_numpy(X), Y.tolist(), strict=True))


class Table:
    """Stands for pandas: an object that NumPy converts."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        return self.values


TENSOR = torch.from_numpy(X.copy())
LABELS = torch.from_numpy(Y)
NESTED = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)
LABELLED = {
    "pair of arrays": lambda: (X, Y),
    "list of two arrays": lambda: [X, Y],
    "pair of tensors": lambda: (TENSOR, LABELS),
    "pair with gradient": lambda: (TENSOR.clone().requires_grad_(), LABELS),
    "pair of lists": lambda: (X.tolist(), Y.tolist()),
    "tables": lambda: (Table(X), Table(Y)),
    "tensor data set": lambda: TensorDataset(TENSOR, LABELS),
    "items": lambda: Items(TENSOR, Y.tolist()),
    "items of arrays": lambda: Items(X, Y),
    "stream": Stream,
    "loader": lambda: DataLoader(TensorDataset(TENSOR, LABELS), batch_size=4),
    "loader without batches": lambda: DataLoader(Items(TENSOR, LABELS), batch_size=None),
    "loader of a stream": lambda: DataLoader(Stream(), batch_size=4),
    "generator of batches": lambda: ((X[i : i + 2], Y[i : i + 2]) for i in (0, 2, 4)),
    "uneven batches": lambda: iter([[X[:5], Y[:5]], [X[5:], Y[5:]]]),
    "list of samples": lambda: list(zip(X, Y.tolist(), strict=True)),
}
UNLABELLED = {
    "array": lambda: X,
    "tensor": lambda: TENSOR,
    "nested lists": lambda: X.tolist(),
    "list of tuples of numbers": lambda: [tuple(row) for row in X.tolist()],
    "table": lambda: Table(X),
    "one-tuple": lambda: (X,),
    "tensor data set": lambda: TensorDataset(TENSOR),
    "items": lambda: Items(TENSOR),
    "loader": lambda: DataLoader(TensorDataset(TENSOR), batch_size=4),
    "loader of arrays": lambda: DataLoader(Items(TENSOR), batch_size=4),
    "loader without batches": lambda: DataLoader(Items(TENSOR), batch_size=None),
    "generator of batches": lambda: (X[i : i + 2] for i in (0, 2, 4)),
}


@pytest.mark.parametrize("form", LABELLED)
def test_every_form_with_labels_gives_the_same_samples(form: str) -> None:
    data = as_samples(LABELLED[form]())
    np.testing.assert_array_equal(data.x, X)
    assert data.y is not None
    assert data.y.dtype == np.int64
    assert data.classes == ("3", "7")
    np.testing.assert_array_equal(data.y, [0, 1, 0, 0, 1, 0])


@pytest.mark.parametrize("form", UNLABELLED)
def test_every_form_without_labels_gives_the_same_samples(form: str) -> None:
    data = as_samples(UNLABELLED[form]())
    np.testing.assert_array_equal(data.x, X)
    assert data.y is None
    assert data.classes == ()


def test_images_of_a_data_set_are_stacked_and_of_a_loader_joined() -> None:
    images = torch.arange(5 * 12, dtype=torch.uint8).reshape(5, 1, 3, 4)
    for form in (Items(images), DataLoader(Items(images), batch_size=2), images):
        data = as_samples(form)
        assert data.x.dtype == np.uint8
        np.testing.assert_array_equal(data.x, images.numpy())


def test_samples_are_given_back_and_the_source_can_be_named() -> None:
    data = as_samples((X, Y), source="mine")
    assert as_samples(data) is data
    assert data.source == "mine"
    assert as_samples(X).source == "ndarray"
    assert as_samples(TENSOR).source == "Tensor"


def test_memory_is_shared_where_torch_can_use_it() -> None:
    assert np.shares_memory(as_samples(X).x, X)
    assert np.shares_memory(as_samples(TENSOR).x, TENSOR.numpy())
    for view in (X[::-1], X[:, ::-1]):
        data = as_samples(view)
        np.testing.assert_array_equal(data.x, view)
        torch.from_numpy(data.x)
    swapped = as_samples(X.astype(">f4"))
    np.testing.assert_array_equal(torch.from_numpy(swapped.x), X)


@pytest.mark.parametrize(
    "view", [X[::2], X.T, np.asfortranarray(X), np.broadcast_to(X[:1], (5, 4))]
)
def test_any_memory_order_is_taken(view: np.ndarray) -> None:
    np.testing.assert_array_equal(as_samples(view).x, view)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8"])
def test_values_keep_their_type(dtype: str) -> None:
    assert as_samples(X.astype(dtype)).x.dtype == dtype


def test_bfloat16_becomes_float32_and_says_so() -> None:
    data = as_samples(DataLoader(TensorDataset(TENSOR.bfloat16()), batch_size=2))
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, X)
    assert data.notes == (
        ("converted_dtype", {"from": "bfloat16", "to": "float32"}),
        ("collected_batches", {"batches": "3"}),
    )


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        ([7, 3, 7], ("3", "7"), [1, 0, 1]),
        ([10, 9, -1], ("-1", "9", "10"), [2, 1, 0]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        ([True, True, True], ("True",), [0, 0, 0]),
        ([2.0, -0.0, 0.0], ("0", "2"), [1, 0, 0]),
        (np.array([1, 0, 1], np.float16), ("0", "1"), [1, 0, 1]),
        (np.array([2**64 - 1, 0, 1], np.uint64), ("0", "1", str(2**64 - 1)), [2, 0, 1]),
        (["dog", "cat", "dog"], ("cat", "dog"), [1, 0, 1]),
        (["c10", "c9", "c1"], ("c1", "c9", "c10"), [2, 1, 0]),
        (["", "猫", "\x1b[31m<b>"], ("", "\x1b[31m<b>", "猫"), [0, 2, 1]),
        (np.array(["b", "a", "b"], object), ("a", "b"), [1, 0, 1]),
        (np.array([b"b", "é".encode(), b"b"]), ("b", "é"), [0, 1, 0]),
        (np.array(["b", "a", "b"], np.dtypes.StringDType()), ("a", "b"), [1, 0, 1]),
        (torch.tensor([5, 4, 5], dtype=torch.uint8), ("4", "5"), [1, 0, 1]),
        (torch.tensor([1.0, 0.0, 1.0], dtype=torch.bfloat16), ("0", "1"), [1, 0, 1]),
        ((1, 0, 1), ("0", "1"), [1, 0, 1]),
    ],
)
def test_labels_keep_their_names(labels: object, classes: object, indices: list[int]) -> None:
    data = as_samples((X[:3], labels))
    assert data.classes == classes
    assert data.y is not None
    np.testing.assert_array_equal(data.y, indices)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.eye(3), r"\(3, 3\).*argmax\(1\)"),
        (torch.eye(3), r"\(3, 3\).*argmax\(1\)"),
        ([[1], [0], [1]], r"\(3, 1\).*ravel"),
        (np.zeros((3, 2, 2)), r"\(3, 2, 2\).*one class index"),
        (1, r"\(\)"),
        ([1, 0], r"\(2,\).*\(3, 4\)"),
        ([], r"\(0,\)"),
        ([0.5, 1, 2], r"y\[0\] is 0.5.*measurements"),
        ([0, np.nan, 2], r"y\[1\] is nan"),
        ([0, 1, np.inf], r"y\[2\] is inf"),
        ([0, 1e300, 1], "too large"),
        ([0, None, 1], r"y\[0\] is 0 \(int"),
        (["a", None, "b"], "mixes text and numbers"),
        (np.array(["a", None, "b"], object), r"y\[1\] is None"),
        (["a", 1, "b"], "mixes text and numbers"),
        (np.array([1, 2, 3], complex), "complex128"),
        (np.array(["2020", "2021", "2022"], "M8[Y]"), "datetime64"),
        (np.array([b"\xff", b"a", b"b"]), "UTF-8"),
        ([[1, 2], [3], [4]], "ragged"),
    ],
)
def test_labels_that_are_not_classes_are_refused(labels: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        as_samples((X[:3], labels))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (np.zeros((0, 3)), r"\(0, 3\)"),
        (np.array(3.0), r"\(\)"),
        (np.float64(3.0), r"\(\)"),
        (torch.tensor(3.0), r"\(\)"),
        (np.arange(4), r"x\[:, None\]"),
        (X.astype(complex), "complex numbers"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex numbers"),
        (X.astype(object), "Python objects"),
        (Table(X.astype(object)), "Python objects"),
        (np.array([["a", "b"]]), "<U1"),
        (np.zeros((2, 2), "M8[s]"), "datetime64"),
        (np.zeros((2, 2), [("a", "f4")]), "records"),
        (np.ma.masked_less(X, 3), "masked"),
        ([[1.0, 2.0], [3.0]], "ragged list of 2 entries"),
        ([["a", "b"], ["c", "d"]], "<U1"),
        (scipy.sparse.csr_matrix(X), r"sparse matrix of shape \(6, 4\).*toarray"),
        (scipy.sparse.coo_array(X), "toarray"),
        (TENSOR.to_sparse(), r"sparse.*\(6, 4\).*to_dense"),
        (torch.zeros(3, 2, device="meta"), "meta tensor"),
        (NESTED, "nested"),
        ([torch.zeros(2), torch.zeros(2), torch.zeros(2)], "np.stack"),
        ([X, X, X], "samples or batches"),
        ([], "empty list"),
        ((), "0 parts"),
        ((X, Y, Y), "3 parts"),
        (([torch.zeros(2), torch.zeros(2)], [0, 1]), "torch.stack"),
        ({"x": X}, "keys 'x'"),
        ("data.npz", r"read\(path\)"),
        (b"data", r"read\(path\)"),
        (None, "NoneType"),
        (7, "int"),
        (iter([]), "no samples"),
        (iter([{"image": X}]), "entry 0 .*keys 'image'"),
        (iter([(X, Y, Y)]), "3 parts"),
        (iter([1.0, 2.0]), "batch 0 is one number"),
        (iter([X, X[:, :3]]), r"batch 1 has samples of shape \(3,\), the first \(4,\)"),
        (iter([(X, Y), X]), "differ in having labels"),
        (iter([(X, Y[:3])]), r"y of batch 0 has shape \(3,\)"),
        (iter([(X, np.eye(6))]), "argmax"),
        (iter([(X, Y), (X, ["a"] * 6)]), "mixes text and numbers"),
        (iter([(X, [[1], [2, 3]])]), "ragged"),
        (Items([torch.zeros(1, 2, 2), torch.zeros(1, 2, 3)]), r"sample 1 has shape \(1, 2, 3\)"),
        (Items(TENSOR, torch.eye(6)), "one-hot"),
        (Items(TENSOR, [None] * 6), r"y\[0\] is None"),
        (Items([]), "no samples"),
        (Items([Image.new("L", (2, 2))]), "PIL image"),
        (Items([Image.new("L", (2, 2))], [1]), "PIL image"),
    ],
)
def test_what_is_not_samples_gets_one_clear_error(data: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as met:
        as_samples(data)
    assert "\n" not in str(met.value)


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, numpy, immersion.datasets, immersion.models\n"
        "immersion.datasets.as_samples((numpy.eye(2), [0, 1])).sha256()\n"
        "immersion.datasets.digits()\n"
        "heavy = {'torch', 'PIL', 'pyarrow', 'safetensors', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frozen() -> None:
    data = as_samples(X)
    assert isinstance(data, Samples)
    with pytest.raises(AttributeError):
        data.x = X  # pyright: ignore
