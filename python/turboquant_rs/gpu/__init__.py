"""The codec on CUDA devices: the same bytes and scores as on the CPU.

Drivers (:mod:`.encode`, :mod:`.decode`, :mod:`.score`) speak to a :class:`.backend.Backend`, so that the same code runs
on CuPy and, in the tests, on a CPU that emulates threads. :mod:`.codec` and :mod:`.arrays` are the caller's side: what
is accepted and refused, streams, memory. Importing this package loads no CuPy.
"""
