"""Training with rounding.

Six answers, in the order of the page: rounding with a straight-through gradient (13.1), one training step on rounded
weights (13.2), the folded weights and bias that get codes (13.3), the gradient of LSQ's step (13.4) and what it is
multiplied by (13.5), and the gradient of PACT's clip (13.6).
"""
