"""The vocabulary every other part speaks: metrics, measurements, errors, progress, memory."""
