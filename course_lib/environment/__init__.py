"""Is this machine all right? The doctor, and the pinned packages that it compares with.

Loads neither torch nor NumPy.
"""
