"""CUDA kernels on the CPU: :class:`.backend.ShimBackend` runs the package's kernels, unchanged, on fibers."""

from .backend import ShimBackend, missing

__all__ = ["ShimBackend", "missing"]
