"""Low-dimensional pictures of points."""
