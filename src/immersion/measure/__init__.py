"""Measures: numbers with error bars about sampled points, layers and networks."""
