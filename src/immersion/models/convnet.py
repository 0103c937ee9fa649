"""A small convolutional classifier, and the one that was trained on MNIST and ships with us."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from immersion.core.errors import InputError

_KERNEL = 5
_WEIGHTS = "digits_convnet.safetensors"


def _pooled(side: int) -> int:
    """The side of an image after a 5x5 convolution without padding and a 2x2 pooling."""
    return (side - _KERNEL + 1) // 2


class ConvNet(nn.Module):
    """Two convolutions and two linear layers: images (n, c, h, w) to logits (n, classes).

    Its leaf modules, in the order they run: `conv1` (5x5) `relu1` `pool1` (2x2 maximum) `conv2`
    `relu2` `pool2` `flatten` `fc1` `relu3` `dropout` `fc2`. Every one is used once and there is no
    batch normalisation, so each sample's path through the network is independent of its batch.
    With the default sizes the representations are (24, 24, 24), (24, 12, 12), (48, 8, 8),
    (48, 4, 4), (768,), (128,) and (10,), and there are 129,194 parameters.

    Inputs are floats in [0, 1] (divide uint8 images by 255). Weights start from torch's default
    initialisation, which draws from torch's global generator: call `torch.manual_seed` first.

    Args:
        channels: Output channels of `conv1` and `conv2`.
        hidden: Width of `fc1`.
        classes: Number of logits.
        image: Shape (c, h, w) of one image; h and w at least 16, so that `pool2` has an output.
        dropout: Probability that a hidden unit is dropped in training, in [0, 1).

    Raises:
        InputError: A size is not a positive integer, the image is too small or `dropout` is
            outside [0, 1). Calling the network raises it for a batch of another shape or for
            integer pixels.

    Example:
        >>> import torch
        >>> from immersion.models import ConvNet
        >>> network = ConvNet(classes=3, image=(3, 32, 32))
        >>> network(torch.rand(5, 3, 32, 32)).shape
        torch.Size([5, 3])
        >>> sum(p.numel() for p in ConvNet().parameters())
        129194
    """

    def __init__(
        self,
        *,
        channels: tuple[int, int] = (24, 48),
        hidden: int = 128,
        classes: int = 10,
        image: tuple[int, int, int] = (1, 28, 28),
        dropout: float = 0.3,
    ) -> None:
        """Check the sizes and build the layers."""
        super().__init__()
        _require_sizes("channels", channels, 2)
        _require_sizes("image", image, 3)
        _require_sizes("hidden", (hidden,), 1)
        _require_sizes("classes", (classes,), 1)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; give a probability in [0, 1)")
        height, width = (_pooled(_pooled(side)) for side in image[1:])
        if height < 1 or width < 1:
            raise InputError(
                f"image is {tuple(image)}, too small for two 5x5 convolutions with pooling; "
                "height and width must be at least 16: pad or resize the images"
            )
        first, second = channels
        self.image = tuple(image)
        self.conv1 = nn.Conv2d(image[0], first, _KERNEL)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(first, second, _KERNEL)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(second * height * width, hidden)
        self.relu3 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, c, h, w)."""
        if tuple(x.shape[1:]) != self.image:
            expected = ", ".join(str(size) for size in self.image)
            raise InputError(
                f"the batch has shape {tuple(x.shape)}; this network takes (n, {expected})"
            )
        if not x.is_floating_point():
            raise InputError(
                f"the batch is {x.dtype}; give floats in [0, 1], such as x.float() / 255"
            )
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = self.relu3(self.fc1(self.flatten(x)))
        return self.fc2(self.dropout(x))


def _require_sizes(name: str, sizes: Any, count: int) -> None:
    if not isinstance(sizes, tuple | list):
        raise InputError(f"{name} is {sizes!r}; give {count} positive integers")
    given: list[Any] = list(sizes)  # pyright: ignore[reportUnknownArgumentType]
    right = [isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in given]
    if len(given) != count or not all(right):
        shown = repr(given[0]) if count == 1 else repr(tuple(given))
        wanted = "a positive integer" if count == 1 else f"{count} positive integers"
        raise InputError(f"{name} is {shown}; give {wanted}")


def digits_convnet() -> ConvNet:
    """The bundled `ConvNet`, trained on the 60,000 MNIST training images, in eval mode.

    `accuracy/digits_convnet.json` in the repository states its accuracy on the 10,000 test images
    with the standard error; `tools/train_digits_convnet.py` trains it again. The bundled digits
    (`immersion.datasets.digits`) are test images that it has not seen. Divide them by 255 first.

    Returns:
        A network on the CPU in float32; each call gives a new one.

    Example:
        >>> import torch
        >>> from immersion.datasets import digits
        >>> from immersion.models import digits_convnet
        >>> data = digits().subset(range(100))
        >>> with torch.no_grad():
        ...     guess = digits_convnet()(torch.from_numpy(data.x) / 255).argmax(1)
        >>> bool((guess.numpy() == data.y).mean() > 0.9)
        True
    """
    opened: Any = safe_open  # its types are not stated
    with as_file(files("immersion.models") / _WEIGHTS) as path, opened(path, "pt") as stored:
        card = json.loads(stored.metadata()["card"])
        weights: dict[str, Tensor] = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    network = ConvNet(**card["architecture"])
    network.load_state_dict(weights)
    return network.eval()
