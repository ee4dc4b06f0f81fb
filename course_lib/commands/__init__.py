"""The rooms behind the command ``course``: arguments, one module for each group of commands, and their one boundary.

``arguments`` and ``boundary`` import the standard library alone, so that a wrong argument is answered at once and a
broken package is answered at all. A module with commands imports what they need at its top, and is itself imported
only when one of them is called.
"""
