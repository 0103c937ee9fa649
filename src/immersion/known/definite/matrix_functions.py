"""Functions of symmetric matrices whose derivatives hold at repeated eigenvalues, to any order.

With x = Q diag(l) Q^T and E~ = Q^T E Q, derivatives of F(x) = Q diag(f(l)) Q^T are sums of paths

    P(E_1, ..., E_k) = Q [ sum over a, b, ... of f[l_i, l_a, ..., l_j] E~1_ia E~2_ab ... ]_ij Q^T

whose weights are divided differences (Daleckii and Krein 1965; Higham 2008, section 3.2): F itself
is the path without matrices, DF(x)[E] = P(E), and D^2F(x)[E, E'] = P(E, E') + P(E', E). The
derivative of a path in x is again a sum of paths, with dx put in at every place, and so is the
adjoint. One autograd function that calls itself therefore has all derivatives, and none of them
divides by the difference of two eigenvalues, which is what makes differentiated eigenvectors NaN.

Two limits are torch's own. Compiled graphs have first derivatives only. Forward derivatives may be
taken of reverse ones and the other way round, but not of forward ones: there torch drops the
derivative of any autograd function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch.autograd import Function

from immersion.core.linalg import symmetric_eigen
from immersion.known.definite.divided_differences import Kind, divided_difference

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Spectrum(NamedTuple):
    """A symmetric matrix with its eigenvalues and eigenvectors, which carry no gradient."""

    matrix: Float[Tensor, "*b n n"]
    values: Float[Tensor, "*b n"]
    vectors: Float[Tensor, "*b n n"]


def symmetric(a: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """(a + a^T) / 2."""
    return (a + a.mT) / 2


def spectrum(matrix: Float[Tensor, "*b n n"]) -> Spectrum:
    """Spectrum of a symmetric matrix; NaN, and no error, where the matrix is not finite."""
    safe, finite = finite_part(matrix.detach())
    values, vectors = symmetric_eigen(safe)
    return Spectrum(matrix, torch.where(finite.squeeze(-1), values, torch.nan), vectors)


def definite_spectrum(matrix: Float[Tensor, "*b n n"]) -> Spectrum:
    """Spectrum of a positive definite matrix.

    Eigenvalues below eps^2 of the largest, which are nothing but rounding, are raised to it, so
    that logs and roots stay finite.
    """
    s = spectrum(matrix)
    least = torch.finfo(matrix.dtype).eps ** 2 * s.values[..., -1:].abs()
    return s._replace(values=torch.maximum(s.values, least))


def displaced_spectrum(matrix: Float[Tensor, "*b n n"]) -> Spectrum:
    """Spectrum of d where I + d is positive definite: eigenvalues no less than eps - 1."""
    s = spectrum(matrix)
    return s._replace(values=s.values.clamp_min(torch.finfo(matrix.dtype).eps - 1))


def product_spectrum(matrix: Float[Tensor, "*b n n"], factor: Float[Tensor, "*b m n"]) -> Spectrum:
    """Spectrum of factor^T factor, whose value with its gradient is `matrix`.

    From the singular values of the factor, which keep the digits that squaring loses.
    """
    safe, finite = finite_part(factor.detach())
    _, values, rows = cast("tuple[Tensor, Tensor, Tensor]", torch.linalg.svd(safe))
    least = torch.finfo(matrix.dtype).eps ** 2 * values[..., :1]
    squares = torch.maximum(values, least).square()
    return Spectrum(matrix, torch.where(finite.squeeze(-1), squares, torch.nan), rows.mT)


def eigenvalues(matrix: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n"]:
    """In ascending order; NaN, and no error, where the matrix is not finite."""
    safe, finite = finite_part(matrix)
    values = cast("Tensor", torch.linalg.eigvalsh(safe))
    return torch.where(finite.squeeze(-1), values, torch.nan)


def finite_part(matrix: Float[Tensor, "*b m n"]) -> tuple[Tensor, Tensor]:
    """The matrix with other entries made zero, and (..., 1, 1) whether all are finite."""
    finite = torch.isfinite(matrix.abs().amax((-2, -1), keepdim=True))
    return torch.nan_to_num(matrix, 0, 0, 0), finite


def matrix_function(kind: Kind, s: Spectrum) -> Float[Tensor, "*b n n"]:
    """F(x) = Q diag(f(l)) Q^T."""
    return _paths(kind, "s", s)


def matrix_derivative(
    kind: Kind, s: Spectrum, e: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b n n"]:
    """DF(x)[e], for symmetric e."""
    return _paths(kind, "ss", s, e)


def second_derivative(
    kind: Kind, s: Spectrum, e: Float[Tensor, "*b n n"], h: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b n n"]:
    """D^2F(x)[e, h], for symmetric e and h; takes O(n^3) memory."""
    return 2 * symmetric(_paths(kind, "sss", s, e, h))


def matrix_difference(
    kind: Kind, s: Spectrum, t: Spectrum, gap: Float[Tensor, "*b n n"]
) -> Float[Tensor, "*b n n"]:
    """F(x) - F(y) for x - y = gap, accurate to the gap however close x and y are.

    In the eigenvectors P of x and Q of y it is f[l_i, m_j] (P^T gap Q)_ij: no difference of values
    is formed. The derivative is that of F(x) - F(y).
    """
    weights = divided_difference(kind, [s.values.unsqueeze(-1), t.values.unsqueeze(-2)])
    inner = s.vectors.mT @ gap.detach() @ t.vectors
    value = s.vectors @ (weights * inner) @ t.vectors.mT
    there, here = matrix_function(kind, s), matrix_function(kind, t)
    return value + ((there - there.detach()) - (here - here.detach()))


def lyapunov(s: Spectrum, u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """S with S x + x S = u, for positive definite x."""
    x, values, vectors, u = _together(s, u)
    if not torch.compiler.is_compiling():
        return cast("Tensor", _Lyapunov.apply(x, values, vectors, u))
    value = _solve(values, vectors, u)
    fixed, zero = value.detach(), zero_with_gradient(x)
    return value - _solve(values, vectors, fixed @ zero + zero @ fixed)


def lyapunov_root(s: Spectrum, u: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """Square root of the operator S -> S x + x S, applied to u: sqrt(l_i + l_j) u~_ij."""
    return _paths("root", "st", s, u)


def squared_logs(d: Float[Tensor, "*b n n"], shift: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Sum over the eigenvalues m of d of (log(1 - m) + shift)^2; the shift is constant.

    Only eigenvalues are computed, at half the cost of eigenvectors; those are left to the
    derivative, which is smooth where eigenvalues meet.
    """
    shift = shift.detach()
    if not d.requires_grad:
        # Saves a tenth of the time. If a derivative is taken from outside of torch.func.vmap, it is
        # that of eigvalsh, whose second derivative does divide by differences.
        return _squared_logs(d, shift)
    if not torch.compiler.is_compiling():
        return cast("Tensor", _SquaredLogs.apply(d, shift))
    gradient = _gradient_of_squared_logs(d, shift).detach()
    return _squared_logs(d.detach(), shift) + (gradient * zero_with_gradient(d)).sum((-2, -1))


