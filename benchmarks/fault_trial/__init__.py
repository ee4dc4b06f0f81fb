"""What is done to the course to see how it breaks: faults in its writers, and faults in front of its commands.

``sweep`` fails, interrupts or kills a writer at each event on the disk; ``writers`` is the table of the writers;
``command`` runs the command line as a process; ``commands`` is the table of what is done to it.
"""
