"""What `benchmarks/known.py` measures: each job once with this package and once with a peer."""
