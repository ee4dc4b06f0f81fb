"""The edge: a kit of models that is copied to a board, run there, and read back."""
