"""A convolution whose whole linear map is orthogonal, not only its reshaped kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, final

import torch
from torch import nn
from torch.nn import functional

from immersion.core.errors import InputError
from immersion.known.constraints import constrain_
from immersion.known.orthonormal.stiefel import Stiefel

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@final
class OrthogonalConv2d(nn.Module):
    r"""Circular convolution of images whose singular values, as a map of whole images, are all 1.

    Images (in, H, W) become images (out, H/stride, W/stride). Where out >= in * stride^2 the map
    keeps the length of every difference; with fewer outputs it is the transpose of such a map, so
    that it keeps the lengths of differences in its range and loses the rest. Its Lipschitz constant
    is 1 in both cases. An orthonormal reshaped kernel, as orthogonal initialisation gives it, does
    not imply that: its map has singular values up to the kernel size.

    The kernel is a product. A factor P + (I - P) S, where P projects channels to half their number
    and S shifts the image by one pixel, only sorts channels by whether they are shifted, and is
    orthogonal. So is a product of such factors, `kernel_size - stride` along each axis,
    with a matrix of orthonormal rows or columns that maps patches of stride x stride pixels, which
    do not overlap, to output channels (Li et al., "Preventing Gradient Attenuation in Lipschitz
    Constrained Convolutional Networks", 1911.00937; the strided form: Boissin et al., "An Adaptive
    Orthogonal Convolution Scheme", 2501.07930). It reaches orthogonal convolutions of this size
    whose projections have half rank, not all there are.

    The parameters are plain and constrained to `Stiefel`: train them with `RiemannianAdam`,
    `RiemannianSGD`, `POGO` or `ManifoldMuon`. `frames` (2 (kernel_size - stride), c, c // 2) spans
    the ranges of the projections, alternately for width and height, with c inner channels,
    c = max(in, out // stride^2). `mix` (out, c stride^2) maps patches to outputs; `lift` (c, in)
    maps inputs to inner channels. One that would be the identity or merge with the other is None.
    All start uniformly distributed (Haar).

    The kernel is composed at each call, which costs about 2/3 kernel_size^3 out c^2 multiplications
    whatever the images are; the convolution itself costs what `torch.nn.Conv2d` costs. For
    inference, `kernel()` gives the weight of a plain convolution.

    Args:
        in_channels: channels of an input.
        out_channels: channels of an output.
        kernel_size: side of the kernel, at least the stride.
        stride: pixels from one output to the next; divides the sides of the images.
        bias: whether to add a bias to each channel, which is not constrained.
        device: where the parameters are.
        dtype: torch.float32 or torch.float64.

    Raises:
        InputError: a size below 1; a kernel smaller than the stride, whose map would skip pixels;
            one inner channel, for which a larger kernel is only a shift; an image whose channels
            or sides do not fit.

    Example:
        >>> import immersion as im
        >>> layer = im.layers.OrthogonalConv2d(2, 8, 4, stride=2, bias=False)
        >>> x = torch.randn(1, 2, 6, 6)
        >>> y = layer(x)
        >>> y.shape, torch.allclose(y.norm(), x.norm())
        (torch.Size([1, 8, 3, 3]), True)
    """

    frames: nn.Parameter | None
    mix: nn.Parameter | None
    lift: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        inner = max(in_channels, out_channels // max(stride, 1) ** 2)
        _require_sizes(in_channels, out_channels, kernel_size, stride, inner)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = kernel_size, stride
        self._inner = inner
        lifted = inner > in_channels

        def made(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        factors = 2 * (kernel_size - stride)
        self.frames = made(factors, inner, inner // 2) if factors else None
        self.lift = made(inner, in_channels) if lifted else None
        mixed = stride > 1 or not lifted
        self.mix = made(out_channels, inner * stride**2) if mixed else None
        self.bias = made(out_channels) if bias else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew."""
        for name, parameter in self.named_parameters(recurse=False):
            if name == "bias":
                bound = 1 / math.sqrt(self.in_channels * self.kernel_size**2)
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            else:
                nn.init.normal_(parameter, generator=generator)
                constrain_(self, name, Stiefel)

    def kernel(self) -> Float[Tensor, "o i k k"]:
        """Weight of the same map as a plain convolution of circularly padded images.

        `forward` pads kernel_size - stride pixels along each axis: the smaller half on the left and
        on top, the larger on the right and below.
        """
        taps = self._patches()
        if self.frames is not None:
            for number, frame in enumerate(self.frames.unbind()):
                taps = _composed(taps, frame, axis=1 - number % 2)
        if self.lift is not None:
            taps = taps @ self.lift
        return taps.permute(2, 3, 0, 1)

    def _patches(self) -> Float[Tensor, "s s o c"]:
        """The matrix applied to each patch of inner channels, by pixels of the patch."""
        if self.mix is not None:
            shape = (self.out_channels, self._inner, self.stride, self.stride)
            return self.mix.reshape(shape).permute(2, 3, 0, 1)
        lift = self.get_parameter("lift")
        return torch.eye(self._inner, dtype=lift.dtype, device=lift.device)[None, None]

    def forward(self, x: Float[Tensor, "*b i h w"]) -> Float[Tensor, "*b o y x"]:
        """Images (b, out, H / stride, W / stride) from images (b, in, H, W), or single ones.

        Raises:
            InputError: channels or sides that do not fit.
        """
        excess = self.kernel_size - self.stride
        before, after = excess // 2, excess - excess // 2
        self._require_images(x, after)
        padded = functional.pad(x, (before, after, before, after), mode="circular")
        return functional.conv2d(padded, self.kernel(), self.bias, self.stride)

    def _require_images(self, x: Tensor, padding: int) -> None:
        fits = x.ndim in (3, 4) and x.shape[-3] == self.in_channels
        if not fits or any(side % self.stride or side < padding for side in x.shape[-2:]):
            raise InputError(
                f"OrthogonalConv2d: images of shape {tuple(x.shape)}; this layer takes "
                f"(batch, {self.in_channels}, height, width), with sides that are multiples of the "
                f"stride {self.stride} and at least {max(padding, 1)}"
            )

    def extra_repr(self) -> str:
        """Sizes, and whether there is a bias."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, bias={self.bias is not None}"
        )


def _composed(
    taps: Float[Tensor, "h w o c"], frame: Float[Tensor, "c r"], axis: int
) -> Float[Tensor, "g v o c"]:
    """The kernel that first keeps the span of a frame and shifts the rest, then applies `taps`."""
    kept = (taps @ frame) @ frame.mT
    moved = taps - kept
    none = torch.zeros_like(taps.narrow(axis, 0, 1))
    return torch.cat([kept, none], axis) + torch.cat([none, moved], axis)


def _require_sizes(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, inner: int
) -> None:
    sizes = f"OrthogonalConv2d({in_channels}, {out_channels}, {kernel_size}, stride={stride})"
    if min(in_channels, out_channels, kernel_size, stride) < 1:
        raise InputError(f"{sizes}: channels, kernel and stride are at least 1")
    if kernel_size < stride:
        raise InputError(
            f"{sizes}: a kernel smaller than the stride skips pixels, so it cannot keep lengths; "
            f"take a kernel_size of {stride} or more"
        )
    if inner == 1 and (kernel_size > stride or out_channels == stride == 1):
        advice = "" if stride == 1 else f", or kernel_size={stride}"
        raise InputError(
            f"{sizes}: one channel inside allows only shifts of the image; take at least "
            f"{2 * stride**2} output channels{advice}"
        )
