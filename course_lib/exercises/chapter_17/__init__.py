"""Shipping on a Jetson.

Five answers, in the order of the page: a network's least time from a board's peaks (17.1), energy and the pictures that
a battery lasts for (17.2), from unsigned codes to signed ones around 0 (17.3), whether a row may claim speed (17.4),
and which files must still be sent over a link that broke (17.5).
"""
