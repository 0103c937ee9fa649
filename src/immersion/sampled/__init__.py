"""Sampled manifolds: a cloud of points, its neighbour graph and its tangent spaces."""
