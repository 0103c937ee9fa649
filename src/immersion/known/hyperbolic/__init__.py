"""Hyperbolic space: the Poincare ball, the hyperboloid, and log coordinates at the origin."""
