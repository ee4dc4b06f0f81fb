"""Numbers in 8 bits and fewer."""
