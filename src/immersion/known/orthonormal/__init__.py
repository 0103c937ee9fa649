"""Matrices with orthonormal columns: Stiefel (two metrics), Grassmann and rotations."""
