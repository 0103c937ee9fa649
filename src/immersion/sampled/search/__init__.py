"""How neighbours are found: exactly, by lists of clusters, or by a small-world graph."""
