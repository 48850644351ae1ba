"""Evaluation: real and synthetic data, exact neighbours, recall, distortion, the exact scale sweep. NumPy only.

Not needed to encode or search; the benchmarks, the tests and `turboquant` use it.
"""
