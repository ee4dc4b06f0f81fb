"""Distilling features.

Five answers, in the order of the page: a hook that leaves no trace (06.1), a hint with its projection (06.2), an
attention map (06.3), distances within a batch (06.4), and a table of similarities (06.5). What stands in a loss must
carry a gradient, to the student and not to the teacher.
"""
