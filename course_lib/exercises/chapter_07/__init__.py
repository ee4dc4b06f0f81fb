"""Magnitude pruning.

Five answers, in the order of the page: a mask that removes an exact fraction, also where weights are equal (07.1), a
step of SGD that leaves removed weights at 0 (07.2), the cubic schedule (07.3), what compressed sparse rows save (07.4),
and a pattern that hardware knows, n of every m (07.5).
"""