def _together(s: Spectrum, *matrices: Tensor) -> list[Tensor]:
    """Spectrum and matrices in one batch shape."""
    shapes = [m.shape[:-2] for m in (s.matrix, *matrices)]
    batch = cast("torch.Size", torch.broadcast_shapes(*shapes))
    n = s.values.shape[-1]
    values = s.values.expand(*batch, n)
    return [
        s.matrix.expand(*batch, n, n),
        values,
        s.vectors.expand(*batch, n, n),
        *(m.expand(*batch, n, n) for m in matrices),
    ]


def _paths(kind: Kind, groups: str, s: Spectrum, *matrices: Tensor) -> Tensor:
    """The path through the matrices; `groups` says for each node which variable of f it is."""
    x, values, vectors, *rest = _together(s, *matrices)
    if not torch.compiler.is_compiling():
        return cast("Tensor", _Paths.apply(kind, groups, x, values, vectors, *rest))
    total = _path(kind, groups, values, vectors, *rest)
    if x.requires_grad:
        fixed = [m.detach() for m in rest]
        for i in range(len(groups)):
            longer = groups[: i + 1] + groups[i:]
            total = total + _path(
                kind, longer, values, vectors, *fixed[:i], zero_with_gradient(x), *fixed[i:]
            )
    return total


def zero_with_gradient(x: Tensor) -> Tensor:
    """Zero, with the gradient of x.

    The compiler refuses autograd functions that have a forward derivative. It is given instead the
    value plus the first derivative in the direction of this zero.
    """
    return x - x.detach()


def _path(kind: Kind, groups: str, values: Tensor, vectors: Tensor, *matrices: Tensor) -> Tensor:
    """Value of a path."""
    k, batch, n = len(matrices), values.shape[:-1], values.shape[-1]
    nodes = [values.reshape(*batch, *(1,) * i, n, *(1,) * (k - i)) for i in range(k + 1)]
    weights = divided_difference(
        kind,
        [nodes[i] for i in range(k + 1) if groups[i] == "s"],
        [nodes[i] for i in range(k + 1) if groups[i] == "t"],
    )
    if k == 0:
        return (vectors * weights.unsqueeze(-2)) @ vectors.mT
    for i, matrix in enumerate(matrices):
        inner = vectors.mT @ matrix @ vectors
        weights = weights * inner.reshape(*batch, *(1,) * i, n, n, *(1,) * (k - 1 - i))
    if k > 1:
        weights = weights.sum(tuple(range(-k, -1)))
    return vectors @ weights @ vectors.mT


