"""Learned manifolds: the geometry of a network's map and what its layers put out."""
