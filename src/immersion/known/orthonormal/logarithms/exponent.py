"""The map from exponents to frames that the logarithm of the Stiefel manifold inverts.

    c = [A; B]  ->  Y = W [I; 0] Z,   W = exp X,   X = [[2 b A, -B^T], [B, 0]],   Z = exp((1-2b) A)

with A skew-symmetric. X and A are diagonalised by unitary matrices, so the derivative of their
exponentials, and the transposed derivative, are four products each and exact also where
eigenvalues repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

import torch

from immersion.core.linalg import length
from immersion.core.scalars import sinc
from immersion.known.orthonormal.factors import conjugate, skew

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Exponent(NamedTuple):
    """An exponent c under one metric, decomposed."""

    beta: float
    p: int
    outer: Spectrum
    inner: Spectrum

    @staticmethod
    def of(c: Float[Tensor, "*b m p"], beta: float) -> Exponent:
        """The exponent with A = c[:p] and B = c[p:]."""
        p = c.shape[-1]
        A, B = c[..., :p, :], c[..., p:, :]
        return Exponent(
            beta, p, Spectrum.of(_generator(2 * beta * A, B)), Spectrum.of((1 - 2 * beta) * A)
        )

    def gap(self, less: Float[Tensor, "*b m p"]) -> Float[Tensor, "*b m p"]:
        """What separates Y from V = [I; 0] + less: the tangent part of W^T V Z^T - [I; 0].

        Made of differences from the identity, it keeps its digits where A and B are small.
        """
        W, Z = self.outer.turn_less_identity(), self.inner.turn_less_identity()
        K = less + W.mT[..., : self.p] + W.mT @ less
        D = K + K @ Z.mT
        return torch.cat([skew(D[..., : self.p, :] + Z.mT), D[..., self.p :, :]], -2)

    def push(self, c: Float[Tensor, "*b m p"]) -> Float[Tensor, "*b m p"]:
        """Derivative of Y along c, seen as W^T dY Z^T."""
        a, b = c[..., : self.p, :], c[..., self.p :, :]
        moved = self.outer.velocity(_generator(2 * self.beta * a, b), -1)
        top = moved[..., : self.p, : self.p]
        if self.beta != 0.5:
            top = top + (1 - 2 * self.beta) * self.inner.velocity(a, 1)
        return torch.cat([skew(top), moved[..., self.p :, : self.p]], -2)

    def pull(self, g: Float[Tensor, "*b m p"]) -> Float[Tensor, "*b m p"]:
        """Transpose of `push` for the inner product tr(c^T g)."""
        a, b = g[..., : self.p, :], g[..., self.p :, :]
        moved = self.outer.velocity(_generator(a, b / 2), 1)
        top = 2 * self.beta * moved[..., : self.p, : self.p]
        if self.beta != 0.5:
            top = top + (1 - 2 * self.beta) * self.inner.velocity(a, -1)
        return torch.cat([skew(top), 2 * moved[..., self.p :, : self.p]], -2)

    def across(self) -> Float[Tensor, "*b p p"]:
        """Factor k of a change z outside span[x q]: exp(u + z) changes by z k to first order."""
        mean = self.outer.function(sinc(self.outer.values / 2), -0.5)[..., : self.p, : self.p]
        Z = self.inner.turn_less_identity()
        return mean + mean @ Z


class Spectrum(NamedTuple):
    """A skew-symmetric matrix X = U (-i d) U^*."""

    values: Tensor
    vectors: Tensor
    back: Tensor
    turns: Tensor

    @staticmethod
    def of(X: Float[Tensor, "*b n n"]) -> Spectrum:
        """Decomposed as the Hermitian matrix i X."""
        values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(1j * X))
        gaps = values.unsqueeze(-1) - values.unsqueeze(-2)
        return Spectrum(
            values, vectors, conjugate(vectors), torch.polar(sinc(gaps / 2), -0.5 * gaps)
        )

    def function(self, size: Float[Tensor, "*b n"], phase: float) -> Float[Tensor, "*b n n"]:
        """The real matrix with eigenvalues size exp(i phase d)."""
        factors = torch.polar(size, phase * self.values)
        return torch.real((self.vectors * factors.unsqueeze(-2)) @ self.back)

    def turn_less_identity(self) -> Float[Tensor, "*b n n"]:
        """exp X - I: exp(-i d) - 1 is 2 sin(d / 2) exp(-i d / 2) / i."""
        factors = torch.polar(2 * torch.sin(self.values / 2), -0.5 * self.values) * -1j
        return torch.real((self.vectors * factors.unsqueeze(-2)) @ self.back)

    def velocity(self, X: Float[Tensor, "*b n n"], sign: int) -> Float[Tensor, "*b n n"]:
        """phi(sign ad_X) of a change of X, phi(z) = (e^z - 1) / z.

        The velocity of exp X, seen from before (sign 1) or after (sign -1) the turn; each is the
        transpose of the other.
        """
        inside = self.back @ X.to(self.vectors.dtype) @ self.vectors
        inside = inside * (self.turns if sign > 0 else torch.conj_physical(self.turns))
        return torch.real(self.vectors @ inside @ self.back)


def _generator(A: Float[Tensor, "*b p p"], B: Float[Tensor, "*b r p"]) -> Float[Tensor, "*b m m"]:
    """[[A, -B^T], [B, 0]]."""
    zero = torch.zeros_like(B[..., :1]).expand(*B.shape[:-1], B.shape[-2])
    return torch.cat([torch.cat([A, B], -2), torch.cat([-B.mT, zero], -2)], -1)


def minimal_residual(
    operator: Callable[[Tensor], Tensor],
    target: Float[Tensor, "b m p"],
    tolerance: Float[Tensor, "b"] | float,
    limit: int,
) -> Float[Tensor, "b m p"]:
    """c with operator(c) = target to a relative tolerance, by generalised conjugate residuals.

    As GMRES (Eisenstat, Elman and Schultz 1983), in at most `limit` applications: 5 to 20 where the
    operator is near the identity, a hundred where exponents of many columns near the injectivity
    radius. All matrices of the batch take the same number.
    """
    rest = target.flatten(-2)
    found = torch.zeros_like(rest)
    goal = tolerance * length(rest)
    directions = rest.new_zeros(len(rest), min(limit, 30), rest.shape[-1])
    images = torch.zeros_like(directions)
    for k in range(limit):
        if bool((length(rest) <= goal).all()):
            break
        if k == directions.shape[1]:
            directions, images = (
                torch.cat([kept, torch.zeros_like(kept)], 1) for kept in (directions, images)
            )
        direction, image = rest, operator(rest.reshape(target.shape)).flatten(-2)
        for _ in range(2 if k else 0):
            overlap = image.unsqueeze(-2) @ images[:, :k].mT
            image = image - (overlap @ images[:, :k]).squeeze(-2)
            direction = direction - (overlap @ directions[:, :k]).squeeze(-2)
        # What has converged must stay as it is: its next image is rounding alone.
        active = (length(rest) > goal).unsqueeze(-1)
        size = torch.where(active, length(image).unsqueeze(-1), 1)
        directions[:, k] = torch.where(active, direction / size, 0)
        images[:, k] = torch.where(active, image / size, 0)
        step = (images[:, k] * rest).sum(-1, keepdim=True)
        found = found + step * directions[:, k]
        rest = rest - step * images[:, k]
    return found.reshape(target.shape)
