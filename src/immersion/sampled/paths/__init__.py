"""Geodesics on a neighbour graph: shortest paths, components and bridges, shortcuts, heat."""
