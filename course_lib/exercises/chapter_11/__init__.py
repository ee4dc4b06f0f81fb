"""Integer arithmetic.

Six answers, in the order of the page: the sums of a matrix product from codes (11.1), the range of an accumulator
(11.2), a real factor as multiplier and shift (11.3), from accumulator to code (11.4), a residual addition (11.5), and
the bytes that a network's tensors need at once (11.6).
"""
