"""Fusion and graphs.

Five answers, in the order of the page: the bytes that a chain of kernels moves (15.1), BatchNorm folded into the layer
behind it (15.2), the pairs of a graph that may be folded (15.3), the time that fusion should save (15.4), and two
linear layers as one (15.5).
"""
