"""Every architecture once more as libraries of module lists write it, with the weights of ours.

One `nn.Sequential` per expert, one `nn.Linear` per gate, Python loops over tasks and experts. What several tasks read
is computed once, and nothing is computed that nobody reads: the loops are plain, not slow on purpose.
"""

from benchmarks.twins.choice import twin

__all__ = ["twin"]
