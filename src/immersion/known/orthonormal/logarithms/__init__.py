"""Logarithms that have no closed form in products: of rotations and of the Stiefel manifold."""
