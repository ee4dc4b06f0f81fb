"""Affine quantization.

Six answers, in the order of the page: scale and zero point from a range (10.1), the codes of a tensor (10.2), the noise
in decibels (10.3), the clip of least error (10.4), codes of weights by channel (10.5), and the bytes that they really
take (10.6).
"""
