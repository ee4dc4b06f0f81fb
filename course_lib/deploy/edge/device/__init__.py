"""Files that are copied to the board; none is imported here."""
