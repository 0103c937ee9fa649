"""Known manifolds: geometry in closed form, one manifold a file."""
