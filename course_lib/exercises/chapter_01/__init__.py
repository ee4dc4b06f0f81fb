"""Measuring.

Four answers: what a layer costs in operations, what a list of times says, how fast a layer could be at best, and what
it costs in bytes.
"""
