"""KL and cross-entropy.

Five answers: what a code costs, a logarithm of softmax that never breaks, the soft-target loss, its gradient by hand,
and what a wrong reduction does to α.
"""
