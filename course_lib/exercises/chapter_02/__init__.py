"""The teacher.

Five answers: how much of a test set leaks, the learning rate of one cycle, the error of an accuracy when tracks are the
trials, which class is taken for which, and the expected calibration error.
"""
