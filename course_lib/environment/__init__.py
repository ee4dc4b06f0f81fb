"""Is this machine all right? The doctor, its checks, and the pinned packages that it compares with.

Loads neither torch nor NumPy.
"""
