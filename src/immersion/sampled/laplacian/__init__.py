"""Laplacians of a neighbour graph, their smallest eigenvectors, and heat on them."""
