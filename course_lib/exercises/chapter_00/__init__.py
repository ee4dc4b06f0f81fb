"""Start here.

Two answers: what two rows of a ledger say, and four weights sent through eight bits and back.
"""
