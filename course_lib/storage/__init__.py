"""All that touches the disk: files written whole or not at all, checksums, cards, and the one cache."""
