"""Post-training quantization.

Six answers, in the order of the page: a histogram that grows (12.1), the divergence of one candidate range (12.2),
channels with equal ranges (12.3), a corrected bias (12.4), the best of all roundings (12.5), and the best bits for a
budget (12.6).
"""