def _closed(groups: str, matrices: list[Tensor], place: int, g: Tensor) -> tuple[str, list[Tensor]]:
    """The path that is the gradient, for output gradient g, of the matrix at `place` of a path.

    `groups` are those of the path with that matrix, `matrices` the others. The path closes to a
    loop by g; opened at `place`, it is walked backwards on both sides.
    """
    before = [m.mT for m in reversed(matrices[:place])]
    after = [m.mT for m in reversed(matrices[place:])]
    return groups[place::-1] + groups[:place:-1], [*before, g, *after]


class _Paths(Function):
    """A path, with its derivatives in the matrix x and in the matrices on the way."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        kind: Kind, groups: str, x: Tensor, values: Tensor, vectors: Tensor, *matrices: Tensor
    ) -> Tensor:
        return _path(kind, groups, values, vectors, *matrices)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.kind, ctx.groups, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        g = cast("Tensor", grad_outputs[0])
        x, values, vectors, *matrices = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        s, groups = Spectrum(x, values, vectors), cast("str", ctx.groups)

        def gradient(path: tuple[str, list[Tensor]]) -> Tensor:
            return _paths(ctx.kind, path[0], s, *path[1])

        of_x: Tensor | None = None
        if ctx.needs_input_grad[2]:
            for i in range(len(groups)):
                longer = groups[: i + 1] + groups[i:]
                term = gradient(_closed(longer, matrices, i, g))
                of_x = term if of_x is None else of_x + term
        of_matrices = [
            gradient(_closed(groups, matrices[:i] + matrices[i + 1 :], i, g))
            if ctx.needs_input_grad[5 + i]
            else None
            for i in range(len(matrices))
        ]
        return None, None, of_x, None, None, *of_matrices

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, values, vectors, *matrices = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        s, groups = Spectrum(x, values, vectors), cast("str", ctx.groups)
        dx, moves = tangents[2], tangents[5:]
        total = torch.zeros_like(x)
        if dx is not None:
            for i in range(len(groups)):
                longer = groups[: i + 1] + groups[i:]
                total = total + _paths(ctx.kind, longer, s, *matrices[:i], dx, *matrices[i:])
        for i, move in enumerate(moves):
            if move is not None:
                others = (*matrices[:i], move, *matrices[i + 1 :])
                total = total + _paths(ctx.kind, groups, s, *others)
        return total


def _solve(values: Tensor, vectors: Tensor, u: Tensor) -> Tensor:
    sums = values.unsqueeze(-1) + values.unsqueeze(-2)
    return vectors @ ((vectors.mT @ u @ vectors) / sums) @ vectors.mT


class _Lyapunov(Function):
    """Solution of S x + x S = u. Its derivatives solve the same equation with other right sides."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, values: Tensor, vectors: Tensor, u: Tensor) -> Tensor:
        return _solve(values, vectors, u)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        g = cast("Tensor", grad_outputs[0])
        x, values, vectors, u = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        s = Spectrum(x, values, vectors)
        of_u, solution = lyapunov(s, g), lyapunov(s, u)
        return -(solution.mT @ of_u + of_u @ solution.mT), None, None, of_u

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        x, values, vectors, u = cast("tuple[Tensor, ...]", ctx.saved_tensors)
        s, (dx, _, _, du) = Spectrum(x, values, vectors), tangents
        right = torch.zeros_like(u) if du is None else du
        if dx is not None:
            solution = lyapunov(s, u)
            right = right - solution @ dx - dx @ solution
        return lyapunov(s, right)


class _SquaredLogs(Function):
    """Value by eigenvalues alone; gradient -2 (log(I - d) + shift I) (I - d)^-1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(d: Tensor, shift: Tensor) -> Tensor:
        return _squared_logs(d, shift)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        g = cast("Tensor", grad_outputs[0])
        d, shift = cast("tuple[Tensor, Tensor]", ctx.saved_tensors)
        return g[..., None, None] * _gradient_of_squared_logs(d, shift), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        d, shift = cast("tuple[Tensor, Tensor]", ctx.saved_tensors)
        return (_gradient_of_squared_logs(d, shift) * tangents[0]).sum((-2, -1))


def _squared_logs(d: Tensor, shift: Tensor) -> Tensor:
    m = eigenvalues(d).clamp_max(1 - torch.finfo(d.dtype).eps)
    return (torch.log1p(-m) + shift.unsqueeze(-1)).square().sum(-1)


def _gradient_of_squared_logs(d: Tensor, shift: Tensor) -> Tensor:
    s = displaced_spectrum(-d)
    identity = torch.eye(d.shape[-1], dtype=d.dtype, device=d.device)
    logs = matrix_function("log1p", s)
    inverse = matrix_function("inverse", Spectrum(identity - d, 1 + s.values, s.vectors))
    return -2 * symmetric((logs + shift[..., None, None] * identity) @ inverse)
