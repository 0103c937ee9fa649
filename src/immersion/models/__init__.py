"""Networks of our own, small enough to audit on a laptop, with the trained ones bundled.

Importing this package does not import torch; naming one of its members does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from immersion.models.convnet import ConvNet, digits_convnet

__all__ = ["ConvNet", "digits_convnet"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from immersion.models import convnet

    return getattr(convnet, name)


def __dir__() -> list[str]:
    return sorted(__all__)
